//! What `sumi eval` can be asked.

// These comments are the help text, where brackets are shapes and not links.
#![allow(rustdoc::broken_intra_doc_links)]

use crate::args::DeviceName;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct EvalArgs {
    #[command(subcommand)]
    pub measure: Measure,
}

#[derive(Subcommand, Debug)]
pub enum Measure {
    /// How likely pictures are, in bits per dimension
    Bpd(BpdArgs),
}

/// How likelihood is measured.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// The variational bound, term by term; what it says is at least as much as the truth
    #[default]
    Vlb,
    /// The density by the probability-flow ODE, with Hutchinson's trace
    Ode,
}

#[derive(clap::Args, Debug)]
pub struct BpdArgs {
    /// A model folder, a checkpoint or a run folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// A folder of pictures, an .npz (arr_0 uint8 [N,H,W,C], arr_1 classes), `digits`, the held-out
    /// ones, or 1,000 points of `two-moons`, `eight-gaussians` or `swiss-roll`
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// How
    #[arg(long, value_enum, default_value_t)]
    pub method: Method,
    /// The first N pictures; all where nothing is said
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// How many at a time; the bound does not depend on it, the ODE's bits only within the tolerance
    #[arg(long, value_name = "B", default_value_t = 64)]
    pub batch: usize,
    /// Picture i draws from a PyTorch-compatible generator of seed K + i
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub seed: u64,
    /// The error of a step of the ODE, relative and absolute; 1e-5 where nothing is said
    #[arg(long, value_name = "E")]
    pub tolerance: Option<f64>,
    /// Whether the bound holds the estimate of the picture in range; as the model samples where
    /// nothing is said
    #[arg(long, value_name = "true|false")]
    pub clip: Option<bool>,
    /// Draw the terms of the bound over the timesteps
    #[arg(long, value_name = "F.png")]
    pub plot: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print what was measured as JSON
    #[arg(long)]
    pub json: bool,
}
