use std::io;
use std::path::{Path, PathBuf};

/// A tokenizer that cannot be opened, or a text that it cannot encode, and why.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, such as `open the file`.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file breaks the rules of its format.
    #[error("{place}: expected {expected}, found {found}; fetch or write the file again")]
    Malformed {
        /// The file and the field in it.
        place: String,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The file may be sound, but asks for something that Sumi does not do.
    #[error("{place}: {found} is not supported, expected {expected}")]
    Unsupported {
        /// The file and the field in it.
        place: String,
        /// What Sumi reads.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A size is over one of the limits that keep a hostile file from taking the machine.
    #[error("{place}: {found} is over the limit of {limit}")]
    TooLarge {
        /// The file and the field in it.
        place: String,
        /// The limit.
        limit: u64,
        /// What was asked for.
        found: u64,
    },
    /// A folder that holds no tokenizer.
    #[error("{}: no tokenizer found, expected {expected}; check the path", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The files that were looked for.
        expected: String,
    },
    /// A text has a character that the vocabulary lacks, and there is no token for unknown ones.
    #[error("the vocabulary has neither {text:?} nor the unknown token {unknown:?}")]
    NoUnknown {
        /// What was to be encoded.
        text: String,
        /// The unknown token, or nothing where none is named.
        unknown: String,
    },
    /// A length that leaves no room for the special tokens, or a padding without a padding token.
    #[error("{what}: expected {expected}, found {found}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// What can be.
        expected: String,
        /// What was asked.
        found: String,
    },
}

/// Names and values come from the file, so that a message could be as long as the file.
pub(crate) fn shorten(text: impl Into<String>) -> String {
    const MAX_CHARS: usize = 240;
    let mut text = text.into();
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// `FILE: FIELD`, or one of them.
fn place(path: &Path, field: impl Into<String>) -> String {
    let field = shorten(field);
    match (path.as_os_str().is_empty(), field.is_empty()) {
        (true, _) => field,
        (false, true) => path.display().to_string(),
        (false, false) => format!("{}: {field}", path.display()),
    }
}

impl TextError {
    pub(crate) fn malformed(
        path: &Path,
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            place: place(path, field),
            expected: shorten(expected),
            found: shorten(found),
        }
    }

    pub(crate) fn unsupported(
        path: &Path,
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            place: place(path, field),
            expected: shorten(expected),
            found: shorten(found),
        }
    }

    /// What `serde_json` found wrong, with its line and column.
    pub(crate) fn json(path: &Path, error: &serde_json::Error) -> Self {
        Self::malformed(path, "", "JSON of a tokenizer", error.to_string())
    }
}
