//! What can be asked of the command.

// These comments are the help text, where brackets are shapes and not links.
#![allow(rustdoc::broken_intra_doc_links)]

mod edit;
mod generate;
mod lora;

pub use edit::{EditArgs, FilmArgs, GuidanceArgs, InterpolateArgs};
pub use generate::{GenerateArgs, Rng};
pub use lora::{LoraArgs, LoraCommand, LoraConvertArgs, LoraInspectArgs, LoraMergeArgs};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use sumi_sampler::{CATALOG, GridKind, SamplerKind};

/// Train, sample and look at diffusion models.
#[derive(Parser, Debug)]
#[command(name = "sumi", version, about, arg_required_else_help = true, max_term_width = 100)]
pub struct Args {
    /// CPU threads; all cores where nothing is said. Results do not depend on it
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Learn real handwriting from noise, draw it, and show how good it is
    Demo(DemoArgs),
    /// Train a model as a configuration says
    Train(TrainArgs),
    /// Draw pictures with a model
    Sample(Box<SampleArgs>),
    /// Draw a picture of a prompt with a Stable Diffusion checkpoint
    Generate(Box<GenerateArgs>),
    /// Draw the way from one picture to another
    Interpolate(InterpolateArgs),
    /// Draw what happens along one way from noise to a picture
    Film(FilmArgs),
    /// Print a noise schedule and its posteriors
    Schedule(ScheduleArgs),
    /// Say what a model, a checkpoint, a config or a file of tensors holds
    Inspect(InspectArgs),
    /// Say what a LoRA holds, fold it into a checkpoint, write it in another layout
    Lora(LoraArgs),
    /// Write a Stable Diffusion checkpoint in another layout or type
    Convert(crate::convert::ConvertArgs),
    /// Measure how good a model is
    Eval(crate::eval::EvalArgs),
    /// Measure how fast a network runs on this machine
    Bench(BenchArgs),
}

/// Where to compute.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeviceName {
    /// The processor
    #[default]
    Cpu,
    /// A GPU through Vulkan, in a build with --features vulkan
    Vulkan,
    /// A GPU through CUDA, in a build with --features cuda
    Cuda,
}

#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Where everything is left; an unfinished demo there is taken up again
    #[arg(long, value_name = "DIR", default_value = "sumi-demo")]
    pub out: PathBuf,
    /// Decides the first weights, the order of the data and all noise
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    pub seed: u64,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Change a setting of presets/digits.toml, such as train.steps=200
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub struct TrainArgs {
    /// The configuration, such as presets/digits.toml
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// The run folder; runs/NAME for NAME.toml where nothing is said
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on from the newest checkpoint in the run folder
    #[arg(long)]
    pub resume: bool,
    /// Change a setting, such as train.steps=200; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print every event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The type of the weights that products are made of.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// As networks are trained
    #[default]
    F32,
    /// Half the memory: the range of f32 with 8 significant bits
    Bf16,
    /// Half the memory: 11 significant bits, up to 65504
    F16,
}

impl Dtype {
    /// The same for files.
    pub fn stored(self) -> sumi_formats::Dtype {
        match self {
            Self::F32 => sumi_formats::Dtype::F32,
            Self::Bf16 => sumi_formats::Dtype::Bf16,
            Self::F16 => sumi_formats::Dtype::F16,
        }
    }

    /// The same for the layers.
    pub fn precision(self) -> sumi_nn::Precision {
        match self {
            Self::F32 => sumi_nn::Precision::F32,
            Self::Bf16 => sumi_nn::Precision::Bf16,
            Self::F16 => sumi_nn::Precision::F16,
        }
    }
}

/// Reads a sampler's name, and lists them all with what each costs and is good for.
#[derive(Clone)]
pub struct SamplerParser;

impl clap::builder::TypedValueParser for SamplerParser {
    type Value = SamplerKind;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<SamplerKind, clap::Error> {
        SamplerKind::named(&value.to_string_lossy()).map_err(|error| {
            let message = format!("--sampler: {error}");
            command.clone().error(clap::error::ErrorKind::InvalidValue, message)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let describe = |entry: &sumi_sampler::Entry| {
            let calls = match entry.calls_per_step {
                1 => "1 call a step".to_string(),
                n => format!("{n} calls a step"),
            };
            PossibleValue::new(entry.name).help(format!("{calls}; {}", entry.advice))
        };
        Some(Box::new(CATALOG.iter().map(describe)))
    }
}

/// Reads the name of a kind of grid, and lists them all.
#[derive(Clone)]
pub struct GridParser;

impl clap::builder::TypedValueParser for GridParser {
    type Value = GridKind;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<GridKind, clap::Error> {
        let names = GridKind::ALL.map(|(_, name, _)| name);
        let name = PossibleValuesParser::new(names).parse_ref(command, argument, value)?;
        let found = GridKind::ALL.into_iter().find(|(_, known, _)| *known == name);
        found.map(|(kind, ..)| kind).ok_or_else(|| {
            command.clone().error(
                clap::error::ErrorKind::InvalidValue,
                format!("--grid-kind: there is no {name}"),
            )
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let describe = |(_, name, words)| PossibleValue::new(name).help(words);
        Some(Box::new(GridKind::ALL.into_iter().map(describe)))
    }
}

#[derive(clap::Args, Debug)]
pub struct SampleArgs {
    /// A model folder, a checkpoint, a run folder for its newest one, or RUN/best
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// How many samples; 100 where nothing is said, 1,000 where they are points
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// How many at a time, on which no sample depends; 64 where nothing is said, 1,000 where they are
    /// points
    #[arg(long, value_name = "B")]
    pub batch: Option<usize>,
    /// The sampler; the model's own where nothing is said
    #[arg(long, value_name = "NAME", value_parser = SamplerParser)]
    pub sampler: Option<SamplerKind>,
    /// Sampling steps; what is usual for the sampler where nothing is said
    #[arg(long, value_name = "S")]
    pub steps: Option<usize>,
    /// The share of ancestral noise, from 0 to 1, for the samplers that have one
    #[arg(long, value_name = "E")]
    pub eta: Option<f64>,
    /// How much noise edm adds and takes away again over the whole run, its paper's S_churn; others
    /// have none
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub churn: Option<f64>,
    /// The error of a step of ode, relative and absolute; others have none
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub tolerance: Option<f64>,
    /// How the noise levels of the steps are placed; the model's own way where nothing is said
    #[arg(long, value_name = "KIND", value_parser = GridParser)]
    pub grid_kind: Option<GridKind>,
    /// The exponent of karras and polyexponential grids
    #[arg(long, value_name = "RHO", allow_negative_numbers = true)]
    pub grid_rho: Option<f64>,
    /// Sample i draws from a PyTorch-compatible generator of seed K + i
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub seed: u64,
    /// The class to draw, or all of them in turn
    #[arg(long, value_name = "C|all", default_value = "all")]
    pub class: ClassArg,
    /// A folder for one PNG a sample, which points have none of
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// One sheet with all samples: pictures a row a class, points in the colours of their classes
    #[arg(long, value_name = "F.png")]
    pub grid: Option<PathBuf>,
    /// The film of the first batch running backwards
    #[arg(long, value_name = "F.gif")]
    pub gif: Option<PathBuf>,
    /// Pixels and classes: arr_0 uint8 [N,H,W,C], arr_1 int64 [N]
    #[arg(long, value_name = "F.npz")]
    pub npz: Option<PathBuf>,
    /// Tensors `noise` and `samples`, f32 [N,C,H,W], before any clamp to pixels
    #[arg(long, value_name = "F.safetensors")]
    pub tensors: Option<PathBuf>,
    /// Start from the tensor `noise` of this file
    #[arg(long, value_name = "F.safetensors")]
    pub noise: Option<PathBuf>,
    /// The weights of convolutions and linear layers; sums and pictures stay f32
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub guidance: GuidanceArgs,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// One class by its number, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassArg {
    All,
    One(u32),
}

impl std::str::FromStr for ClassArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            number => number
                .parse()
                .map(Self::One)
                .map_err(|_| format!("expected a class number or all, found {text}")),
        }
    }
}

/// The shapes of beta.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleKind {
    /// beta rises evenly (DDPM)
    Linear,
    /// alpha_bar follows a squared cosine (Improved DDPM)
    Cosine,
    /// the root of beta rises evenly (Stable Diffusion)
    ScaledLinear,
    /// beta rises along a sigmoid (GeoDiff)
    Sigmoid,
    /// alpha_bar falls with a root of t (Diffusion-LM)
    Sqrt,
}

#[derive(clap::Args, Debug)]
pub struct ScheduleArgs {
    /// The shape of beta
    #[arg(long, value_enum, default_value = "linear")]
    pub kind: ScheduleKind,
    /// T, the number of timesteps
    #[arg(long, value_name = "T", default_value_t = 1000)]
    pub steps: usize,
    /// The first beta; the published one of the shape where nothing is said
    #[arg(long, value_name = "B")]
    pub beta_start: Option<f64>,
    /// The last beta; the published one of the shape where nothing is said
    #[arg(long, value_name = "B")]
    pub beta_end: Option<f64>,
    /// Print the grid of this sampler on the schedule instead
    #[arg(long, value_name = "NAME", value_parser = SamplerParser)]
    pub sampler: Option<SamplerKind>,
    /// Its sampling steps; what is usual for it where nothing is said
    #[arg(long, value_name = "S", requires = "sampler")]
    pub sampling_steps: Option<usize>,
    /// How the noise levels of its steps are placed
    #[arg(long, value_name = "KIND", requires = "sampler", value_parser = GridParser)]
    pub grid_kind: Option<GridKind>,
    /// The exponent of karras and polyexponential grids
    #[arg(long, value_name = "RHO", requires = "sampler", allow_negative_numbers = true)]
    pub grid_rho: Option<f64>,
    /// Print all tables as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw alpha_bar, log-SNR and posterior variance, or the grid
    #[arg(long, value_name = "F.png")]
    pub plot: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub struct InspectArgs {
    /// A pipeline, model or run folder, a single-file checkpoint, a component's folder or config.json,
    /// a safetensors or a torch file, or a PNG that says what it was made from
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is measured.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BenchWork {
    /// One pass through the network, as sampling makes it
    #[default]
    Forward,
    /// One training step on pictures in memory: forward, backward, clipping, AdamW and the average
    /// of the weights
    Train,
    /// Drawing one batch with 10 steps of ddim
    Sample,
}

#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    /// digits, mnist, ddpm-cifar10, ddpm-256, a network's config.json or a model folder; weights
    /// that come from no file are drawn
    #[arg(long, value_name = "NETWORK", default_value = "ddpm-cifar10")]
    pub network: String,
    /// Pictures at a time
    #[arg(long, value_name = "B", default_value_t = 8)]
    pub batch: usize,
    /// What is measured
    #[arg(long, value_enum, default_value_t)]
    pub what: BenchWork,
    /// The weights of convolutions and linear layers; sums and pictures stay f32
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// How often, after a warm-up; for some 10 s, at least 5 times, where nothing is said
    #[arg(long, value_name = "R")]
    pub reps: Option<usize>,
    /// The network's weights
    #[arg(long, value_name = "F.safetensors")]
    pub weights: Option<PathBuf>,
    /// Leave the network as a model folder, for another program to run
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Leave the first forward pass: `x` and `output`, f32 [N,C,H,W], `timesteps` and `classes` [N]
    #[arg(long, value_name = "F.safetensors")]
    pub output: Option<PathBuf>,
    /// Print the time by kind of layer
    #[arg(long)]
    pub profile: bool,
    /// Print the measurements as JSON
    #[arg(long)]
    pub json: bool,
}
