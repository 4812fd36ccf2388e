//! The text encoder (`CLIPTextModel` and `CLIPTextModelWithProjection` in transformers).

use super::layers::{Encoder, EncoderConfig};
use crate::ConfigError;
use crate::tokens::{HiddenAct, Tokens, TokensError, expect_eps, expect_heads, expect_sizes};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sumi_nn::{Embedding, Init, LayerNorm, Linear};

/// Everything that decides the shape of a [`ClipTextModel`], under the names and with the defaults of transformers'
/// `CLIPTextConfig`. Its other fields, which are about pretraining and the generation of text, are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// How many token ids there are.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// Width between the two linear layers of a block.
    pub intermediate_size: usize,
    /// Width of the projection, where the model has one.
    pub projection_dim: Option<usize>,
    /// How many blocks there are.
    pub num_hidden_layers: usize,
    /// Heads of every attention.
    pub num_attention_heads: usize,
    /// Tokens to a sequence at most.
    pub max_position_embeddings: usize,
    /// "quick_gelu" (OpenAI's) or "gelu" (OpenCLIP's).
    pub hidden_act: String,
    /// Epsilon of every normalisation.
    pub layer_norm_eps: f64,
    /// The token whose first place is pooled; 2 stands for the greatest id of a sequence, as in files from before
    /// transformers 4.31.
    pub eos_token_id: Option<u32>,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: Some(512),
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: Some(49407),
        }
    }
}

impl ClipTextConfig {
    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        HiddenAct::of_config(&self.hidden_act)?;
        expect_sizes(1 << 20, &[("vocab_size", self.vocab_size)])?;
        expect_sizes(256, &[("num_hidden_layers", self.num_hidden_layers)])?;
        expect_sizes(
            1 << 16,
            &[
                ("hidden_size", self.hidden_size),
                ("intermediate_size", self.intermediate_size),
                ("projection_dim", self.projection_dim.unwrap_or(1)),
                ("num_attention_heads", self.num_attention_heads),
                ("max_position_embeddings", self.max_position_embeddings),
            ],
        )?;
        expect_heads(self.num_attention_heads, self.hidden_size)?;
        expect_eps("layer_norm_eps", self.layer_norm_eps)
    }
}

/// Text to one vector a token, each token looking at those before it (Radford et al., Learning Transferable
/// Visual Models From Natural Language Supervision, section 2.4).
#[derive(Module, Debug)]
pub struct ClipTextModel {
    /// All of it but the projection.
    pub text_model: TextTransformer,
    /// From the pooled token to the space that pictures share, without a bias.
    pub text_projection: Option<Linear>,
}

sumi_nn::layers!(ClipTextModel { text_model, text_projection });

/// Embeddings, blocks and the last normalisation.
#[derive(Module, Debug)]
pub struct TextTransformer {
    /// Of tokens and places.
    pub embeddings: Embeddings,
    /// The blocks.
    pub encoder: Encoder,
    /// After them.
    pub final_layer_norm: LayerNorm,
    #[module(skip)]
    eos: Option<u32>,
}

sumi_nn::layers!(TextTransformer { encoder });

/// One vector a token plus one a place.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    pub token_embedding: Embedding,
    /// `[max_position_embeddings, hidden_size]`.
    pub position_embedding: Embedding,
}

/// What the text encoder makes of a batch.
#[derive(Clone, Debug)]
pub struct ClipTextOutput {
    /// The embeddings, then what each block puts out, `[N, T, C]`; none is normalised.
    pub hidden_states: Vec<Tensor<3>>,
    /// The last of them, normalised: `[N, T, C]`.
    pub last_hidden_state: Tensor<3>,
    /// The end token's vector in `last_hidden_state`: `[N, C]`.
    pub pooled: Tensor<2>,
    /// Its projection, where the model has one: `[N, projection_dim]`.
    pub text_embeds: Option<Tensor<2>>,
}

impl ClipTextOutput {
    /// What comes out of the block that `skip` others follow, not normalised; 0 is the last block. `None` where there
    /// are not so many.
    pub fn before_last(&self, skip: usize) -> Option<Tensor<3>> {
        let at = self.hidden_states.len().checked_sub(skip.checked_add(1)?)?;
        self.hidden_states.get(at).cloned()
    }
}

impl ClipTextModel {
    /// A fresh `CLIPTextModel`.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &ClipTextConfig, init: &mut Init) -> Result<Self, ConfigError> {
        let text_model = TextTransformer::new(config, init)?;
        Ok(Self { text_model, text_projection: None })
    }

    /// A fresh `CLIPTextModelWithProjection`.
    ///
    /// # Errors
    /// A config that no network can be built from, or one without `projection_dim`.
    pub fn with_projection(config: &ClipTextConfig, init: &mut Init) -> Result<Self, ConfigError> {
        let Some(dim) = config.projection_dim else {
            return Err(ConfigError {
                field: "projection_dim",
                expected: "a width".into(),
                found: "null".into(),
            });
        };
        let mut model = Self::new(config, init)?;
        model.text_projection = Some(Linear::without_bias(init, config.hidden_size, dim));
        Ok(model)
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.text_model.device()
    }

    /// One pass. A token whose `mask` is false is looked at by none; without a mask, all are.
    ///
    /// # Errors
    /// Ids that the model does not know; sequences that are too long or differ in length.
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        mask: Option<&[Vec<bool>]>,
    ) -> Result<ClipTextOutput, TokensError> {
        let mut output = self.text_model.forward(ids, mask)?;
        let project = |linear: &Linear| linear.forward(output.pooled.clone());
        output.text_embeds = self.text_projection.as_ref().map(project);
        Ok(output)
    }

    /// The last normalisation, of an earlier block's result.
    ///
    /// # Shapes
    /// `[N, T, C]`, kept.
    pub fn final_layer_norm(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [n, t, c] = hidden.dims();
        let rows = hidden.reshape([n * t, c]);
        self.text_model.final_layer_norm.forward(rows).reshape([n, t, c])
    }
}

impl TextTransformer {
    pub(super) fn new(config: &ClipTextConfig, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let encoder = EncoderConfig {
            layers: config.num_hidden_layers,
            width,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            act: HiddenAct::of_config(&config.hidden_act)?,
            eps,
        };
        Ok(Self {
            embeddings: Embeddings {
                token_embedding: Embedding::new(init, config.vocab_size, width),
                position_embedding: Embedding::new(init, config.max_position_embeddings, width),
            },
            encoder: Encoder::new(&encoder, init),
            final_layer_norm: LayerNorm::new(init, width, eps),
            // Files from before transformers 4.31 say 2, which is no end token; the greatest id is.
            eos: config.eos_token_id.filter(|&id| id != 2),
        })
    }

    pub(super) fn device(&self) -> Device {
        self.final_layer_norm.weight.lazy_device()
    }

    /// Everything but `text_embeds`.
    pub(super) fn forward(
        &self,
        ids: &[Vec<u32>],
        mask: Option<&[Vec<bool>]>,
    ) -> Result<ClipTextOutput, TokensError> {
        let Embeddings { token_embedding, position_embedding } = &self.embeddings;
        let (vocabulary, positions) = (token_embedding.entries(), position_embedding.entries());
        let tokens = Tokens::new(ids, mask, vocabulary, positions)?;
        let bias = tokens.bias(true, &self.device());
        let mut x =
            token_embedding.forward(&tokens.ids) + position_embedding.forward(&tokens.positions());
        let mut hidden_states = vec![tokens.unflatten(x.clone())];
        for layer in &self.encoder.layers {
            x = layer.forward(x, tokens.samples, bias.clone());
            hidden_states.push(tokens.unflatten(x.clone()));
        }
        let x = self.final_layer_norm.forward(x);
        let pooled = x.clone().select(0, self.pooled_rows(ids));
        let last_hidden_state = tokens.unflatten(x);
        Ok(ClipTextOutput { hidden_states, last_hidden_state, pooled, text_embeds: None })
    }

    /// The row of each sequence's end token: its first place, and the first token where there is none.
    fn pooled_rows(&self, ids: &[Vec<u32>]) -> Tensor<1, Int> {
        let rows = ids.iter().enumerate().map(|(n, row)| {
            let end = self.eos.or_else(|| row.iter().max().copied());
            let place = row.iter().position(|&id| Some(id) == end).unwrap_or(0);
            (n * row.len() + place) as i32
        });
        let rows: Vec<i32> = rows.collect();
        let length = rows.len();
        Tensor::from_data(TensorData::new(rows, [length]), &self.device())
    }
}
