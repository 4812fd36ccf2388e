//! T5's encoder (`T5EncoderModel` in transformers).
// Fields are called what the tensors are called.
#![allow(non_snake_case)]

use crate::ConfigError;
use crate::tokens::{HiddenAct, Tokens, TokensError, expect_eps, expect_sizes};
use crate::unet::config::expect;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sumi_nn::{Embedding, Init, Linear, RmsNorm};

/// Tokens to a sequence at most. The encoder itself knows no bound, but its scores grow with the square.
const POSITIONS: usize = 2048;

/// Everything that decides the shape of a [`T5Encoder`], under the names and with the defaults of transformers'
/// `T5Config`. Its other fields, which are about the decoder and pretraining, are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// How many token ids there are.
    pub vocab_size: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Width of one head.
    pub d_kv: usize,
    /// Width between the two linear layers of a block.
    pub d_ff: usize,
    /// How many blocks there are.
    pub num_layers: usize,
    /// Heads of every attention.
    pub num_heads: usize,
    /// Kinds of distance between two tokens.
    pub relative_attention_num_buckets: usize,
    /// The distance, in tokens, from which on all are of one kind.
    pub relative_attention_max_distance: usize,
    /// Epsilon of every normalisation.
    pub layer_norm_epsilon: f64,
    /// "relu", or "gated-gelu" for two linear layers of which the one gates the other; other activations likewise.
    pub feed_forward_proj: String,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
        }
    }
}

impl T5Config {
    /// Whether the feed-forward layers are gated, and their activation. The plain name "gated-gelu" means the
    /// approximation by tanh.
    fn feed_forward(&self) -> Option<(bool, HiddenAct)> {
        match self.feed_forward_proj.split_once('-') {
            Some(("gated", "gelu")) => Some((true, HiddenAct::new("gelu_new")?)),
            Some(("gated", act)) => Some((true, HiddenAct::new(act)?)),
            Some(_) => None,
            None => Some((false, HiddenAct::new(&self.feed_forward_proj)?)),
        }
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        let known = self.feed_forward().is_some();
        let expected = "\"relu\" or \"gated-gelu\"";
        expect(known, "feed_forward_proj", expected, &self.feed_forward_proj)?;
        expect_sizes(1 << 20, &[("vocab_size", self.vocab_size)])?;
        expect_sizes(256, &[("num_layers", self.num_layers)])?;
        let (buckets, distance) =
            (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        expect_sizes(
            1 << 16,
            &[
                ("d_model", self.d_model),
                ("d_kv", self.d_kv),
                ("d_ff", self.d_ff),
                ("num_heads", self.num_heads),
            ],
        )?;
        let holds = (4..=1 << 16).contains(&buckets) && buckets.is_multiple_of(2);
        expect(holds, "relative_attention_num_buckets", "an even number from 4", buckets)?;
        let holds = (buckets / 4 + 1..=1 << 20).contains(&distance);
        let expected = format!("above {}, a quarter of the buckets", buckets / 4);
        expect(holds, "relative_attention_max_distance", expected, distance)?;
        expect_eps("layer_norm_epsilon", self.layer_norm_epsilon)
    }

    /// The kind of distance of a token that lies so many places to the right: a half of the kinds for either side, each
    /// with one kind for every short distance, then kinds that widen with the logarithm.
    fn bucket(&self, offset: i64) -> u32 {
        let side = self.relative_attention_num_buckets / 2;
        let exact = side / 2;
        let distance = offset.unsigned_abs() as usize;
        let place = if distance < exact {
            distance
        } else {
            // In `f32`, in which the published weights were trained: a distance at a border falls where it fell.
            let ratio = |distance: usize| distance as f32 / exact as f32;
            let furthest = (self.relative_attention_max_distance as f64 / exact as f64).ln() as f32;
            let further = ratio(distance).ln() / furthest * (side - exact) as f32;
            (exact + further as usize).min(side - 1)
        };
        (place + if offset > 0 { side } else { 0 }) as u32
    }
}

/// Text to one vector a token (Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text
/// Transformer, section 2.1).
#[derive(Module, Debug)]
pub struct T5Encoder {
    /// One vector a token.
    pub shared: Embedding,
    /// The blocks.
    pub encoder: Stack,
    #[module(skip)]
    config: T5Config,
}

/// The blocks, from first to last.
#[derive(Module, Debug)]
pub struct Stack {
    /// One after the other.
    pub block: Vec<Block>,
    /// After them.
    pub final_layer_norm: RmsNorm,
}

/// `x + attention(norm(x))`, then `x + dense(norm(x))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Among the tokens, then token by token.
    pub layer: (AttentionLayer, DenseLayer),
}

/// Attention with its normalisation.
#[derive(Module, Debug)]
pub struct AttentionLayer {
    /// Among the tokens.
    pub SelfAttention: Attention,
    /// Before it.
    pub layer_norm: RmsNorm,
}

/// Attention in several heads; nothing has a bias.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// From the heads back.
    pub o: Linear,
    /// For every kind of distance what it adds to each head's scores, in all blocks; the first block has it.
    pub relative_attention_bias: Option<Embedding>,
}

/// A feed-forward layer with its normalisation.
#[derive(Module, Debug)]
pub struct DenseLayer {
    /// Token by token.
    pub DenseReluDense: Dense,
    /// Before it.
    pub layer_norm: RmsNorm,
}

/// `wo(act(wi(x)))`, or gated `wo(act(wi_0(x)) * wi_1(x))`; nothing has a bias.
#[derive(Module, Debug)]
pub struct Dense {
    /// Outwards, if nothing is gated.
    pub wi: Option<Linear>,
    /// Outwards, the gate.
    pub wi_0: Option<Linear>,
    /// Outwards, what is gated.
    pub wi_1: Option<Linear>,
    /// Back.
    pub wo: Linear,
    #[module(skip)]
    act: HiddenAct,
}

sumi_nn::layers!(T5Encoder { encoder });
sumi_nn::layers!(Stack { block });
sumi_nn::layers!(Block { layer });
sumi_nn::layers!(AttentionLayer { SelfAttention });
sumi_nn::layers!(Attention { q, k, v, o });
sumi_nn::layers!(DenseLayer { DenseReluDense });
sumi_nn::layers!(Dense { wi, wi_0, wi_1, wo });

impl T5Encoder {
    /// A fresh network.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &T5Config, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let (gated, act) = config.feed_forward().unwrap_or((false, HiddenAct::Relu));
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let eps = config.layer_norm_epsilon;
        let block = |i: usize, init: &mut Init| {
            let mut linear = |inputs, outputs| Linear::without_bias(init, inputs, outputs);
            let [q, k, v] = [(); 3].map(|()| linear(width, inner));
            let o = linear(inner, width);
            let mut outwards = |wanted: bool| wanted.then(|| linear(width, config.d_ff));
            let [wi, wi_0, wi_1] = [!gated, gated, gated].map(&mut outwards);
            let wo = linear(config.d_ff, width);
            let (buckets, heads) = (config.relative_attention_num_buckets, config.num_heads);
            let relative_attention_bias = (i == 0).then(|| Embedding::new(init, buckets, heads));
            let attention = Attention { q, k, v, o, relative_attention_bias };
            let attention = AttentionLayer {
                SelfAttention: attention,
                layer_norm: RmsNorm::new(init, width, eps),
            };
            let dense = Dense { wi, wi_0, wi_1, wo, act };
            let dense =
                DenseLayer { DenseReluDense: dense, layer_norm: RmsNorm::new(init, width, eps) };
            Block { layer: (attention, dense) }
        };
        Ok(Self {
            shared: Embedding::new(init, config.vocab_size, width),
            encoder: Stack {
                block: (0..config.num_layers).map(|i| block(i, init)).collect(),
                final_layer_norm: RmsNorm::new(init, width, eps),
            },
            config: config.clone(),
        })
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.encoder.final_layer_norm.weight.lazy_device()
    }

    /// The last hidden state, `[N, T, d_model]`. A token whose `mask` is false is looked at by none; without a mask,
    /// all are.
    ///
    /// # Errors
    /// Ids that the model does not know; sequences that are too long or differ in length.
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        mask: Option<&[Vec<bool>]>,
    ) -> Result<Tensor<3>, TokensError> {
        let tokens = Tokens::new(ids, mask, self.config.vocab_size, POSITIONS)?;
        let masked = tokens.bias(false, &self.device());
        let bias = match (self.position_bias(tokens.length), masked) {
            (Some(bias), Some(masked)) => Some(bias + masked),
            (bias, masked) => bias.or(masked),
        };
        let mut x = self.shared.forward(&tokens.ids);
        for Block { layer: (attention, dense) } in &self.encoder.block {
            x = attention.forward(x, &tokens, bias.clone(), self.config.num_heads);
            x = dense.forward(x);
        }
        Ok(tokens.unflatten(self.encoder.final_layer_norm.forward(x)))
    }

    /// What each head adds to the score of every pair of tokens, `[1, H, T, T]`.
    fn position_bias(&self, t: usize) -> Option<Tensor<4>> {
        let attention = &self.encoder.block.first()?.layer.0.SelfAttention;
        let places = 0..t as i64;
        let buckets: Vec<u32> = places
            .clone()
            .flat_map(|query| places.clone().map(move |key| key - query))
            .map(|offset| self.config.bucket(offset))
            .collect();
        let bias = attention.relative_attention_bias.as_ref()?.forward(&buckets);
        Some(bias.reshape([1, t, t, self.config.num_heads]).permute([0, 3, 1, 2]))
    }
}

impl AttentionLayer {
    fn forward(
        &self,
        x: Tensor<2>,
        tokens: &Tokens,
        bias: Option<Tensor<4>>,
        heads: usize,
    ) -> Tensor<2> {
        let Attention { q, k, v, o, .. } = &self.SelfAttention;
        let normal = self.layer_norm.forward(x.clone());
        let qkv = [q, k, v].map(|linear| linear.forward(normal.clone()));
        o.forward_onto(tokens.attend(qkv, bias, heads, 1.0), Some(x))
    }
}

impl DenseLayer {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let Dense { wi, wi_0, wi_1, wo, act } = &self.DenseReluDense;
        let normal = self.layer_norm.forward(x.clone());
        let outwards = |linear: &Linear| linear.forward(normal.clone());
        let y = match (wi.as_ref().or(wi_0.as_ref()), wi_1) {
            (Some(first), Some(second)) => act.forward(outwards(first)) * outwards(second),
            (Some(first), None) => act.forward(outwards(first)),
            // No config leads here.
            (None, _) => return x,
        };
        wo.forward_onto(y, Some(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// transformers' `T5Attention._relative_position_bucket`, at every border of T5's own kinds.
    #[test]
    fn distances_are_of_the_kinds_that_transformers_has() {
        let config = T5Config::default();
        for (distance, kind) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 4),
            (5, 5),
            (6, 6),
            (7, 7),
            (8, 8),
            (11, 8),
            (12, 9),
            (15, 9),
            (16, 10),
            (22, 10),
            (23, 11),
            (31, 11),
            (32, 12),
            (45, 12),
            (46, 13),
            (63, 13),
            (64, 14),
            (90, 14),
            (91, 15),
            (1999, 15),
        ] {
            assert_eq!(config.bucket(-distance), kind, "{distance} to the left");
            assert_eq!(config.bucket(distance), if distance > 0 { 16 + kind } else { 0 });
        }
    }
}
