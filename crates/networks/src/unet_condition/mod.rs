//! The U-Net that is told what to draw (`UNet2DConditionModel` in diffusers).

mod blocks;
mod config;
mod input;
mod transformer;

pub use config::{BlockType, Depths, OneOrEach, UNetConditionConfig};
pub use input::{Added, Extra, InputError};
pub use transformer::{Projection, SpatialTransformer};

use crate::levels::{self, DownBlock, MidBlock, Signals, UpBlock};
use crate::unet::UNetConfigError;
use blocks::ConditionPlan;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sumi_nn::{
    Activation, Conv2d, Embedding, GroupNorm, Init, Pass, SinusoidConfig, TimestepEmbedding,
    sinusoid,
};

/// A U-Net that predicts something the size of its input from a latent picture, a timestep and the tokens
/// of a text (Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, section 3.3).
#[derive(Module, Debug)]
pub struct UNetCondition {
    /// From the input's channels to the first level's.
    pub conv_in: Conv2d,
    /// From the sinusoid to the time embedding.
    pub time_embedding: TimestepEmbedding,
    /// One vector a class, added to the time embedding.
    pub class_embedding: Option<Embedding>,
    /// From a pooled text embedding and embedded sizes to something that is added to the time embedding.
    pub add_embedding: Option<TimestepEmbedding>,
    /// From fine to coarse.
    pub down_blocks: Vec<DownBlock<SpatialTransformer>>,
    /// At the coarsest level.
    pub mid_block: MidBlock<SpatialTransformer>,
    /// From coarse to fine.
    pub up_blocks: Vec<UpBlock<SpatialTransformer>>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// From the first level's channels to the output's.
    pub conv_out: Conv2d,
    #[module(skip)]
    config: UNetConditionConfig,
}

sumi_nn::layers!(UNetCondition {
    conv_in,
    time_embedding,
    add_embedding,
    down_blocks,
    mid_block,
    up_blocks,
    conv_out
});

impl UNetCondition {
    /// A fresh network.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &UNetConditionConfig, init: &mut Init) -> Result<Self, UNetConfigError> {
        config.check()?;
        let (first, time_dim) = (config.block_out_channels[0], config.time_dim());
        let plan = ConditionPlan(config);
        Ok(Self {
            conv_in: Conv2d::same(init, [config.in_channels, first], config.conv_in_kernel),
            time_embedding: match config.time_cond_proj_dim {
                Some(width) => TimestepEmbedding::conditional(init, first, time_dim, width),
                None => TimestepEmbedding::new(init, first, time_dim),
            },
            class_embedding: config.num_class_embeds.map(|n| Embedding::new(init, n, time_dim)),
            add_embedding: config
                .addition()
                .map(|(inputs, _)| TimestepEmbedding::new(init, inputs, time_dim)),
            down_blocks: levels::down_blocks(&plan, init),
            mid_block: levels::mid_block(&plan, init),
            up_blocks: levels::up_blocks(&plan, init),
            conv_norm_out: GroupNorm::new(init, first, config.norm_num_groups, config.norm_eps),
            conv_out: Conv2d::same(init, [first, config.out_channels], config.conv_out_kernel),
            config: config.clone(),
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &UNetConditionConfig {
        &self.config
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.conv_in.weight.lazy_device()
    }

    /// One pass, without dropout. Height and width need no divisor: where a level has an odd size, the way
    /// up doubles to that size.
    ///
    /// # Shapes
    /// `x` `[N, in, h, w]`, `timesteps` N values, `context` `[N, T, D]`, result `[N, out, h, w]`.
    ///
    /// # Errors
    /// An input that does not fit the network.
    pub fn forward(
        &self,
        x: Tensor<4>,
        timesteps: &[f32],
        context: Tensor<3>,
        extra: &Extra,
    ) -> Result<Tensor<4>, InputError> {
        self.config.check_input(&x, timesteps, &context, extra)?;
        let time = self.embed(timesteps, extra, &x.device());
        let x = if self.config.center_input_sample { x * 2.0 - 1.0 } else { x };
        // Inside, a pixel's channels lie side by side.
        let x = self.conv_in.forward(x.permute([0, 2, 3, 1]));
        let down = self.down_blocks.iter().flat_map(DownBlock::stages);
        let up = self.up_blocks.iter().flat_map(UpBlock::stages);
        let stages = down.chain(self.mid_block.stages()).chain(up);
        let signals = Signals { time: &time, context: &context };
        let x = levels::walk(stages, x, &signals, &mut Pass::Inference);
        let x = self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu));
        Ok(x.permute([0, 3, 1, 2]))
    }

    /// The time embedding after its SiLU, which all residual blocks share: `[N, time_dim]`.
    fn embed(&self, timesteps: &[f32], extra: &Extra, device: &Device) -> Tensor<2> {
        let sinusoid_of = |values: &[f32], dim| {
            let UNetConditionConfig { flip_sin_to_cos, freq_shift, .. } = self.config;
            sinusoid(values, SinusoidConfig { dim, flip_sin_to_cos, freq_shift }, device)
        };
        let time = sinusoid_of(timesteps, self.config.block_out_channels[0]);
        let mut time = self.time_embedding.forward_given(time, extra.guidance.clone());
        if let (Some(embedding), Some(classes)) = (&self.class_embedding, &extra.classes) {
            time = time + embedding.forward(classes);
        }
        if let (Some(embedding), Some(added), Some((all, each))) =
            (&self.add_embedding, &extra.added, self.config.addition())
        {
            let text = added.text_embeds.clone();
            let [n, pooled] = text.dims();
            let sizes = sinusoid_of(&added.time_ids, each).reshape([n, all - pooled]);
            time = time + embedding.forward(Tensor::cat(vec![text, sizes], 1));
        }
        sumi_kernels::silu(time)
    }
}
