//! What can be asked of drawing from words.

use super::lora::LoraChoice;
use super::{DeviceName, Dtype, GridParser, SamplerParser};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use sumi_sampler::{GridKind, SamplerKind};

/// Whose random numbers.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rng {
    /// PyTorch's on the CPU, as diffusers' scripts draw
    #[default]
    TorchCpu,
    /// PyTorch's on a CUDA device, as the WebUI draws on a GPU
    TorchCuda,
}

#[derive(clap::Args, Debug)]
pub struct GenerateArgs {
    /// A diffusers folder or a single .safetensors or .ckpt file
    #[arg(long, value_name = "MODEL", required_unless_present = "from")]
    pub model: Option<PathBuf>,
    /// What is to be seen; (word:1.2) and [word] weigh
    #[arg(long, value_name = "TEXT", required_unless_present = "from")]
    pub prompt: Option<String>,
    /// What is not to be seen
    #[arg(long, value_name = "TEXT")]
    pub negative: Option<String>,
    /// Draw again what this PNG of sumi generate shows; other options change it
    #[arg(long, value_name = "F.png")]
    pub from: Option<PathBuf>,
    /// Image i draws from a PyTorch-compatible generator of seed K + i; random, and printed, where nothing is
    /// said
    #[arg(long, value_name = "K")]
    pub seed: Option<u64>,
    /// How many images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub count: u64,
    /// The sampler; the model's own where nothing is said
    #[arg(long, value_name = "NAME", value_parser = SamplerParser, hide_possible_values = true)]
    pub sampler: Option<SamplerKind>,
    /// How the noise levels of the steps are placed; the model's own way where nothing is said
    #[arg(long, value_name = "KIND", value_parser = GridParser, hide_possible_values = true)]
    pub grid_kind: Option<GridKind>,
    /// The exponent of karras and polyexponential grids
    #[arg(long, value_name = "RHO", allow_negative_numbers = true)]
    pub grid_rho: Option<f64>,
    /// Sampling steps; 50 where nothing is said
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// The share of ancestral noise, from 0 to 1, for the samplers that have one
    #[arg(long, value_name = "E")]
    pub eta: Option<f64>,
    /// Go W times as far from the negative prompt to the prompt as the model does; up to 1 is no guidance;
    /// 7.5 where nothing is said
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Width in pixels; the model's own where nothing is said
    #[arg(long, value_name = "W")]
    pub width: Option<usize>,
    /// Height in pixels; the model's own where nothing is said
    #[arg(long, value_name = "H")]
    pub height: Option<usize>,
    /// Leave out the text encoder's last K layers (the WebUI counts one more)
    #[arg(long, value_name = "K")]
    pub clip_skip: Option<usize>,
    /// A LoRA, and how much of it; may be given again
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub lora: Vec<LoraChoice>,
    /// Whose random numbers; torch-cpu where nothing is said
    #[arg(long, value_enum)]
    pub rng: Option<Rng>,
    /// The weights of convolutions, linear layers and embeddings; sums and pictures stay f32, which is what
    /// weights are where nothing is said
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// Encode and decode pictures tile by tile, in less memory
    #[arg(long)]
    pub vae_tiling: bool,
    /// Take brackets for letters and cut off what is longer than the text encoder, as diffusers does
    #[arg(long)]
    pub plain_prompt: bool,
    /// The image, or with --count F-0.png, F-1.png and so on; sumi.png where no output is named
    #[arg(long, value_name = "F.png")]
    pub out: Option<PathBuf>,
    /// The film of the first image
    #[arg(long, value_name = "F.gif")]
    pub gif: Option<PathBuf>,
    /// Tensors `prompt_embeds`, `negative_prompt_embeds`, `initial_latents`, `latents` and `image`
    #[arg(long, value_name = "F.safetensors")]
    pub tensors: Option<PathBuf>,
    /// Keep this file showing what the image under way will be
    #[arg(long, value_name = "F.png")]
    pub preview: Option<PathBuf>,
    /// Every how many steps
    #[arg(long, value_name = "N", requires = "preview", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub preview_every: u64,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub start: StartArgs,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Starting from an image")]
pub struct StartArgs {
    /// Start from this image
    #[arg(long, value_name = "IMAGE")]
    pub init: Option<PathBuf>,
    /// How much of the way to walk from the noised image, from 0 to 1; 0.8 where nothing is said, 1 with
    /// --mask
    #[arg(long, value_name = "S")]
    pub strength: Option<f64>,
    /// Redraw what is white here, of the size of --init
    #[arg(long, value_name = "IMAGE")]
    pub mask: Option<PathBuf>,
}
