use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where in a file something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, or empty where the bytes came from memory.
    pub path: PathBuf,
    /// The tensor, header field or record; empty where the whole file is meant.
    pub field: String,
    /// The byte offset, where it is known.
    pub offset: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => write!(f, "{}", self.path.display())?,
            false => write!(f, "{}{}", prefix(&self.path), self.field)?,
        }
        match self.offset {
            Some(offset) => write!(f, " at byte {offset}"),
            None => Ok(()),
        }
    }
}

/// A file that cannot be read or written, and why.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The operating system refused.
    #[error("{}cannot {action}: {source}{}", prefix(path), advice(source))]
    Io {
        /// The file or folder, or empty where the bytes came from memory.
        path: PathBuf,
        /// What was being done, such as `open the file`.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bytes break the format's rules: the file is damaged, cut short or hostile.
    #[error(
        "{place}: expected {expected}, found {found}; the file is damaged or cut short: fetch or write it again"
    )]
    Malformed {
        /// Where.
        place: Box<Place>,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The file may be sound, but holds something that Sumi does not read.
    #[error("{place}: {found} is not supported, expected {expected}")]
    Unsupported {
        /// Where.
        place: Box<Place>,
        /// What Sumi reads.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A size is over one of the limits that keep a hostile file from taking the machine.
    #[error("{place}: {found} is over the limit of {limit}")]
    TooLarge {
        /// Where.
        place: Box<Place>,
        /// The limit.
        limit: u64,
        /// What the file asks for.
        found: u64,
    },
    /// A checkpoint whose parts do not make a whole, or that is of another kind than was asked for.
    #[error("{place}: expected {expected}, found {found}")]
    Incomplete {
        /// Where.
        place: Box<Place>,
        /// What should be there.
        expected: String,
        /// What is, and what to do.
        found: String,
    },
    /// A tensor in memory whose name, type, shape and bytes do not fit together or do not fit the
    /// format that it is to be written in.
    #[error("{place}: expected {expected}, found {found}")]
    Tensor {
        /// Which tensor.
        place: Box<Place>,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

fn prefix(path: &Path) -> String {
    if path.as_os_str().is_empty() { String::new() } else { format!("{}: ", path.display()) }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check the permissions of the file and its folder",
        io::ErrorKind::StorageFull => "; the disk is full: free some space and try again",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the file system is read-only: choose another folder"
        }
        io::ErrorKind::UnexpectedEof => "; the file is cut short: fetch or write it again",
        _ => "",
    }
}

fn place(path: &Path, field: &str, offset: Option<u64>) -> Box<Place> {
    Box::new(Place { path: path.to_owned(), field: clip(field.to_owned()), offset })
}

/// Names and values come from the file, so that a message could be as long as the file.
pub(crate) fn clip(mut text: String) -> String {
    const MAX_CHARS: usize = 240;
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

impl FormatError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn malformed(
        path: &Path,
        field: &str,
        offset: impl Into<Option<u64>>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            place: place(path, field, offset.into()),
            expected: clip(expected.into()),
            found: clip(found.into()),
        }
    }

    pub(crate) fn unsupported(
        path: &Path,
        field: &str,
        offset: impl Into<Option<u64>>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            place: place(path, field, offset.into()),
            expected: clip(expected.into()),
            found: clip(found.into()),
        }
    }

    pub(crate) fn too_large(path: &Path, field: &str, limit: u64, found: u64) -> Self {
        Self::TooLarge { place: place(path, field, None), limit, found }
    }

    pub(crate) fn incomplete(
        path: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Incomplete {
            place: place(path, "", None),
            expected: clip(expected.into()),
            found: clip(found.into()),
        }
    }

    pub(crate) fn tensor(
        path: &Path,
        name: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Tensor {
            place: place(path, &format!("tensor `{name}`"), None),
            expected: clip(expected.into()),
            found: clip(found.into()),
        }
    }

    /// Where the fault lies, for every kind but [`FormatError::Io`].
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Io { .. } => None,
            Self::Malformed { place, .. }
            | Self::Unsupported { place, .. }
            | Self::TooLarge { place, .. }
            | Self::Incomplete { place, .. }
            | Self::Tensor { place, .. } => Some(place),
        }
    }
}
