//! The U-Net over pixels (`UNet2DModel` in diffusers).

mod checkpoint;
pub(crate) mod config;
pub(crate) mod plan;

pub use crate::levels::{DownBlock, MidBlock, UpBlock};
pub use config::{BlockType, SampleSize, UNetConfig, UNetConfigError};

use crate::levels::{self, Signals, Stage};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use plan::UNetPlan;
use sumi_nn::{
    Activation, Conv2d, Embedding, GroupNorm, Init, Pass, SelfAttention, SinusoidConfig,
    TimestepEmbedding, sinusoid,
};

/// A U-Net that predicts something the size of its input from a picture, a timestep and, where it
/// has classes, a class (DDPM, Appendix B).
#[derive(Module, Debug)]
pub struct UNet {
    /// From the picture's channels to the first level's.
    pub conv_in: Conv2d,
    /// From the sinusoid to the time embedding.
    pub time_embedding: TimestepEmbedding,
    /// One vector a class, added to the time embedding.
    pub class_embedding: Option<Embedding>,
    /// From fine to coarse.
    pub down_blocks: Vec<DownBlock<SelfAttention>>,
    /// At the coarsest level.
    pub mid_block: MidBlock<SelfAttention>,
    /// From coarse to fine.
    pub up_blocks: Vec<UpBlock<SelfAttention>>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// From the first level's channels to the output's.
    pub conv_out: Conv2d,
    #[module(skip)]
    sinusoid: SinusoidConfig,
    #[module(skip)]
    center_input_sample: bool,
}

sumi_nn::layers!(UNet { conv_in, time_embedding, down_blocks, mid_block, up_blocks, conv_out });

impl UNet {
    /// A fresh network; its last convolution, every residual block's second one and every
    /// attention's output start at zero.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &UNetConfig, init: &mut Init) -> Result<Self, UNetConfigError> {
        config.check()?;
        let channels = &config.block_out_channels;
        let first = channels[0];
        let time_dim = first * 4;
        let groups = config.norm_num_groups;
        let plan = UNetPlan { config, time_dim };
        Ok(Self {
            conv_in: Conv2d::same(init, [config.in_channels, first], 3),
            time_embedding: TimestepEmbedding::new(init, first, time_dim),
            class_embedding: config.num_class_embeds.map(|n| Embedding::new(init, n, time_dim)),
            down_blocks: levels::down_blocks(&plan, init),
            mid_block: levels::mid_block(&plan, init),
            up_blocks: levels::up_blocks(&plan, init),
            conv_norm_out: GroupNorm::new(init, first, groups, config.norm_eps),
            conv_out: Conv2d::zeros(init, [first, config.out_channels], 3),
            sinusoid: SinusoidConfig {
                dim: first,
                flip_sin_to_cos: config.flip_sin_to_cos,
                freq_shift: config.freq_shift,
            },
            center_input_sample: config.center_input_sample,
        })
    }

    /// How many classes it knows; `None` for an unconditional network.
    pub fn classes(&self) -> Option<usize> {
        self.class_embedding.as_ref().map(Embedding::entries)
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.conv_in.weight.lazy_device()
    }

    /// One pass. `classes` is given exactly when the network has classes, each below their number.
    ///
    /// # Shapes
    /// `x` `[N, C, H, W]` with H and W divisible by `2^(levels - 1)`, `timesteps` and `classes` N
    /// values, result `[N, out, H, W]`.
    pub fn forward(
        &self,
        x: Tensor<4>,
        timesteps: &[f32],
        classes: Option<&[u32]>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let time = self.embed(timesteps, classes, &x.device());
        let signals = Signals { time: &time, context: &() };
        let x = levels::walk(self.stages().into_iter(), self.enter(x), &signals, pass);
        self.leave(x)
    }

    /// The time embedding after its SiLU, which all residual blocks share: `[N, time_dim]`.
    fn embed(&self, timesteps: &[f32], classes: Option<&[u32]>, device: &Device) -> Tensor<2> {
        let mut time = self.time_embedding.forward(sinusoid(timesteps, self.sinusoid, device));
        if let (Some(embedding), Some(classes)) = (&self.class_embedding, classes) {
            time = time + embedding.forward(classes);
        }
        sumi_kernels::silu(time)
    }

    /// `[N, in, H, W]` to `[N, H, W, C]`: inside, a pixel's channels lie side by side.
    fn enter(&self, x: Tensor<4>) -> Tensor<4> {
        let x = if self.center_input_sample { x * 2.0 - 1.0 } else { x };
        self.conv_in.forward(x.permute([0, 2, 3, 1]))
    }

    /// What lies between [`Self::enter`] and [`Self::leave`], in order.
    fn stages(&self) -> Vec<Stage<'_, SelfAttention>> {
        let down = self.down_blocks.iter().flat_map(DownBlock::stages);
        let up = self.up_blocks.iter().flat_map(UpBlock::stages);
        down.chain(self.mid_block.stages()).chain(up).collect()
    }

    /// `[N, H, W, C]` to `[N, out, H, W]`.
    fn leave(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu));
        x.permute([0, 3, 1, 2])
    }
}
