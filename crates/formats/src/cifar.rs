//! CIFAR-10's binary batches: records of one label byte and 3,072 pixel bytes.
//!
//! Source: the binary version's description on the CIFAR-10 page: 1,024 red bytes, then green,
//! then blue, each row by row of 32.

use crate::{FormatError, Result, source};
use std::io::Read;
use std::path::Path;

/// Bytes of one picture: 3 channels of 32 x 32.
pub const PICTURE_BYTES: usize = 3_072;

/// The number of classes.
pub const CLASSES: u8 = 10;

const RECORD_BYTES: usize = 1 + PICTURE_BYTES;

/// A labelled picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The class, below [`CLASSES`].
    pub label: u8,
    /// The pixels, channel by channel (CHW).
    pub pixels: [u8; PICTURE_BYTES],
}

/// Reads one batch file.
///
/// # Errors
/// [`FormatError::Malformed`] for an empty file, one that is not a whole number of records, or a
/// label of 10 or more.
pub fn read_batch(path: impl AsRef<Path>) -> Result<Vec<Record>> {
    let path = path.as_ref();
    let (mut reader, length) = source::open(path)?;
    parse(path, &mut reader, length)
}

/// Reads one batch in memory.
///
/// # Errors
/// As [`read_batch`].
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Record>> {
    parse(Path::new(""), &mut &*bytes, bytes.len() as u64)
}

fn parse(path: &Path, reader: &mut impl Read, length: u64) -> Result<Vec<Record>> {
    if length == 0 || !length.is_multiple_of(RECORD_BYTES as u64) {
        let expected = format!("records of {RECORD_BYTES} bytes");
        let found = format!("a file of {length} bytes");
        return Err(FormatError::malformed(path, "the batch", None, expected, found));
    }
    let bytes = source::read_exact(path, reader, length)?;
    let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
    let record = |(index, [label, pixels @ ..]): (usize, &[u8; RECORD_BYTES])| {
        if *label >= CLASSES {
            let offset = (index * RECORD_BYTES) as u64;
            let field = format!("the label of record {index}");
            let found = label.to_string();
            return Err(FormatError::malformed(path, &field, offset, "a label below 10", found));
        }
        Ok(Record { label: *label, pixels: *pixels })
    };
    records.iter().enumerate().map(record).collect()
}
