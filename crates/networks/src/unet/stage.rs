//! The chain of stages that the U-Net is.

use burn::tensor::Tensor;
use sumi_nn::{Downsample, Pass, ResnetBlock, SelfAttention, Upsample};

/// What lies between two feature maps.
pub(crate) struct Stage<'a> {
    pub(super) layer: Layer<'a>,
    /// Whether it takes in the feature map that was left last.
    pub(super) takes_skip: bool,
    /// Whether it leaves its result to one that takes it.
    pub(super) leaves_skip: bool,
}

/// What a stage does.
pub(super) enum Layer<'a> {
    Residual(&'a ResnetBlock, Option<&'a SelfAttention>),
    Downsample(&'a Downsample),
    Upsample(&'a Upsample),
}

/// Residual blocks, each with its attention where there is one.
pub(super) fn residuals<'a>(
    resnets: &'a [ResnetBlock],
    attentions: &'a [SelfAttention],
) -> impl Iterator<Item = Layer<'a>> {
    resnets.iter().enumerate().map(|(i, resnet)| Layer::Residual(resnet, attentions.get(i)))
}

impl Stage<'_> {
    /// `time` is the embedding after its SiLU.
    ///
    /// # Shapes
    /// `x` `[N, H, W, C]`, `skip` `[N, H, W, C']`, `time` `[N, time_dim]`, result
    /// `[N, H', W', C'']`.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        skip: Option<Tensor<4>>,
        time: Tensor<2>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let (resnet, attention) = match self.layer {
            Layer::Residual(resnet, attention) => (resnet, attention),
            Layer::Downsample(downsample) => return downsample.forward(x),
            Layer::Upsample(upsample) => return upsample.forward(x),
        };
        let x = match skip {
            Some(skip) => sumi_kernels::concat(x, skip),
            // Changes nothing but the gradient's graph: the two ways through the block meet at a
            // node of their own before the skip's gradient is added to them. Gradient
            // checkpointing, for which the stage ends here, adds in the same order.
            None => {
                let dims = x.dims();
                x.reshape(dims)
            }
        };
        let x = resnet.forward(x, Some(time), pass);
        match attention {
            Some(attention) => attention.forward(x),
            None => x,
        }
    }
}
