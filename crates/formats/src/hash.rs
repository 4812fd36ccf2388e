//! The hashes by which users know their files.

use crate::{FormatError, Result, source};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// The hexadecimal digits of a checkpoint's hash that the WebUI writes as `Model hash`.
pub const MODEL_HASH_DIGITS: usize = 10;

/// The hexadecimal digits of a LoRA's hash that the WebUI writes under `Lora hashes`.
pub const LORA_HASH_DIGITS: usize = 12;

/// The SHA-256 of a file, in hexadecimal; its first [`MODEL_HASH_DIGITS`] are the WebUI's
/// `Model hash`.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    hash_from(path, 0)
}

/// The hash of a LoRA, in hexadecimal; its first [`LORA_HASH_DIGITS`] are what the WebUI writes.
///
/// Of a safetensors file, that is the SHA-256 of the tensors' bytes without the header, so that a changed
/// description does not change it: kohya's `sshs_model_hash`. Of any other file it is the SHA-256.
///
/// # Errors
/// A file that cannot be read, or a safetensors header that is longer than its file.
pub fn lora_hash(path: &Path) -> Result<String> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return sha256_of(path);
    }
    let (mut reader, length) = source::open(path)?;
    let mut header = [0; 8];
    let read = reader.read_exact(&mut header);
    read.map_err(|error| FormatError::io(path, "read the file", error))?;
    let start = u64::from_le_bytes(header).checked_add(8).filter(|&start| start <= length);
    let start = start.ok_or_else(|| {
        let found = u64::from_le_bytes(header).to_string();
        FormatError::malformed(path, "the length of the header", 0, "one within the file", found)
    })?;
    hash_from(path, start)
}

fn hash_from(path: &Path, start: u64) -> Result<String> {
    let (mut reader, length) = source::open(path)?;
    let io = |error| FormatError::io(path, "read the file", error);
    reader.seek_relative(i64::try_from(start).unwrap_or(i64::MAX)).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    // A file that grows meanwhile ends where it ended.
    let mut rest = reader.take(length.saturating_sub(start));
    loop {
        match rest.read(&mut buffer).map_err(io)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_of_the_file_or_of_its_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(&at("a.ckpt", b"abc")).unwrap(), of_abc);
        assert_eq!(lora_hash(&at("a.pt", b"abc")).unwrap(), of_abc);
        let lora = at("a.safetensors", b"\x02\0\0\0\0\0\0\0{}abc");
        assert_eq!(lora_hash(&lora).unwrap(), of_abc);
        assert_ne!(sha256_of(&lora).unwrap(), of_abc);
        for bad in [&b"\x02\0\0\0"[..], b"\x02\0\0\0\0\0\0\0{", &[0xff; 8]] {
            assert!(lora_hash(&at("bad.safetensors", bad)).is_err(), "{bad:?}");
        }
        assert!(sha256_of(&folder.path().join("absent")).is_err());
    }
}
