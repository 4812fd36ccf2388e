//! What `sumi eval` can be asked.

// These comments are the help text, where brackets are shapes and not links.
#![allow(rustdoc::broken_intra_doc_links)]

use crate::args::DeviceName;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use sumi_sampler::SamplerKind;

#[derive(clap::Args, Debug)]
pub struct EvalArgs {
    #[command(subcommand)]
    pub measure: Measure,
}

#[derive(Subcommand, Debug)]
pub enum Measure {
    /// Frechet distance (FID, where the features are Inception's)
    Fid(CompareArgs),
    /// Kernel distance
    Kid(CompareArgs),
    /// Inception Score
    Is(CompareArgs),
    /// Precision, recall, density and coverage
    Prdc(CompareArgs),
    /// How well pictures fit their captions
    ClipScore(CompareArgs),
    /// The nearest picture of REAL to each of FAKE: is it memorising?
    Neighbours(CompareArgs),
    /// How different pictures look from each other
    Diversity(CompareArgs),
    /// All of these, as far as the sets allow
    All(CompareArgs),
    /// Mean and covariance of features, for later comparisons
    Stats(StatsArgs),
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

/// What two sets of pictures are compared by.
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// A folder of images, an .npz (arr_0 uint8 [N,H,W,C], arr_1 classes), a CONFIG.toml for its pictures,
    /// MNIST's ..images-idx3-ubyte, `digits`, features [N,D] in an .npy or .safetensors, or statistics (.npz with mu, sigma)
    #[arg(value_name = "REAL")]
    pub real: PathBuf,
    /// The same, or a model folder, a checkpoint or a run folder, which draws --count pictures; `is`,
    /// `clip-score` and `diversity` need no REAL, and take a set given alone for FAKE
    #[arg(value_name = "FAKE")]
    pub fake: Option<PathBuf>,
    #[command(flatten)]
    pub seen: SeenArgs,
    /// The first N pictures of FAKE, or how many a model draws
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// The nearest neighbours by which precision, recall, density and coverage go
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub neighbours: usize,
    /// Subsets that KID is the mean over
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub kid_subsets: usize,
    /// Pictures in each of them; half of the smaller set where that has no more
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub kid_subset_size: usize,
    /// Parts that the Inception Score is the mean over
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub splits: usize,
    /// How often REAL is split in halves to see what it scores against itself; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub floor_splits: usize,
    /// A CLIPModel folder, for the CLIP score and for --features clip
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
    /// The caption of each picture of FAKE, a line each; without it, those that lie beside the pictures or in
    /// them
    #[arg(long, value_name = "F.txt")]
    pub prompts: Option<PathBuf>,
    #[command(flatten)]
    pub drawn: DrawnArgs,
    /// Decides the halves of REAL; sample i of a model draws from a generator of seed K + i
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub seed: u64,
    /// Write a page with tables, pictures and plots
    #[arg(long, value_name = "F.html")]
    pub report: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print what was measured as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is seen in pictures, and of which.
#[derive(clap::Args, Debug)]
pub struct SeenArgs {
    /// inception, efficientnet-lite0, clip, pixels, or a file of weights of the first two
    #[arg(long, value_name = "WHAT", default_value = "inception")]
    pub features: String,
    /// How pictures are brought to Inception's size
    #[arg(long, value_enum, default_value_t)]
    pub resize: ResizeArg,
    /// Which pictures of a CONFIG.toml or of `digits`
    #[arg(long, value_enum, default_value_t)]
    pub split: Split,
    /// Pictures at a time; no score depends on it
    #[arg(long, value_name = "B", default_value_t = 32)]
    pub batch: usize,
}

/// How a model that is measured draws.
#[derive(clap::Args, Debug)]
pub struct DrawnArgs {
    /// A sampler, as in `sumi sample`; the model folder's own where nothing is said
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<SamplerKind>,
    /// Its steps
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Classifier-free guidance, as in `sumi sample`
    #[arg(long, value_name = "S")]
    pub guidance: Option<f64>,
}

/// How pictures are brought to Inception's size.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResizeArg {
    /// Bilinear, not antialiased
    #[default]
    PytorchFid,
    /// Bilinear on TensorFlow 1's grid, as the first FID
    TorchFidelity,
    /// Bicubic, antialiased
    CleanFid,
}

/// Which pictures of a data set with a held-out part.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Split {
    /// All
    #[default]
    All,
    /// Those that are trained on
    Train,
    /// Those that are not
    HeldOut,
}

#[derive(clap::Args, Debug)]
pub struct StatsArgs {
    /// A folder of images, an .npz, a CONFIG.toml, or features in an .npy or .safetensors
    #[arg(value_name = "SET")]
    pub set: PathBuf,
    #[command(flatten)]
    pub seen: SeenArgs,
    /// The first N pictures
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// A CLIPModel folder, for --features clip
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
    /// Where mu and sigma go, as pytorch-fid writes them
    #[arg(long, value_name = "S.npz")]
    pub out: PathBuf,
    /// Also the features [N,D], as .npy
    #[arg(long, value_name = "F.npy")]
    pub features_out: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}
