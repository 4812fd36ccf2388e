//! The blocks that both towers are made of.

use crate::tokens::HiddenAct;
use burn::module::Module;
use burn::tensor::Tensor;
use sumi_nn::{Init, LayerNorm, Linear};

/// The blocks, from first to last.
#[derive(Module, Debug)]
pub struct Encoder {
    /// One after the other.
    pub layers: Vec<EncoderLayer>,
}

sumi_nn::layers!(Encoder { layers });

/// `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Among the tokens.
    pub self_attn: Attention,
    /// Before it.
    pub layer_norm1: LayerNorm,
    /// Token by token.
    pub mlp: Mlp,
    /// Before it.
    pub layer_norm2: LayerNorm,
}

sumi_nn::layers!(EncoderLayer { self_attn, mlp });

/// Attention in several heads.
#[derive(Module, Debug)]
pub struct Attention {
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Queries.
    pub q_proj: Linear,
    /// From the heads back.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

sumi_nn::layers!(Attention { k_proj, v_proj, q_proj, out_proj });

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Outwards.
    pub fc1: Linear,
    /// Back.
    pub fc2: Linear,
    #[module(skip)]
    act: HiddenAct,
}

sumi_nn::layers!(Mlp { fc1, fc2 });

/// What decides the shape of an [`Encoder`].
pub(super) struct EncoderConfig {
    pub(super) layers: usize,
    pub(super) width: usize,
    /// Between the two linear layers of a block.
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) act: HiddenAct,
    pub(super) eps: f64,
}

impl Encoder {
    pub(super) fn new(config: &EncoderConfig, init: &mut Init) -> Self {
        let &EncoderConfig { layers, width, inner, heads, act, eps } = config;
        let layer = |init: &mut Init| EncoderLayer {
            self_attn: Attention {
                k_proj: Linear::new(init, width, width),
                v_proj: Linear::new(init, width, width),
                q_proj: Linear::new(init, width, width),
                out_proj: Linear::new(init, width, width),
                heads,
            },
            layer_norm1: LayerNorm::new(init, width, eps),
            mlp: Mlp {
                fc1: Linear::new(init, width, inner),
                fc2: Linear::new(init, inner, width),
                act,
            },
            layer_norm2: LayerNorm::new(init, width, eps),
        };
        Self { layers: (0..layers).map(|_| layer(init)).collect() }
    }
}

impl EncoderLayer {
    /// Tokens in rows, those of `samples` sequences of one length one after the other.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        samples: usize,
        bias: Option<Tensor<4>>,
    ) -> Tensor<2> {
        let Attention { k_proj, v_proj, q_proj, out_proj, heads } = &self.self_attn;
        let [rows, width] = x.dims();
        let normal = self.layer_norm1.forward(x.clone());
        let split = |linear: &Linear| {
            let y = linear.forward(normal.clone());
            y.reshape([samples, rows / samples.max(1), *heads, width / heads])
        };
        let [q, k, v] = [q_proj, k_proj, v_proj].map(split);
        let y = match bias {
            None => sumi_kernels::attention(q, k, v),
            Some(bias) => {
                let scale = ((width / heads) as f64).powf(-0.5);
                sumi_kernels::attention_biased([q, k, v], bias, scale)
            }
        };
        let x = out_proj.forward_onto(y.reshape([rows, width]), Some(x));
        let Mlp { fc1, fc2, act } = &self.mlp;
        let y = act.forward(fc1.forward(self.layer_norm2.forward(x.clone())));
        fc2.forward_onto(y, Some(x))
    }
}
