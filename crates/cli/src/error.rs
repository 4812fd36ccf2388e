//! What the command says when something goes wrong.

use sumi_data::DataError;
use sumi_features::FeatureError;
use sumi_formats::FormatError;
use sumi_metrics::MetricError;
use sumi_model::ModelError;
use sumi_pictures::PictureError;
use sumi_pipelines::PipelineError;
use sumi_train::TrainError;

/// A failure, as the user meets it.
#[derive(Debug)]
pub enum CliError {
    /// Asked for in a way that cannot be: exit code 2.
    Usage(String),
    /// Everything else: exit code 1.
    Failed(String),
}

impl CliError {
    /// 2 for usage, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}

impl From<ModelError> for CliError {
    fn from(error: ModelError) -> Self {
        match error {
            // A request's fields are named as the options are, but for those of the model's folder.
            ModelError::Request { field, .. } if field.starts_with("scheduler_config.json") => {
                Self::Usage(error.to_string())
            }
            ModelError::Request { .. } => Self::Usage(format!("--{error}")),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<PipelineError> for CliError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Model(error) => error.into(),
            PipelineError::Request { .. } => Self::Usage(format!("--{error}")),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<FeatureError> for CliError {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::Model(error) => error.into(),
            FeatureError::Stopped => Self::Failed("stopped; nothing was written".into()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<TrainError> for CliError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Config(message) => Self::Usage(message),
            TrainError::Feature(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

macro_rules! failed {
    ($($error:ty),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        }
    )*};
}

failed!(DataError, FormatError, MetricError, PictureError);
