//! A classifier of noisy pictures: the way down of the U-Net.

use crate::levels::{self, FromDown, Signals};
use crate::unet::plan::UNetPlan;
use crate::unet::{BlockType, DownBlock, MidBlock, SampleSize, UNetConfig, UNetConfigError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sumi_nn::{
    Activation, Conv2d, GroupNorm, Init, Linear, Pass, SelfAttention, SinusoidConfig,
    TimestepEmbedding, sinusoid,
};

/// Everything that decides the shape of a [`Classifier`]: `classifier/config.json`. Fields that a
/// [`UNetConfig`] has too mean the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Height and width that it was trained on, in pixels.
    pub sample_size: SampleSize,
    /// Channels of the picture.
    pub in_channels: usize,
    /// How many classes it tells apart.
    pub num_classes: usize,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// Which levels have attention, from fine to coarse; the middle always has it.
    pub attention: Vec<bool>,
    /// Residual blocks a level.
    pub layers_per_block: usize,
    /// Channels of one head; `null` is one head over all.
    pub attention_head_dim: Option<usize>,
    /// Groups of every normalisation.
    pub norm_num_groups: usize,
    /// Probability that dropout drops an element.
    pub dropout: f64,
}

impl ClassifierConfig {
    /// The U-Net whose way down it is, in DDPM's own conventions.
    pub fn unet(&self) -> UNetConfig {
        let block = |plain, with| move |&a: &bool| if a { with } else { plain };
        let down = block(BlockType::DownBlock2D, BlockType::AttnDownBlock2D);
        let up = block(BlockType::UpBlock2D, BlockType::AttnUpBlock2D);
        UNetConfig {
            sample_size: Some(self.sample_size),
            in_channels: self.in_channels,
            out_channels: self.in_channels,
            flip_sin_to_cos: false,
            freq_shift: 1.0,
            downsample_padding: 0,
            norm_eps: 1e-6,
            down_block_types: self.attention.iter().map(down).collect(),
            up_block_types: self.attention.iter().rev().map(up).collect(),
            block_out_channels: self.block_out_channels.clone(),
            layers_per_block: self.layers_per_block,
            attention_head_dim: self.attention_head_dim,
            norm_num_groups: self.norm_num_groups,
            dropout: self.dropout,
            ..UNetConfig::default()
        }
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), UNetConfigError> {
        self.unet().check()?;
        match (2..=1 << 16).contains(&self.num_classes) {
            true => Ok(()),
            false => Err(UNetConfigError {
                field: "num_classes",
                expected: "2 to 65536".into(),
                found: self.num_classes.to_string(),
            }),
        }
    }
}

/// Says which class a noisy picture is of: the U-Net's way down and middle, the mean over all pixels,
/// and a linear layer (Dhariwal and Nichol, Diffusion Models Beat GANs, section 4.1, with average
/// pooling for attention pooling).
#[derive(Module, Debug)]
pub struct Classifier {
    /// From the picture's channels to the first level's.
    pub conv_in: Conv2d,
    /// From the sinusoid to the time embedding.
    pub time_embedding: TimestepEmbedding,
    /// From fine to coarse.
    pub down_blocks: Vec<DownBlock<SelfAttention>>,
    /// At the coarsest level.
    pub mid_block: MidBlock<SelfAttention>,
    /// Before the mean.
    pub norm_out: GroupNorm,
    /// From the coarsest level's channels to one number a class.
    pub head: Linear,
    #[module(skip)]
    sinusoid: SinusoidConfig,
}

sumi_nn::layers!(Classifier { conv_in, time_embedding, down_blocks, mid_block, head });

impl Classifier {
    /// A fresh network.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &ClassifierConfig, init: &mut Init) -> Result<Self, UNetConfigError> {
        config.check()?;
        let unet = config.unet();
        let channels = &unet.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let time_dim = first * 4;
        let plan = UNetPlan { config: &unet, time_dim };
        Ok(Self {
            conv_in: Conv2d::same(init, [config.in_channels, first], 3),
            time_embedding: TimestepEmbedding::new(init, first, time_dim),
            down_blocks: levels::down_blocks(&plan, init),
            mid_block: levels::mid_block(&plan, init),
            norm_out: GroupNorm::new(init, last, unet.norm_num_groups, unet.norm_eps),
            head: Linear::new(init, last, config.num_classes),
            sinusoid: SinusoidConfig {
                dim: first,
                flip_sin_to_cos: unet.flip_sin_to_cos,
                freq_shift: unet.freq_shift,
            },
        })
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.conv_in.weight.lazy_device()
    }

    /// The logits of every class.
    ///
    /// # Shapes
    /// `x` `[N, C, H, W]` with H and W divisible by `2^(levels - 1)`, `timesteps` N values, result
    /// `[N, classes]`.
    pub fn forward(&self, x: Tensor<4>, timesteps: &[f32], pass: &mut Pass) -> Tensor<2> {
        let time = sinusoid(timesteps, self.sinusoid, &x.device());
        let time = sumi_kernels::silu(self.time_embedding.forward(time));
        let mut x = self.conv_in.forward(x.permute([0, 2, 3, 1]));
        let signals = Signals { time: &time, context: &() };
        let down = self.down_blocks.iter().flat_map(DownBlock::stages);
        for stage in down.chain(self.mid_block.stages()) {
            x = stage.forward(x, FromDown::default(), &signals, pass);
        }
        let x = self.norm_out.forward(x, Activation::Silu);
        let [n, h, w, c] = x.dims();
        self.head.forward(x.reshape([n, h * w, c]).mean_dim(1).reshape([n, c]))
    }
}
