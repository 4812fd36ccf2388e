//! The autoencoder between pictures and latents (`AutoencoderKL` in diffusers).

mod config;
mod layers;
mod posterior;
mod strips;

pub use config::AutoencoderConfig;
pub use posterior::Posterior;

use crate::ConfigError;
use crate::levels::{self, DownBlock, MidBlock, Place, Plan, Way};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use layers::Layer;
use sumi_nn::{
    Conv2d, GroupNorm, Init, ResnetBlock, ResnetBlockConfig, SelfAttention, SelfAttentionConfig,
    Upsample,
};

/// Epsilon of every normalisation.
const EPS: f64 = 1e-6;

/// Pictures to a normal distribution over latents, and latents to pictures (Rombach et al., High-Resolution Image
/// Synthesis with Latent Diffusion Models, section 3.1 and appendix G).
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    /// From pictures.
    pub encoder: Encoder,
    /// To pictures.
    pub decoder: Decoder,
    /// 1x1, after the encoder.
    pub quant_conv: Option<Conv2d>,
    /// 1x1, before the decoder.
    pub post_quant_conv: Option<Conv2d>,
}

/// From a picture to the moments of its latents.
#[derive(Module, Debug)]
pub struct Encoder {
    /// From the picture's channels to the first level's.
    pub conv_in: Conv2d,
    /// From fine to coarse.
    pub down_blocks: Vec<DownBlock<SelfAttention>>,
    /// At the coarsest level.
    pub mid_block: MidBlock<SelfAttention>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// To mean and log-variance.
    pub conv_out: Conv2d,
}

/// From latents to a picture.
#[derive(Module, Debug)]
pub struct Decoder {
    /// From the latents' channels to the last level's.
    pub conv_in: Conv2d,
    /// At the coarsest level.
    pub mid_block: MidBlock<SelfAttention>,
    /// From coarse to fine.
    pub up_blocks: Vec<UpDecoderBlock>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// To the picture's channels.
    pub conv_out: Conv2d,
}

/// Residual blocks, then doubling, except at the finest level.
#[derive(Module, Debug)]
pub struct UpDecoderBlock {
    /// The residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none.
    pub upsamplers: Vec<Upsample>,
}

sumi_nn::layers!(AutoencoderKl { encoder, decoder, quant_conv, post_quant_conv });
sumi_nn::layers!(Encoder { conv_in, down_blocks, mid_block, conv_out });
sumi_nn::layers!(Decoder { conv_in, mid_block, up_blocks, conv_out });
sumi_nn::layers!(UpDecoderBlock { resnets, upsamplers });

impl AutoencoderKl {
    /// A fresh network.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &AutoencoderConfig, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let latents = config.latent_channels;
        let conv = |wanted: bool, channels: usize, init: &mut Init| {
            wanted.then(|| Conv2d::same(init, [channels, channels], 1))
        };
        Ok(Self {
            encoder: Encoder::new(config, init),
            decoder: Decoder::new(config, init),
            quant_conv: conv(config.use_quant_conv, 2 * latents, init),
            post_quant_conv: conv(config.use_post_quant_conv, latents, init),
        })
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.encoder.conv_in.weight.lazy_device()
    }

    /// The distribution of a picture's latents, not yet scaled.
    ///
    /// # Shapes
    /// `x` `[N, C, H, W]` with H and W divisible by [`AutoencoderConfig::pixels_per_latent`].
    pub fn encode(&self, x: Tensor<4>) -> Posterior {
        let x = x.permute([0, 2, 3, 1]);
        let x = self.encoder_layers().iter().fold(x, |x, layer| layer.forward(x));
        Posterior::new(x.permute([0, 3, 1, 2]))
    }

    /// The picture of latents whose scaling is undone.
    ///
    /// # Shapes
    /// `z` `[N, C, h, w]`, result `[N, out_channels, H, W]`.
    pub fn decode(&self, z: Tensor<4>) -> Tensor<4> {
        let z = z.permute([0, 2, 3, 1]);
        let x = self.decoder_layers().iter().fold(z, |x, layer| layer.forward(x));
        x.permute([0, 3, 1, 2])
    }

    /// [`Self::encode`] in less memory: see [`Self::decode_tiled`].
    ///
    /// # Shapes
    /// As [`Self::encode`].
    pub fn encode_tiled(&self, x: Tensor<4>) -> Posterior {
        let x = strips::forward(&self.encoder_layers(), x.permute([0, 2, 3, 1]));
        Posterior::new(x.permute([0, 3, 1, 2]))
    }

    /// [`Self::decode`] in less memory, picture by picture and each in strips of rows. The strips share what the whole
    /// picture's normalisations and attention know, so that the result is the same but for rounding, and has no seams.
    ///
    /// # Shapes
    /// As [`Self::decode`].
    pub fn decode_tiled(&self, z: Tensor<4>) -> Tensor<4> {
        let x = strips::forward(&self.decoder_layers(), z.permute([0, 2, 3, 1]));
        x.permute([0, 3, 1, 2])
    }

    fn encoder_layers(&self) -> Vec<Layer<'_>> {
        let mut layers = self.encoder.layers();
        layers.extend(self.quant_conv.iter().map(Layer::Conv));
        layers
    }

    fn decoder_layers(&self) -> Vec<Layer<'_>> {
        let mut layers: Vec<_> = self.post_quant_conv.iter().map(Layer::Conv).collect();
        layers.extend(self.decoder.layers());
        layers
    }
}

impl Plan for AutoencoderConfig {
    type Attention = SelfAttention;

    fn channels(&self) -> &[usize] {
        &self.block_out_channels
    }

    fn layers(&self, _: usize) -> usize {
        self.layers_per_block
    }

    fn middle_layers(&self) -> usize {
        2
    }

    fn resnet(&self, _: Place, [inputs, outputs]: [usize; 2]) -> ResnetBlockConfig {
        ResnetBlockConfig {
            inputs,
            outputs,
            time_dim: None,
            groups: self.norm_num_groups,
            eps: EPS,
            dropout: 0.0,
            output_scale: 1.0,
        }
    }

    /// Between the two residual blocks of the middle, in one head.
    fn attention(&self, place: Place, init: &mut Init) -> Option<SelfAttention> {
        let channels = self.block_out_channels[place.level];
        let config = SelfAttentionConfig {
            channels,
            head_dim: channels,
            groups: self.norm_num_groups,
            eps: EPS,
            output_scale: 1.0,
        };
        let has = self.mid_block_add_attention && place.way == Way::Middle && place.layer == 0;
        has.then(|| SelfAttention::new(init, config))
    }

    /// A row below and a column to the right.
    fn downsample_padding(&self) -> usize {
        0
    }
}

impl Encoder {
    fn new(config: &AutoencoderConfig, init: &mut Init) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        Self {
            conv_in: Conv2d::same(init, [config.in_channels, first], 3),
            down_blocks: levels::down_blocks(config, init),
            mid_block: levels::mid_block(config, init),
            conv_norm_out: GroupNorm::new(init, last, config.norm_num_groups, EPS),
            conv_out: Conv2d::same(init, [last, 2 * config.latent_channels], 3),
        }
    }
}

impl Decoder {
    fn new(config: &AutoencoderConfig, init: &mut Init) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let conv_in = Conv2d::same(init, [config.latent_channels, last], 3);
        let mid_block = levels::mid_block(config, init);
        let mut inputs = last;
        let mut up_blocks = Vec::with_capacity(channels.len());
        for (level, &outputs) in channels.iter().enumerate().rev() {
            let resnets = (0..=config.layers_per_block).map(|layer| {
                let place = Place { way: Way::Up, level, layer };
                let inputs = if layer == 0 { inputs } else { outputs };
                ResnetBlock::new(init, config.resnet(place, [inputs, outputs]))
            });
            let resnets = resnets.collect();
            let doubles = usize::from(level > 0);
            let upsamplers = (0..doubles).map(|_| Upsample::new(init, outputs)).collect();
            up_blocks.push(UpDecoderBlock { resnets, upsamplers });
            inputs = outputs;
        }
        Self {
            conv_in,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(init, first, config.norm_num_groups, EPS),
            conv_out: Conv2d::same(init, [first, config.out_channels], 3),
        }
    }
}
