//! Opening a file for reading, with its length known before a byte of it is believed.

use crate::{FormatError, Result};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

/// Opens a regular file and measures it. A folder, a pipe or a device is refused before it can
/// block or pretend to be endless.
pub(crate) fn open(path: &Path) -> Result<(BufReader<File>, u64)> {
    let metadata = fs::metadata(path).map_err(|e| FormatError::io(path, "open the file", e))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "something else" };
        return Err(FormatError::unsupported(path, "the path", None, "a regular file", found));
    }
    let file = File::open(path).map_err(|e| FormatError::io(path, "open the file", e))?;
    Ok((BufReader::new(file), metadata.len()))
}

/// Reads exactly `length` bytes, which the caller has checked against what the file can back.
pub(crate) fn read_exact(path: &Path, reader: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let length = usize::try_from(length)
        .map_err(|_| FormatError::too_large(path, "a record", usize::MAX as u64, length))?;
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).map_err(|e| FormatError::io(path, "read the file", e))?;
    Ok(bytes)
}
