//! Attention over the pixels of a feature map.

use crate::{Activation, GroupNorm, Init, Linear};
use burn::module::Module;
use burn::tensor::Tensor;

/// What a [`SelfAttention`] looks like.
#[derive(Clone, Copy, Debug)]
pub struct SelfAttentionConfig {
    /// Channels of the feature map.
    pub channels: usize,
    /// Channels of one head; divides `channels`.
    pub head_dim: usize,
    /// Groups of the normalisation.
    pub groups: usize,
    /// Epsilon of the normalisation.
    pub eps: f64,
    /// What the sum of input and output is divided by.
    pub output_scale: f64,
}

/// `x + out(attention(q(n), k(n), v(n)))` with `n` the group-normalised `x`, every pixel a token.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Before everything.
    pub group_norm: GroupNorm,
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// The output projection; a list of one because its key is `to_out.0`.
    pub to_out: Vec<Linear>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    output_scale: f64,
}

crate::layers!(SelfAttention { to_q, to_k, to_v, to_out });

impl SelfAttention {
    /// The output projection starts at zero, so a fresh block passes its input on.
    pub fn new(init: &mut Init, config: SelfAttentionConfig) -> Self {
        let c = config.channels;
        Self {
            group_norm: GroupNorm::new(init, c, config.groups, config.eps),
            to_q: Linear::new(init, c, c),
            to_k: Linear::new(init, c, c),
            to_v: Linear::new(init, c, c),
            to_out: vec![Linear::zeros(init, c, c)],
            heads: c / config.head_dim,
            output_scale: config.output_scale,
        }
    }

    /// # Shapes
    /// `[N, H, W, C]`, kept.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        let (tokens, heads) = (h * w, self.heads);
        let normalised = self.group_norm.forward(x.clone(), Activation::Identity);
        let normalised = normalised.reshape([n * tokens, c]);
        let split = |y: Tensor<2>| y.reshape([n, tokens, heads, c / heads]);
        let q = split(self.to_q.forward(normalised.clone()));
        let k = split(self.to_k.forward(normalised.clone()));
        let v = split(self.to_v.forward(normalised));
        let y = sumi_kernels::attention(q, k, v).reshape([n * tokens, c]);
        let x = x.reshape([n * tokens, c]);
        let y = self.to_out.iter().fold(y, |y, linear| linear.forward_onto(y, Some(x.clone())));
        let y = y.reshape([n, h, w, c]);
        match self.output_scale {
            1.0 => y,
            scale => y / scale,
        }
    }
}
