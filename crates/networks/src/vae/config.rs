//! `vae/config.json`.

use crate::ConfigError;
use crate::tokens::expect_sizes;
use crate::unet::SampleSize;
use crate::unet::config::expect;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Everything that decides the shape of an [`super::AutoencoderKl`], under the names and with the defaults of
/// diffusers' `AutoencoderKL`.
///
/// What diffusers can express and this network cannot is refused by [`Self::check`], never ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoencoderConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// Only "DownEncoderBlock2D", one a level.
    pub down_block_types: Vec<String>,
    /// Only "UpDecoderBlock2D", one a level.
    pub up_block_types: Vec<String>,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks a level in the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Only "silu" ("swish").
    pub act_fn: String,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of every normalisation.
    pub norm_num_groups: usize,
    /// Height and width that it was trained on, in pixels.
    pub sample_size: Option<SampleSize>,
    /// What latents are multiplied with for the diffusion model.
    pub scaling_factor: f64,
    /// What is taken from them before that.
    pub shift_factor: Option<f64>,
    /// The mean of every channel of the latents, in place of `shift_factor`.
    pub latents_mean: Option<Vec<f64>>,
    /// What every channel is divided by as well.
    pub latents_std: Option<Vec<f64>>,
    /// Whether half precision is too little for its activations.
    pub force_upcast: bool,
    /// Whether the encoder ends with a convolution of its own.
    pub use_quant_conv: bool,
    /// Whether the decoder begins with one.
    pub use_post_quant_conv: bool,
    /// Whether the coarsest level has attention.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![DOWN.into()],
            up_block_types: vec![UP.into()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".into(),
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: Some(SampleSize::Square(32)),
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

const DOWN: &str = "DownEncoderBlock2D";
const UP: &str = "UpDecoderBlock2D";

impl AutoencoderConfig {
    /// Pixels to a latent, in height and in width.
    pub fn pixels_per_latent(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1).min(30)
    }

    /// Latents as the diffusion model sees them, `(z - shift) * scale` (Rombach et al., High-Resolution Image Synthesis
    /// with Latent Diffusion Models, appendix G).
    ///
    /// # Shapes
    /// `[N, latent_channels, h, w]`, kept.
    pub fn scaled(&self, z: Tensor<4>) -> Tensor<4> {
        let (shift, scale) = self.shift_and_scale(&z);
        (z - shift) * scale
    }

    /// The reverse of [`Self::scaled`].
    ///
    /// # Shapes
    /// `[N, latent_channels, h, w]`, kept.
    pub fn unscaled(&self, z: Tensor<4>) -> Tensor<4> {
        let (shift, scale) = self.shift_and_scale(&z);
        z / scale + shift
    }

    fn shift_and_scale(&self, z: &Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let shift = match &self.latents_mean {
            Some(mean) => mean.clone(),
            None => vec![self.shift_factor.unwrap_or(0.0)],
        };
        let scale: Vec<f64> = match &self.latents_std {
            Some(std) => std.iter().map(|std| self.scaling_factor / std).collect(),
            None => vec![self.scaling_factor],
        };
        let of_channels = |numbers: Vec<f64>| {
            let numbers: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
            let shape = [1, numbers.len(), 1, 1];
            Tensor::from_data(TensorData::new(numbers, shape), &z.device())
        };
        (of_channels(shift), of_channels(scale))
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        let levels = self.block_out_channels.len();
        let channels = &self.block_out_channels;
        expect((1..=16).contains(&levels), "block_out_channels", "1 to 16 levels", channels)?;
        for (field, found, only) in [
            ("down_block_types", &self.down_block_types, DOWN),
            ("up_block_types", &self.up_block_types, UP),
        ] {
            let holds = found.len() == levels && found.iter().all(|kind| kind == only);
            expect(holds, field, format!("\"{only}\", one for each of {channels:?}"), found)?;
        }
        let act = &self.act_fn;
        expect(matches!(act.as_str(), "silu" | "swish"), "act_fn", "\"silu\"", act)?;
        expect_sizes(
            1 << 16,
            &channels.iter().map(|&c| ("block_out_channels", c)).collect::<Vec<_>>(),
        )?;
        expect_sizes(
            1 << 16,
            &[
                ("in_channels", self.in_channels),
                ("out_channels", self.out_channels),
                ("latent_channels", self.latent_channels),
                ("norm_num_groups", self.norm_num_groups),
            ],
        )?;
        expect_sizes(64, &[("layers_per_block", self.layers_per_block)])?;
        let groups = self.norm_num_groups;
        let fits = channels.iter().all(|c| c.is_multiple_of(groups));
        expect(fits, "norm_num_groups", format!("a divisor of each of {channels:?}"), groups)?;
        self.check_scaling()
    }

    fn check_scaling(&self) -> Result<(), ConfigError> {
        let usable = |x: f64| x.is_finite() && x != 0.0;
        let scale = self.scaling_factor;
        expect(usable(scale), "scaling_factor", "a number but 0", scale)?;
        let shift = self.shift_factor;
        expect(shift.is_none_or(f64::is_finite), "shift_factor", "a number or null", shift)?;
        let count = self.latent_channels;
        for (field, found, good) in [
            ("latents_mean", &self.latents_mean, (|x| x.is_finite()) as fn(f64) -> bool),
            ("latents_std", &self.latents_std, usable),
        ] {
            let holds =
                found.as_ref().is_none_or(|x| x.len() == count && x.iter().all(|&x| good(x)));
            expect(holds, field, format!("null or {count} numbers, one a channel"), found)?;
        }
        Ok(())
    }
}
