//! The chain of layers that either half of the autoencoder is.

use super::{Decoder, Encoder};
use crate::levels::MidBlock;
use burn::tensor::Tensor;
use sumi_nn::{
    Activation, Conv2d, Downsample, GroupNorm, Pass, ResnetBlock, SelfAttention, Upsample,
};

/// What lies between two feature maps.
pub(super) enum Layer<'a> {
    Conv(&'a Conv2d),
    Residual(&'a ResnetBlock),
    Attention(&'a SelfAttention),
    Downsample(&'a Downsample),
    Upsample(&'a Upsample),
    /// A normalisation, SiLU and a convolution.
    Out(&'a GroupNorm, &'a Conv2d),
}

impl Layer<'_> {
    /// # Shapes
    /// `[N, H, W, C]` to `[N, H', W', C']`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Residual(resnet) => resnet.forward(x, None, &mut Pass::Inference),
            Self::Attention(attention) => attention.forward(x),
            Self::Downsample(downsample) => downsample.forward(x),
            Self::Upsample(upsample) => upsample.forward(x),
            Self::Out(norm, conv) => conv.forward(norm.forward(x, Activation::Silu)),
        }
    }
}

impl Encoder {
    pub(super) fn layers(&self) -> Vec<Layer<'_>> {
        let mut layers = vec![Layer::Conv(&self.conv_in)];
        for block in &self.down_blocks {
            layers.extend(block.resnets.iter().map(Layer::Residual));
            layers.extend(block.downsamplers.iter().map(Layer::Downsample));
        }
        layers.extend(middle(&self.mid_block));
        layers.push(Layer::Out(&self.conv_norm_out, &self.conv_out));
        layers
    }
}

impl Decoder {
    pub(super) fn layers(&self) -> Vec<Layer<'_>> {
        let mut layers = vec![Layer::Conv(&self.conv_in)];
        layers.extend(middle(&self.mid_block));
        for block in &self.up_blocks {
            layers.extend(block.resnets.iter().map(Layer::Residual));
            layers.extend(block.upsamplers.iter().map(Layer::Upsample));
        }
        layers.push(Layer::Out(&self.conv_norm_out, &self.conv_out));
        layers
    }
}

/// Residual block, attention, residual block.
fn middle(block: &MidBlock<SelfAttention>) -> impl Iterator<Item = Layer<'_>> {
    let attentions = block.attentions.iter().map(Layer::Attention);
    let (first, rest) = block.resnets.split_at(block.resnets.len().min(1));
    first.iter().map(Layer::Residual).chain(attentions).chain(rest.iter().map(Layer::Residual))
}
