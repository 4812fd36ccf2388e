//! Training: from a configuration to checkpoints.
//!
//! [`RunConfig`] is what `sumi train` reads; a [`Trainer`] holds the network, its optimiser and its
//! average; [`Trainer::step`] is one step, top to bottom on one screen; [`run`] is the loop around
//! it, with its log, its samples, its evaluations and its [`checkpoint`]s.

mod batch;
mod bound;
pub mod checkpoint;
mod clock;
mod config;
mod error;
mod evaluate;
mod folder;
mod log;
mod objective;
mod optimizer;
mod run;
mod settings;
mod sheet;
mod task;
mod times;
mod trainer;

pub use config::{
    EvalConfig, EvalSet, LearningRate, Loss, Metric, NetworkConfig, ObjectiveConfig, ProcessConfig,
    ProcessKind, RunConfig, SampleConfig, Times, TrainConfig,
};
pub use error::TrainError;
pub use log::{Evaluation, Record};
pub use optimizer::{AdamW, AdamWConfig, Ema, Moments};
pub use run::{Event, Outcome, RunOptions, Start, run};
pub use sumi_nn::flat_gradients;
pub use task::{Classifying, Denoising, Task};
pub use trainer::{StepReport, Trainer};
