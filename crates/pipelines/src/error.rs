//! What can go wrong with a pipeline.

use std::path::PathBuf;
use sumi_formats::FormatError;
use sumi_formats::lora::LoraError;
use sumi_model::ModelError;
use sumi_text::TextError;

/// A checkpoint that cannot be opened, or a request that it cannot serve, and why.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A file that cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A tokenizer that cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A configuration, a plan or a request of the kind that every model has.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A LoRA that cannot be read, or that is for another family of models.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A part whose configuration cannot be served or does not fit its weights.
    #[error("{}: {part}: {message}", path.display())]
    Part {
        /// The checkpoint.
        path: PathBuf,
        /// Such as `unet`.
        part: String,
        /// Field or tensor, expected and found.
        message: String,
    },
    /// A request that the pipeline cannot serve.
    #[error("{field}: expected {expected}, found {found}")]
    Request {
        /// Which part of it.
        field: &'static str,
        /// What would do.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// A network that was given what it cannot take.
    #[error("{part}: {message}")]
    Network {
        /// Such as `text_encoder`.
        part: &'static str,
        /// Expected and found.
        message: String,
    },
}

impl PipelineError {
    /// A request that the pipeline cannot serve.
    pub(crate) fn request(
        field: &'static str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Request { field, expected: expected.into(), found: found.to_string() }
    }

    /// A network's own complaint.
    pub(crate) fn network(part: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Network { part, message: error.to_string() }
    }

    /// Whether the observer asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Model(ModelError::Cancelled))
    }
}
