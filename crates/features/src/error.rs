//! Why a set of pictures cannot be measured.

use std::path::{Path, PathBuf};
use sumi_data::DataError;
use sumi_formats::FormatError;
use sumi_metrics::MetricError;
use sumi_model::ModelError;

/// Why a set of pictures cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// Pictures that cannot be found or read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of arrays or tensors that cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A model that cannot be opened, or draws nothing that can be measured.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Features that no metric can be made of.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A set of another kind than was wanted.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Set {
        /// The file or folder.
        path: PathBuf,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Too many pictures of a set cannot be read to pass over them.
    #[error(
        "{unreadable} of {count} pictures cannot be read, which is more than 1 %; the first: {first}"
    )]
    Unreadable {
        /// How many cannot be read.
        unreadable: usize,
        /// Of how many.
        count: usize,
        /// Why the first cannot.
        first: String,
    },
    /// Weights that are not there or are others than were asked for.
    #[error("{what}")]
    Weights {
        /// What was looked for, where, and what to do.
        what: String,
    },
    /// A network that was given what it cannot take.
    #[error("{network}: {message}")]
    Network {
        /// Such as `clip`.
        network: &'static str,
        /// Expected and found.
        message: String,
    },
    /// Whoever watches wished to stop.
    #[error("stopped")]
    Stopped,
}

impl FeatureError {
    pub(crate) fn set(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Set { path: path.into(), expected: expected.into(), found: found.into() }
    }
}
