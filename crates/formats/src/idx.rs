//! IDX files of unsigned bytes, as MNIST comes in, plain or gzipped.
//!
//! Source: the format's description on the MNIST page: two zero bytes, the type, the number of
//! dimensions, the dimensions as big-endian u32, the elements with the last dimension fastest.

use crate::limits::expansion_limit;
use crate::{FormatError, Result, source};
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, Read};
use std::path::Path;

/// The type code of unsigned bytes, the only one that is read.
const UNSIGNED_BYTE: u8 = 0x08;

/// The most dimensions that an IDX file may have; pictures in colour have four.
const MAX_DIMENSIONS: u8 = 8;

/// An array of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The dimensions, slowest first.
    pub dims: Vec<usize>,
    /// The elements.
    pub data: Vec<u8>,
}

/// Reads an IDX file; a gzipped one is known by its first two bytes, not by its name.
///
/// # Errors
/// [`FormatError::Unsupported`] for elements other than unsigned bytes; [`FormatError::Malformed`]
/// for a file shorter or longer than its dimensions; [`FormatError::TooLarge`] for a gzipped file
/// that would expand beyond [`crate::MAX_EXPANSION`] times its length.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let (reader, length) = source::open(path)?;
    parse(path, reader, length)
}

/// Reads an IDX file in memory, plain or gzipped.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<Idx> {
    parse(Path::new(""), bytes, bytes.len() as u64)
}

fn parse(path: &Path, mut reader: impl BufRead, length: u64) -> Result<Idx> {
    let start = reader.fill_buf().map_err(|e| FormatError::io(path, "read the file", e))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        parse_plain(path, &mut MultiGzDecoder::new(reader), expansion_limit(length))
    } else {
        parse_plain(path, &mut reader, length)
    }
}

/// Parses from a reader that can give at most `limit` bytes.
fn parse_plain(path: &Path, reader: &mut impl Read, limit: u64) -> Result<Idx> {
    let read = |error| FormatError::io(path, "read the file", error);
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(read)?;
    let rank = rank(path, magic)?;
    let mut dims = Vec::with_capacity(usize::from(rank));
    for _ in 0..rank {
        let mut size = [0; 4];
        reader.read_exact(&mut size).map_err(read)?;
        dims.push(u32::from_be_bytes(size) as usize);
    }
    let header = 4 + 4 * u64::from(rank);
    let count = dims
        .iter()
        .try_fold(1_u64, |product, &size| product.checked_mul(size as u64))
        .unwrap_or(u64::MAX);
    if count > limit.saturating_sub(header) {
        let field = "the IDX dimensions";
        let expected = format!("dimensions within the {limit} bytes that the file can hold");
        let found = format!("{dims:?}");
        return Err(FormatError::malformed(path, field, 4, expected, found));
    }
    let data = source::read_exact(path, reader, count)?;
    if reader.read(&mut [0]).map_err(read)? != 0 {
        let (field, end) = ("the data", header + count);
        let expected = format!("the end of the data of {dims:?}");
        return Err(FormatError::malformed(path, field, end, expected, "more bytes"));
    }
    Ok(Idx { dims, data })
}

/// The number of dimensions, from the first four bytes.
fn rank(path: &Path, magic: [u8; 4]) -> Result<u8> {
    let malformed = |field, offset: u64, expected: String, found: String| {
        Err(FormatError::malformed(path, field, offset, expected, found))
    };
    match magic {
        [0, 0, UNSIGNED_BYTE, rank @ 1..=MAX_DIMENSIONS] => Ok(rank),
        [0, 0, UNSIGNED_BYTE, rank] => {
            let expected = format!("1 to {MAX_DIMENSIONS} dimensions");
            malformed("the IDX rank", 3, expected, rank.to_string())
        }
        [0, 0, code, _] => {
            let (field, expected) = ("the IDX type", "unsigned bytes (0x08)");
            let found = format!("the type {code:#04x}");
            Err(FormatError::unsupported(path, field, 2, expected, found))
        }
        _ => {
            let (expected, found) = ("two zero bytes".to_owned(), format!("{magic:02x?}"));
            malformed("the IDX magic", 0, expected, found)
        }
    }
}
