//! Where networks and samplers meet.
//!
//! A [`Model`] is what a diffusers folder holds: a network, and a [`SchedulerConfig`] that says
//! how it was noised and what it predicts. A [`Plan`] is how it will be sampled; a [`Generator`]
//! draws pictures by it, batch after batch.

mod batch;
mod classifier;
mod denoiser;
mod edit;
mod error;
mod folder;
mod generate;
mod guide;
mod interpolate;
mod likelihood;
mod lora;
mod plan;
mod scheduler;
mod settings;
mod weights;

pub use batch::{Batch, TorchNoise};
pub use classifier::{CLASSIFIER_CLASS, Classifier, classifier_config};
pub use denoiser::{Classed, Network, NetworkDenoiser, UNetDenoiser, WithAndWithout};
pub use edit::Edit;
pub use error::ModelError;
pub use folder::{
    Card, Model, POINT, component, config_of, names_a_checkpoint, newest_checkpoint, read_unet,
    resolve, unet_config, write_tensors,
};
pub use generate::{Classes, Generated, Generator, Request};
pub use guide::{ByClassifier, Guidance, Weak};
pub use interpolate::{Ends, Interpolation};
pub use likelihood::{DensityBits, Known, Likelihood};
pub use lora::{adapter_values, attach_lora, lora_targets};
pub use plan::{Plan, SamplerChoice};
pub use scheduler::{SchedulerConfig, VarianceType};
pub use weights::{StateWeights, fill, from_tensors};
