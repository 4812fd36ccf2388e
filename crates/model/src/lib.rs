//! Where networks and samplers meet.
//!
//! A [`Model`] is what a diffusers folder holds: a network, and a [`SchedulerConfig`] that says
//! how it was noised and what it predicts. A [`Plan`] is how it will be sampled; a [`Generator`]
//! draws pictures by it, batch after batch.

mod batch;
mod denoiser;
mod error;
mod folder;
mod generate;
mod keys;
mod likelihood;
mod plan;
mod scheduler;

pub use batch::{Batch, TorchNoise};
pub use denoiser::UNetDenoiser;
pub use error::ModelError;
pub use folder::{Card, Model, newest_checkpoint, read_unet, resolve, unet_config, write_tensors};
pub use generate::{Classes, Generated, Generator, Request};
pub use likelihood::{DensityBits, Known, Likelihood};
pub use plan::{Plan, SamplerChoice};
pub use scheduler::{SchedulerConfig, VarianceType};
