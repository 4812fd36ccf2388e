//! What can go wrong in training.

use std::path::PathBuf;

/// A run that cannot start or go on, and why.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A configuration that does not parse or asks for what cannot be.
    #[error("{0}")]
    Config(String),
    /// The data.
    #[error(transparent)]
    Data(#[from] sumi_data::DataError),
    /// The model.
    #[error(transparent)]
    Model(#[from] sumi_model::ModelError),
    /// A file that cannot be read or written.
    #[error(transparent)]
    Format(#[from] sumi_formats::FormatError),
    /// A picture or an event file that cannot be written.
    #[error(transparent)]
    Picture(#[from] sumi_pictures::PictureError),
    /// Pictures or samples that cannot be measured.
    #[error(transparent)]
    Feature(#[from] sumi_features::FeatureError),
    /// Features that no metric can be made of.
    #[error(transparent)]
    Metric(#[from] sumi_metrics::MetricError),
    /// A run folder that is not what it should be.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// A NaN or an infinity.
    #[error(
        "step {step}: the {what} is not finite; the last good checkpoint stands. A lower \
         train.learning_rate or a train.gradient_clip usually helps"
    )]
    NotFinite {
        /// At which step, counted from 1.
        step: u64,
        /// The loss, or a tensor's gradient.
        what: String,
    },
}
