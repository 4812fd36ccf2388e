//! What the text encoders share: batches of token ids and attention among them.

use crate::ConfigError;
use crate::unet::config::expect;
use burn::tensor::{Device, Tensor, TensorData, activation};
use sumi_nn::Gelu;

/// Token ids that a text encoder cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// Beyond the vocabulary.
    #[error(
        "token {id}: the text encoder knows ids below {vocabulary}; the tokenizer is another model's"
    )]
    Unknown {
        /// Which.
        id: u32,
        /// How many the encoder knows.
        vocabulary: usize,
    },
    /// None, or more than there are positions.
    #[error("{found} tokens: expected 1 to {most}; cut the text or encode it in parts")]
    Length {
        /// The sequence's.
        found: usize,
        /// The encoder's positions.
        most: usize,
    },
    /// Sequences or masks of several lengths in one batch.
    #[error("sequences of {expected} and {found} tokens in one batch: pad them to one length")]
    Ragged {
        /// The first one's.
        expected: usize,
        /// Another one's.
        found: usize,
    },
    /// Not as many masks as sequences.
    #[error("{found} attention masks for {expected} sequences")]
    Masks {
        /// How many sequences there are.
        expected: usize,
        /// How many masks there are.
        found: usize,
    },
}

/// Sequences of one length that fit an encoder.
pub(crate) struct Tokens<'a> {
    /// One sequence after the other.
    pub(crate) ids: Vec<u32>,
    mask: Option<&'a [Vec<bool>]>,
    pub(crate) samples: usize,
    pub(crate) length: usize,
}

impl<'a> Tokens<'a> {
    /// Of an encoder of so many ids and positions.
    pub(crate) fn new(
        ids: &[Vec<u32>],
        mask: Option<&'a [Vec<bool>]>,
        vocabulary: usize,
        positions: usize,
    ) -> Result<Self, TokensError> {
        let length = ids.first().map_or(0, Vec::len);
        if !(1..=positions).contains(&length) {
            return Err(TokensError::Length { found: length, most: positions });
        }
        if let Some(mask) = mask
            && mask.len() != ids.len()
        {
            return Err(TokensError::Masks { expected: ids.len(), found: mask.len() });
        }
        let lengths = ids.iter().map(Vec::len).chain(mask.into_iter().flatten().map(Vec::len));
        if let Some(found) = lengths.into_iter().find(|&other| other != length) {
            return Err(TokensError::Ragged { expected: length, found });
        }
        let all = ids.concat();
        match all.iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(TokensError::Unknown { id, vocabulary }),
            None => Ok(Self { ids: all, mask, samples: ids.len(), length }),
        }
    }

    /// The place of every token in its sequence.
    pub(crate) fn positions(&self) -> Vec<u32> {
        (0..self.samples).flat_map(|_| 0..self.length as u32).collect()
    }

    /// What attention adds to its scores, `[N or 1, 1, T or 1, T]`: 0 where a token is looked at, and the least finite
    /// number, not minus infinity, elsewhere, so that a row that looks at nothing has no NaN.
    pub(crate) fn bias(&self, causal: bool, device: &Device) -> Option<Tensor<4>> {
        let t = self.length;
        let (samples, queries) = match (self.mask, causal) {
            (None, false) => return None,
            (mask, causal) => (mask.map_or(1, <[_]>::len), if causal { t } else { 1 }),
        };
        let mut bias = Vec::with_capacity(samples * queries * t);
        for sample in 0..samples {
            for query in 0..queries {
                bias.extend((0..t).map(|key| {
                    let shown = self.mask.is_none_or(|mask| mask[sample][key]);
                    if shown && (!causal || key <= query) { 0.0 } else { f32::MIN }
                }));
            }
        }
        Some(Tensor::from_data(TensorData::new(bias, [samples, 1, queries, t]), device))
    }

    /// `[N T, C]` as `[N, T, C]`.
    pub(crate) fn unflatten(&self, x: Tensor<2>) -> Tensor<3> {
        let width = x.dims()[1];
        x.reshape([self.samples, self.length, width])
    }

    /// `softmax(scale q k^T + bias) v` in so many heads, tokens in rows.
    pub(crate) fn attend(
        &self,
        qkv: [Tensor<2>; 3],
        bias: Option<Tensor<4>>,
        heads: usize,
        scale: f64,
    ) -> Tensor<2> {
        let width = qkv[0].dims()[1];
        let qkv = qkv.map(|x| x.reshape([self.samples, self.length, heads, width / heads]));
        let bias = bias.unwrap_or_else(|| Tensor::zeros([1; 4], &qkv[0].device()));
        let y = sumi_kernels::attention_biased(qkv, bias, scale);
        y.reshape([self.samples * self.length, width])
    }
}

/// What lies between the two linear layers of a block, by transformers' names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum HiddenAct {
    Gelu(Gelu),
    Relu,
}

impl HiddenAct {
    /// `None` for a name that is not known.
    pub(crate) fn new(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu(Gelu::Exact)),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::Gelu(Gelu::Tanh)),
            "quick_gelu" => Some(Self::Gelu(Gelu::Quick)),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    /// `hidden_act` of a config.
    pub(crate) fn of_config(name: &str) -> Result<Self, ConfigError> {
        let expected = "\"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\", \"quick_gelu\" or \"relu\"";
        let act = Self::new(name);
        expect(act.is_some(), "hidden_act", expected, name)?;
        Ok(act.unwrap_or(Self::Relu))
    }

    pub(crate) fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gelu(which) => sumi_kernels::gelu(x, which),
            Self::Relu => activation::relu(x),
        }
    }
}

/// Refuses sizes outside 1 to `most`, which is far past any published network, and far below what would overflow.
pub(crate) fn expect_sizes(
    most: usize,
    sizes: &[(&'static str, usize)],
) -> Result<(), ConfigError> {
    sizes.iter().try_for_each(|&(field, found)| {
        expect((1..=most).contains(&found), field, format!("1 to {most}"), found)
    })
}

/// Refuses an epsilon that no normalisation can have.
pub(crate) fn expect_eps(field: &'static str, eps: f64) -> Result<(), ConfigError> {
    expect(eps.is_finite() && eps >= 0.0, field, "a number from 0", eps)
}

/// Refuses heads that do not share the width evenly.
pub(crate) fn expect_heads(heads: usize, width: usize) -> Result<(), ConfigError> {
    let expected = format!("a divisor of hidden_size, {width}");
    expect(width.is_multiple_of(heads), "num_attention_heads", expected, heads)
}
