//! The residual block of the U-Nets.

use crate::{Activation, Conv2d, Dropout, GroupNorm, Init, Linear, Pass};
use burn::module::Module;
use burn::tensor::Tensor;

/// What a [`ResnetBlock`] looks like.
#[derive(Clone, Copy, Debug)]
pub struct ResnetBlockConfig {
    /// Channels coming in.
    pub inputs: usize,
    /// Channels going out.
    pub outputs: usize,
    /// Width of the time embedding, where there is one.
    pub time_dim: Option<usize>,
    /// Groups of the normalisations.
    pub groups: usize,
    /// Epsilon of the normalisations.
    pub eps: f64,
    /// Probability that dropout drops an element.
    pub dropout: f64,
    /// What the sum of input and output is divided by.
    pub output_scale: f64,
}

/// `x + conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + time))))` (DDPM, Appendix B).
#[derive(Module, Debug)]
pub struct ResnetBlock {
    /// Before the first convolution.
    pub norm1: GroupNorm,
    /// `[outputs, inputs, 3, 3]`.
    pub conv1: Conv2d,
    /// From the time embedding to one bias a channel; none in an autoencoder.
    pub time_emb_proj: Option<Linear>,
    /// Before the second convolution.
    pub norm2: GroupNorm,
    /// `[outputs, outputs, 3, 3]`.
    pub conv2: Conv2d,
    /// 1x1, where the number of channels changes.
    pub conv_shortcut: Option<Conv2d>,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    output_scale: f64,
}

crate::layers!(ResnetBlock { conv1, time_emb_proj, conv2, conv_shortcut });

impl ResnetBlock {
    /// The second convolution starts at zero, so a fresh block passes its input on.
    pub fn new(init: &mut Init, config: ResnetBlockConfig) -> Self {
        let ResnetBlockConfig { inputs, outputs, groups, eps, .. } = config;
        let shortcut = inputs != outputs;
        Self {
            norm1: GroupNorm::new(init, inputs, groups, eps),
            conv1: Conv2d::same(init, [inputs, outputs], 3),
            time_emb_proj: config.time_dim.map(|dim| Linear::new(init, dim, outputs)),
            norm2: GroupNorm::new(init, outputs, groups, eps),
            conv2: Conv2d::zeros(init, [outputs, outputs], 3),
            conv_shortcut: shortcut.then(|| Conv2d::same(init, [inputs, outputs], 1)),
            dropout: Dropout::new(config.dropout),
            output_scale: config.output_scale,
        }
    }

    /// `time` is the embedding after its SiLU, which all blocks share; it is given exactly when the block
    /// has a place for it.
    ///
    /// # Shapes
    /// `x` `[N, H, W, inputs]`, `time` `[N, time_dim]`, result `[N, H, W, outputs]`.
    pub fn forward(&self, x: Tensor<4>, time: Option<Tensor<2>>, pass: &mut Pass) -> Tensor<4> {
        let shift =
            self.time_emb_proj.as_ref().zip(time).map(|(linear, time)| linear.forward(time));
        let h = self.norm1.forward(x.clone(), Activation::Silu);
        let h = self.conv1.forward_onto(h, shift, None);
        let h = self.dropout.forward(self.norm2.forward(h, Activation::Silu), pass);
        let x = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        let y = self.conv2.forward_onto(h, None, Some(x));
        match self.output_scale {
            1.0 => y,
            scale => y / scale,
        }
    }
}
