//! What kind of pipeline a checkpoint is.

use super::Checkpoint;
use serde_json::Value;

/// The line of models that a checkpoint is of, by its parts and not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// CLIP-L text, convolutional projections around attention.
    StableDiffusion1,
    /// OpenCLIP-H text, linear projections around attention.
    StableDiffusion2,
    /// Two text encoders and size conditioning.
    StableDiffusionXl,
    /// Stable Diffusion 1 with a Chinese BERT.
    Taiyi,
    /// Stable Diffusion 2's network that draws four times the size of a picture.
    Upscaler,
    /// None of these.
    Other,
}

impl Family {
    /// The name by which people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StableDiffusion1 => "Stable Diffusion 1.x",
            Self::StableDiffusion2 => "Stable Diffusion 2.x",
            Self::StableDiffusionXl => "Stable Diffusion XL",
            Self::Taiyi => "Taiyi-like (Stable Diffusion 1.x with a BERT)",
            Self::Upscaler => "Stable Diffusion x4 upscaler",
            Self::Other => "unknown",
        }
    }

    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let Some(unet) = checkpoint.parts.get("unet") else { return Self::Other };
        if unet.class != "UNet2DConditionModel" {
            return Self::Other;
        }
        let text = checkpoint.parts.get("text_encoder").map_or("", |part| part.class.as_str());
        if checkpoint.parts.contains_key("low_res_scheduler") {
            Self::Upscaler
        } else if unet.config["addition_embed_type"] == "text_time" {
            Self::StableDiffusionXl
        } else if text == "BertModel" {
            Self::Taiyi
        } else if !text.starts_with("CLIPText") {
            Self::Other
        } else if unet.config["use_linear_projection"] == Value::Bool(true) {
            Self::StableDiffusion2
        } else {
            Self::StableDiffusion1
        }
    }
}

/// What a network predicts, under diffusers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// `alpha eps - sigma x0` (Salimans and Ho, 2022).
    V,
    /// The clean picture.
    Sample,
}

impl Prediction {
    /// The name in a `scheduler_config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v_prediction",
            Self::Sample => "sample",
        }
    }
}
