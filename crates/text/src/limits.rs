//! The limits that bound what a tokenizer's files can make a reader do.

use crate::{Result, TextError};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest file of a tokenizer that is read, in bytes; the `tokenizer.json` of mT5, which is
/// long, has 16 MB.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// The most tokens that a vocabulary may hold; mT5 has 250,112.
pub const MAX_TOKENS: usize = 1 << 20;

/// The most merges that a byte-pair encoding may hold; CLIP has 48,894.
pub const MAX_MERGES: usize = 1 << 20;

/// The most parts that a sequence of normalizers, splitters or decoders may hold.
pub(crate) const MAX_PARTS: usize = 64;

/// The most added tokens; T5 has 100 of them and its special tokens.
pub(crate) const MAX_ADDED: usize = 1 << 16;

/// The whole of a text file.
///
/// # Errors
/// A file that cannot be read, is over [`MAX_FILE_BYTES`] or is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        TextError::malformed(path, format!("the text at byte {at}"), "UTF-8", "other bytes")
    })
}

/// The whole of a file.
///
/// # Errors
/// A file that cannot be read or is over [`MAX_FILE_BYTES`].
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let io = |action, source| TextError::Io { path: path.to_owned(), action, source };
    let file = File::open(path).map_err(|error| io("open the file", error))?;
    let about = file.metadata().map_err(|error| io("open the file", error))?;
    if !about.is_file() {
        return Err(TextError::unsupported(path, "", "a regular file", "a folder or device"));
    }
    let too_large = |found| TextError::TooLarge {
        place: path.display().to_string(),
        limit: MAX_FILE_BYTES,
        found,
    };
    if about.len() > MAX_FILE_BYTES {
        return Err(too_large(about.len()));
    }
    // A byte more than the length tells a file that grows meanwhile without reading it all.
    let mut bytes = Vec::with_capacity(about.len() as usize + 1);
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    let length = read.map_err(|error| io("read the file", error))? as u64;
    if length > MAX_FILE_BYTES { Err(too_large(length)) } else { Ok(bytes) }
}
