//! JSON files of bounded size.

use crate::{FormatError, Result, source};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a JSON file of at most `limit` bytes: a value takes many times the memory of its text.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    let (mut reader, length) = source::open(path)?;
    if length > limit {
        return Err(FormatError::too_large(path, "the file's length", limit, length));
    }
    let bytes = source::read_exact(path, &mut reader, length)?;
    parse(path, &bytes)
}

/// Parses JSON that was read from `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let field = format!("line {}, column {}", error.line(), error.column());
        FormatError::malformed(path, &field, None, "JSON of the known form", error.to_string())
    })
}

/// Whether a name from a file stands for a file in the same folder and for nothing else.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.is_empty() && name.len() <= 255 && !name.contains(odd) && name != "." && name != ".."
}

/// The last part of a path, for messages.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::is_plain_name;

    #[test]
    fn only_files_beside_are_plain_names() {
        assert!(is_plain_name("model-00001-of-00002.safetensors") && is_plain_name("a..b"));
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0b", "a\nb"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
