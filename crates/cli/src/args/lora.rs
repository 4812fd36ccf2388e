//! What can be asked about LoRAs.

use crate::args::Dtype;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use sumi_formats::lora::Layout;

#[derive(clap::Args, Debug)]
pub struct LoraArgs {
    #[command(subcommand)]
    pub command: LoraCommand,
}

#[derive(Subcommand, Debug)]
pub enum LoraCommand {
    /// Say what a LoRA holds and which family of models it is for
    Inspect(LoraInspectArgs),
    /// Write a checkpoint with LoRAs folded into its weights
    Merge(LoraMergeArgs),
    /// Write a LoRA in another layout
    Convert(LoraConvertArgs),
}

#[derive(clap::Args, Debug)]
pub struct LoraInspectArgs {
    /// A LoRA: .safetensors, .bin, .pt, or PEFT's folder
    #[arg(value_name = "LORA")]
    pub lora: PathBuf,
    /// A checkpoint to hold it against
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
pub struct LoraMergeArgs {
    /// A checkpoint: a diffusers folder or a single file
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// LoRAs, each with its weight, 1 where nothing is said, in the order in which they act
    #[arg(value_name = "LORA[:WEIGHT]", required = true)]
    pub loras: Vec<LoraChoice>,
    /// The new checkpoint, where nothing is yet: a folder, or a single file where it ends in
    /// .safetensors
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// The type of all weights; as they are where nothing is said
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
pub struct LoraConvertArgs {
    /// A LoRA: .safetensors, .bin, .pt, or PEFT's folder
    #[arg(value_name = "IN")]
    pub lora: PathBuf,
    /// The new .safetensors file; must not exist yet
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// How its tensors are named
    #[arg(long, value_enum)]
    pub layout: LoraLayout,
}

/// How a LoRA's tensors are named.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoraLayout {
    /// lora_A and lora_B, as diffusers writes today
    Peft,
    /// lora.down and lora_linear_layer.down, as diffusers wrote before
    Diffusers,
    /// to_q_lora.down of attention processors, as diffusers wrote first
    AttnProcs,
    /// lora_unet_down_blocks_.., as kohya's trainer writes for SD 1.x and 2.x
    Kohya,
    /// lora_unet_input_blocks_.., as kohya's trainer writes for SDXL
    KohyaSgm,
}

impl LoraLayout {
    /// The same for the writer.
    pub fn layout(self) -> Layout {
        match self {
            Self::Peft => Layout::Peft,
            Self::Diffusers => Layout::Diffusers,
            Self::AttnProcs => Layout::AttnProcs,
            Self::Kohya => Layout::Kohya,
            Self::KohyaSgm => Layout::KohyaSgm,
        }
    }
}

/// A LoRA and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    pub path: PathBuf,
    pub weight: f64,
}

impl std::str::FromStr for LoraChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, weight) = match text.rsplit_once(':') {
            // A colon may also be part of the path.
            Some((path, number))
                if !number.contains(['/', '\\', '.']) || number.parse::<f64>().is_ok() =>
            {
                let weight = number.parse::<f64>().ok().filter(|weight| weight.is_finite());
                let wrong = || format!("expected LORA:WEIGHT with a finite number, found {number}");
                (path, weight.ok_or_else(wrong)?)
            }
            _ => (text, 1.0),
        };
        match path.is_empty() {
            true => Err("expected a path before the colon, found nothing".into()),
            false => Ok(Self { path: path.into(), weight }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_follows_the_last_colon() {
        let read = |text: &str| text.parse::<LoraChoice>().map(|c| (c.path, c.weight));
        assert_eq!(read("a.safetensors"), Ok(("a.safetensors".into(), 1.0)));
        assert_eq!(read("a.safetensors:0.6"), Ok(("a.safetensors".into(), 0.6)));
        assert_eq!(read("a:b/c.bin:-1e-1"), Ok(("a:b/c.bin".into(), -0.1)));
        assert_eq!(read("C:\\loras\\a.pt"), Ok(("C:\\loras\\a.pt".into(), 1.0)));
        assert!(read("a.safetensors:much").unwrap_err().contains("found much"));
        assert!(read("a.safetensors:inf").is_err());
        assert!(read(":0.5").unwrap_err().contains("a path before the colon"));
    }
}
