//! JSON files of bounded size.

use crate::{FormatError, Result, source};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
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
    serde_json::from_slice(&python_numbers(bytes)).map_err(|error| {
        let field = format!("line {}, column {}", error.line(), error.column());
        FormatError::malformed(path, &field, None, "JSON of the known form", error.to_string())
    })
}

/// The text with `null` for the numbers that Python's JSON has beside JSON's own: `NaN`, `Infinity` and
/// `-Infinity`, which diffusers writes for the bounds of some schedulers.
pub fn python_numbers(bytes: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut changed = Vec::new();
    let (mut at, mut kept, mut quoted) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ => {
                let word = WORDS.iter().find(|word| !quoted && bytes[at..].starts_with(word));
                if let Some(word) = word {
                    changed.extend_from_slice(&bytes[kept..at]);
                    changed.extend_from_slice(b"null");
                    at += word.len();
                    kept = at;
                    continue;
                }
            }
        }
        at += 1;
    }
    match kept {
        0 => Cow::Borrowed(bytes),
        _ => {
            changed.extend_from_slice(&bytes[kept..]);
            Cow::Owned(changed)
        }
    }
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
    use super::{is_plain_name, python_numbers};

    #[test]
    fn pythons_numbers_become_null_outside_of_strings() {
        let text = r#"{"a": -Infinity, "NaN \" Infinity": [NaN, Infinity], "b": "-Infinity"}"#;
        let found = python_numbers(text.as_bytes());
        let expected = r#"{"a": null, "NaN \" Infinity": [null, null], "b": "-Infinity"}"#;
        assert_eq!(std::str::from_utf8(&found).unwrap(), expected);
        for bytes in [&b"\""[..], b"\"\\", b"NaN", b"Infinit", b"\\"] {
            python_numbers(bytes);
        }
    }

    #[test]
    fn only_files_beside_are_plain_names() {
        assert!(is_plain_name("model-00001-of-00002.safetensors") && is_plain_name("a..b"));
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0b", "a\nb"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
