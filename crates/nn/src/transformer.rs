//! The transformer block of text-conditional networks.

use crate::{Dropout, Init, Layer, LayerMut, LayerNorm, Layers, Linear, within};
use burn::module::Module;
use burn::tensor::Tensor;

/// Epsilon of every normalisation in a [`TransformerBlock`].
const EPS: f64 = 1e-5;
/// How much wider a [`FeedForward`] is inside than outside.
const EXPANSION: usize = 4;

/// What a [`CrossAttention`] looks like.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttentionConfig {
    /// Width of a token, coming in and going out.
    pub width: usize,
    /// Width of a token that is attended to.
    pub context: usize,
    /// Heads; they divide `width`.
    pub heads: usize,
}

/// `out(attention(q(x), k(context), v(context)))` (Vaswani et al., Attention Is All You Need, section
/// 3.2.2), with `q`, `k` and `v` without biases.
#[derive(Module, Debug)]
pub struct CrossAttention {
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
}

crate::layers!(CrossAttention { to_q, to_k, to_v, to_out });

impl CrossAttention {
    /// PyTorch's default initialisation.
    pub fn new(init: &mut Init, config: CrossAttentionConfig) -> Self {
        let CrossAttentionConfig { width, context, heads } = config;
        Self {
            to_q: Linear::without_bias(init, width, width),
            to_k: Linear::without_bias(init, context, width),
            to_v: Linear::without_bias(init, context, width),
            to_out: vec![Linear::new(init, width, width)],
            heads,
        }
    }

    /// Adds `residual` to the result. The rows of both are those of `samples` samples, one after another.
    ///
    /// # Shapes
    /// `x` and `residual` `[N T, width]`, `context` `[N S, context]`, result `[N T, width]`.
    pub fn forward_onto(
        &self,
        x: Tensor<2>,
        context: Tensor<2>,
        samples: usize,
        residual: Tensor<2>,
    ) -> Tensor<2> {
        let heads = |y: Tensor<2>| {
            let [rows, width] = y.dims();
            y.reshape([samples, rows / samples.max(1), self.heads, width / self.heads])
        };
        let q = heads(self.to_q.forward(x));
        let k = heads(self.to_k.forward(context.clone()));
        let v = heads(self.to_v.forward(context));
        let y = sumi_kernels::attention(q, k, v).reshape(residual.dims());
        self.to_out.iter().fold(y, |y, linear| linear.forward_onto(y, Some(residual.clone())))
    }
}

/// `a * gelu(b)` with `a` and `b` the halves of a linear layer's result (Shazeer, GLU Variants Improve
/// Transformer, Eq. 5).
#[derive(Module, Debug)]
pub struct Geglu {
    /// `[2 outputs, inputs]`.
    pub proj: Linear,
}

crate::layers!(Geglu { proj });

impl Geglu {
    /// PyTorch's default initialisation.
    pub fn new(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        Self { proj: Linear::new(init, inputs, 2 * outputs) }
    }

    /// # Shapes
    /// `[R, inputs]` to `[R, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        sumi_kernels::geglu(self.proj.forward(x))
    }
}

/// A gated layer four times as wide as a token, and a linear one back.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Out, what would drop elements in training, and back: their keys are `net.0.proj` and `net.2`.
    pub net: (Geglu, Dropout, Linear),
}

impl Layers for FeedForward {
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>)) {
        let (gate, _, back) = &self.net;
        within(path, "net.0", |path| gate.visit_layers(path, visit));
        within(path, "net.2", |path| back.visit_layers(path, visit));
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        let (gate, _, back) = &mut self.net;
        within(path, "net.0", |path| gate.visit_layers_mut(path, visit));
        within(path, "net.2", |path| back.visit_layers_mut(path, visit));
    }
}

impl FeedForward {
    /// PyTorch's default initialisation.
    pub fn new(init: &mut Init, width: usize) -> Self {
        let inner = EXPANSION * width;
        let gate = Geglu::new(init, width, inner);
        Self { net: (gate, Dropout::new(0.0), Linear::new(init, inner, width)) }
    }

    /// Adds `residual` to the result.
    ///
    /// # Shapes
    /// `[R, width]`, all of them.
    pub fn forward_onto(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        let (gate, _, back) = &self.net;
        back.forward_onto(gate.forward(x), Some(residual))
    }
}

/// What a [`TransformerBlock`] looks like.
#[derive(Clone, Copy, Debug)]
pub struct TransformerBlockConfig {
    /// Width of a token.
    pub width: usize,
    /// Width of a token of the context.
    pub context: usize,
    /// Heads; they divide `width`.
    pub heads: usize,
    /// Whether the first attention looks at the context too, and not at the tokens themselves.
    pub only_cross_attention: bool,
}

/// Attention among the tokens, attention to the context, feed-forward; each normalises its input and adds
/// itself to it (Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, appendix
/// E.2.1).
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Before the first attention.
    pub norm1: LayerNorm,
    /// Among the tokens.
    pub attn1: CrossAttention,
    /// Before the second attention.
    pub norm2: LayerNorm,
    /// To the context.
    pub attn2: CrossAttention,
    /// Before the feed-forward.
    pub norm3: LayerNorm,
    /// Token by token.
    pub ff: FeedForward,
    #[module(skip)]
    only_cross_attention: bool,
}

crate::layers!(TransformerBlock { attn1, attn2, ff });

impl TransformerBlock {
    /// PyTorch's default initialisation.
    pub fn new(init: &mut Init, config: TransformerBlockConfig) -> Self {
        let TransformerBlockConfig { width, context, heads, only_cross_attention } = config;
        let first = if only_cross_attention { context } else { width };
        let mut attention =
            |context| CrossAttention::new(init, CrossAttentionConfig { width, context, heads });
        let (attn1, attn2) = (attention(first), attention(context));
        let ff = FeedForward::new(init, width);
        let mut norm = || LayerNorm::new(init, width, EPS);
        let (norm1, norm2, norm3) = (norm(), norm(), norm());
        Self { norm1, attn1, norm2, attn2, norm3, ff, only_cross_attention }
    }

    /// The rows are those of `samples` samples, one after another.
    ///
    /// # Shapes
    /// `x` `[N T, width]`, `context` `[N S, context]`, result `[N T, width]`.
    pub fn forward(&self, x: Tensor<2>, context: Tensor<2>, samples: usize) -> Tensor<2> {
        let normalised = self.norm1.forward(x.clone());
        let seen = match self.only_cross_attention {
            true => context.clone(),
            false => normalised.clone(),
        };
        let x = self.attn1.forward_onto(normalised, seen, samples, x);
        let normalised = self.norm2.forward(x.clone());
        let x = self.attn2.forward_onto(normalised, context, samples, x);
        self.ff.forward_onto(self.norm3.forward(x.clone()), x)
    }
}
