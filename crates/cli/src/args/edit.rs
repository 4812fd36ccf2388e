//! What can be asked of guidance, editing and films.

use super::{ClassArg, DeviceName, GridParser, SamplerParser};
use std::path::PathBuf;
use sumi_sampler::{GridKind, SamplerKind};

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Guidance")]
pub struct GuidanceArgs {
    /// Go W times as far from no class to the class as the model does; 1 is no guidance
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Take back this share, from 0 to 1, of the contrast that --guidance adds
    #[arg(long, value_name = "PHI", requires = "guidance")]
    pub guidance_rescale: Option<f64>,
    /// Guide only at noise levels sigma / alpha between these two
    #[arg(long, value_name = "LOW,HIGH", requires = "guidance")]
    pub guidance_interval: Option<IntervalArg>,
    /// Guide away from this worse model of the same pictures instead of from no class
    #[arg(long, value_name = "MODEL", requires = "guidance")]
    pub autoguidance: Option<PathBuf>,
    /// Lead to the class by the gradient of this classifier of noisy pictures
    #[arg(long, value_name = "RUN")]
    pub classifier: Option<PathBuf>,
    /// How strongly; 1 is Bayes' rule
    #[arg(
        long,
        value_name = "S",
        requires = "classifier",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub classifier_scale: f64,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Editing")]
pub struct EditArgs {
    /// Start from this picture; it wants --strength, --mask or both
    #[arg(long, value_name = "IMAGE")]
    pub init: Option<PathBuf>,
    /// How much of the way to walk from the noised picture, from 0 (the picture) to 1
    #[arg(long, value_name = "S", requires = "init")]
    pub strength: Option<f64>,
    /// Redraw only what is white here, of the size of --init; what is darker than half stays
    #[arg(long, value_name = "IMAGE", requires = "init")]
    pub mask: Option<PathBuf>,
    /// Walk each part of the way so often (RePaint), so that what is redrawn fits better
    #[arg(long, value_name = "J", requires = "mask")]
    pub resample: Option<usize>,
    /// The steps of such a part; 10 where nothing is said and there are as many
    #[arg(long, value_name = "N", requires = "resample")]
    pub jump: Option<usize>,
}

/// Two noise levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntervalArg {
    pub low: f64,
    pub high: f64,
}

impl std::str::FromStr for IntervalArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected =
            || format!("expected two numbers LOW,HIGH with 0 <= LOW < HIGH, found {text}");
        let (low, high) = text.split_once(',').ok_or_else(expected)?;
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| expected());
        match (number(low)?, number(high)?) {
            (low, high) if low >= 0.0 && low < high => Ok(Self { low, high }),
            _ => Err(expected()),
        }
    }
}

#[derive(clap::Args, Debug)]
pub struct InterpolateArgs {
    /// A model folder, a checkpoint or a run folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The picture to begin with
    #[arg(value_name = "A")]
    pub from: PathBuf,
    /// The picture to end with
    #[arg(value_name = "B")]
    pub to: PathBuf,
    /// How many pictures, the two ends included
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub count: usize,
    /// Steps of DDIM each way
    #[arg(long, value_name = "S", default_value_t = 100)]
    pub steps: usize,
    /// The class of A and, after a comma, of B where it is another; for a model with classes
    #[arg(long, value_name = "C[,C]", value_delimiter = ',', num_args = 1)]
    pub class: Vec<u32>,
    /// A folder for one PNG a picture
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// One row of all, between the two that were given
    #[arg(long, value_name = "F.png")]
    pub grid: Option<PathBuf>,
    /// There and back again
    #[arg(long, value_name = "F.gif")]
    pub gif: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
}

#[derive(clap::Args, Debug)]
pub struct FilmArgs {
    /// A model folder, a checkpoint or a run folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Which sample: the one that `sumi sample --seed K` draws first
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub seed: u64,
    /// Its class; the first where nothing is said
    #[arg(long, value_name = "C", default_value = "all", hide_default_value = true)]
    pub class: ClassArg,
    /// The sampler; the model's own where nothing is said
    #[arg(long, value_name = "NAME", value_parser = SamplerParser, hide_possible_values = true)]
    pub sampler: Option<SamplerKind>,
    /// Sampling steps; what is usual for the sampler where nothing is said
    #[arg(long, value_name = "S")]
    pub steps: Option<usize>,
    /// The share of ancestral noise, from 0 to 1, for the samplers that have one
    #[arg(long, value_name = "E")]
    pub eta: Option<f64>,
    /// How the noise levels of the steps are placed; the model's own way where nothing is said
    #[arg(long, value_name = "KIND", hide_possible_values = true, value_parser = GridParser)]
    pub grid_kind: Option<GridKind>,
    /// The exponent of karras and polyexponential grids
    #[arg(long, value_name = "RHO", allow_negative_numbers = true)]
    pub grid_rho: Option<f64>,
    /// A sheet (.png) or a film (.gif); may be given again
    #[arg(long, value_name = "F.png|F.gif", default_value = "film.png")]
    pub out: Vec<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
}
