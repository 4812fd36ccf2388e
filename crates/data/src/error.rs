use std::io;
use std::path::{Path, PathBuf};
use sumi_formats::FormatError;

/// Training data that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A data file is damaged, missing or of a kind that is not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// An image file cannot be decoded.
    #[error("{}: cannot decode the image: {source}; repair the file or take it out", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// The files are readable, but do not fit one another or the config.
    #[error("{}: {field}: expected {expected}, found {found}", path.display())]
    Mismatch {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong about it.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A value in the config, or an argument, is out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    Value {
        /// The config key or the argument.
        field: &'static str,
        /// Its range.
        expected: String,
        /// Its value.
        found: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn mismatch(
        path: &Path,
        field: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Mismatch {
            path: path.to_owned(),
            field,
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn value(
        field: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Value { field, expected: expected.into(), found: found.to_string() }
    }
}
