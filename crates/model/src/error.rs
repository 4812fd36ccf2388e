//! What can go wrong with a model.

use std::path::PathBuf;
use sumi_formats::FormatError;
use sumi_formats::lora::LoraError;

/// A model that cannot be opened, written or sampled, and why.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A LoRA that cannot be read or does not fit.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// Adapters that do not fit the network's layers.
    #[error(transparent)]
    Adapter(#[from] sumi_nn::AdapterError),
    /// A folder or file that is not what it should be.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// A configuration file that does not parse, or that asks for what cannot be.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Field, expected and found.
        message: String,
    },
    /// A weights file that does not fit its network.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        source: sumi_nn::LoadError,
    },
    /// A request that the model cannot serve.
    #[error("{field}: expected {expected}, found {found}")]
    Request {
        /// Which part of it.
        field: &'static str,
        /// What would do.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// A sampler that cannot serve this model; the sentence says which can.
    #[error("{0}")]
    Unsuitable(String),
    /// A sample that is not finite.
    #[error(
        "sample {index} is not finite: the model's weights are broken, or its scheduler_config.json \
         does not belong to them"
    )]
    NotFinite {
        /// Which sample.
        index: usize,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl ModelError {
    /// A `scheduler_config.json` that asks for what cannot be: field, expected and found.
    pub(crate) fn scheduler(message: String) -> Self {
        Self::Config { path: "scheduler/scheduler_config.json".into(), message }
    }

    /// A request that the model cannot serve.
    pub fn request(
        field: &'static str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Request { field, expected: expected.into(), found: found.to_string() }
    }
}

impl From<sumi_sampler::SamplerError> for ModelError {
    fn from(error: sumi_sampler::SamplerError) -> Self {
        match error {
            sumi_sampler::SamplerError::Cancelled => Self::Cancelled,
            sumi_sampler::SamplerError::Unsuitable(why) => Self::Unsuitable(why),
            sumi_sampler::SamplerError::Denoiser(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(other) => Self::request("denoiser", "a result", other),
            },
        }
    }
}
