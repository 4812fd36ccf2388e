//! BERT (`BertModel` in transformers), the text encoder of Taiyi.
// Fields are called what the tensors are called.
#![allow(non_snake_case)]

use crate::ConfigError;
use crate::tokens::{HiddenAct, Tokens, TokensError, expect_eps, expect_heads, expect_sizes};
use crate::unet::config::expect;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sumi_nn::{Embedding, Init, LayerMut, LayerNorm, Layers, Linear, within};

/// Everything that decides the shape of a [`BertModel`], under the names and with the defaults of transformers'
/// `BertConfig`. Its other fields, which are about pretraining and the generation of text, are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// How many token ids there are.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// How many blocks there are.
    pub num_hidden_layers: usize,
    /// Heads of every attention.
    pub num_attention_heads: usize,
    /// Width between the two linear layers of a block.
    pub intermediate_size: usize,
    /// "gelu".
    pub hidden_act: String,
    /// Tokens to a sequence at most.
    pub max_position_embeddings: usize,
    /// Kinds of sequence in one text; all tokens are of the first.
    pub type_vocab_size: usize,
    /// Epsilon of every normalisation.
    pub layer_norm_eps: f64,
    /// Only "absolute".
    pub position_embedding_type: String,
    /// Only false: an encoder.
    pub is_decoder: bool,
    /// Only false.
    pub add_cross_attention: bool,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".into(),
            is_decoder: false,
            add_cross_attention: false,
        }
    }
}

impl BertConfig {
    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        HiddenAct::of_config(&self.hidden_act)?;
        let position = &self.position_embedding_type;
        expect(position == "absolute", "position_embedding_type", "\"absolute\"", position)?;
        expect(!self.is_decoder, "is_decoder", "false", self.is_decoder)?;
        expect(!self.add_cross_attention, "add_cross_attention", "false", true)?;
        expect_sizes(1 << 20, &[("vocab_size", self.vocab_size)])?;
        expect_sizes(256, &[("num_hidden_layers", self.num_hidden_layers)])?;
        expect_sizes(
            1 << 16,
            &[
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", self.num_attention_heads),
                ("intermediate_size", self.intermediate_size),
                ("max_position_embeddings", self.max_position_embeddings),
                ("type_vocab_size", self.type_vocab_size),
            ],
        )?;
        expect_heads(self.num_attention_heads, self.hidden_size)?;
        expect_eps("layer_norm_eps", self.layer_norm_eps)
    }
}

/// Text to one vector a token, each token looking at all (Devlin et al., BERT, section 3).
#[derive(Module, Debug)]
pub struct BertModel {
    /// Of tokens, places and kinds.
    pub embeddings: Embeddings,
    /// The blocks.
    pub encoder: Encoder,
    /// From the first token to a vector for the whole.
    pub pooler: Pooler,
}

/// The sum of three vectors a token, normalised.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    pub word_embeddings: Embedding,
    /// `[max_position_embeddings, hidden_size]`.
    pub position_embeddings: Embedding,
    /// `[type_vocab_size, hidden_size]`.
    pub token_type_embeddings: Embedding,
    /// Of the sum.
    pub LayerNorm: LayerNorm,
}

/// The blocks, from first to last.
#[derive(Module, Debug)]
pub struct Encoder {
    /// One after the other.
    pub layer: Vec<Layer>,
}

/// `norm(x + attention(x))`, then `norm(x + dense(act(dense(x))))`.
#[derive(Module, Debug)]
pub struct Layer {
    /// Among the tokens.
    pub attention: Attention,
    /// Outwards.
    pub intermediate: Intermediate,
    /// Back.
    pub output: Output,
}

/// Attention in several heads and what follows it.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Queries, keys and values. Its tensors are called `self`, which no field of Rust can be.
    pub heads: SelfAttention,
    /// From the heads back.
    pub output: Output,
}

/// Queries, keys and values.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Queries.
    pub query: Linear,
    /// Keys.
    pub key: Linear,
    /// Values.
    pub value: Linear,
    #[module(skip)]
    heads: usize,
}

/// A linear layer and an activation.
#[derive(Module, Debug)]
pub struct Intermediate {
    /// The linear layer.
    pub dense: Linear,
    #[module(skip)]
    act: HiddenAct,
}

/// `norm(x + dense(y))`.
#[derive(Module, Debug)]
pub struct Output {
    /// The linear layer.
    pub dense: Linear,
    /// Of the sum.
    pub LayerNorm: LayerNorm,
}

/// `tanh(dense(x))` of the first token.
#[derive(Module, Debug)]
pub struct Pooler {
    /// The linear layer.
    pub dense: Linear,
}

/// What BERT makes of a batch.
#[derive(Clone, Debug)]
pub struct BertOutput {
    /// One vector a token: `[N, T, C]`.
    pub last_hidden_state: Tensor<3>,
    /// One vector a sequence: `[N, C]`.
    pub pooled: Tensor<2>,
}

sumi_nn::layers!(BertModel { encoder, pooler });
sumi_nn::layers!(Encoder { layer });
sumi_nn::layers!(Layer { attention, intermediate, output });
sumi_nn::layers!(SelfAttention { query, key, value });
sumi_nn::layers!(Intermediate { dense });
sumi_nn::layers!(Output { dense });
sumi_nn::layers!(Pooler { dense });

impl BertModel {
    /// A fresh network.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &BertConfig, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let act = HiddenAct::of_config(&config.hidden_act)?;
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let embeddings = Embeddings {
            word_embeddings: Embedding::new(init, config.vocab_size, width),
            position_embeddings: Embedding::new(init, config.max_position_embeddings, width),
            token_type_embeddings: Embedding::new(init, config.type_vocab_size, width),
            LayerNorm: LayerNorm::new(init, width, eps),
        };
        let output = |init: &mut Init, inputs: usize| Output {
            dense: Linear::new(init, inputs, width),
            LayerNorm: LayerNorm::new(init, width, eps),
        };
        let layer = |init: &mut Init| Layer {
            attention: Attention {
                heads: SelfAttention {
                    query: Linear::new(init, width, width),
                    key: Linear::new(init, width, width),
                    value: Linear::new(init, width, width),
                    heads: config.num_attention_heads,
                },
                output: output(init, width),
            },
            intermediate: Intermediate {
                dense: Linear::new(init, width, config.intermediate_size),
                act,
            },
            output: output(init, config.intermediate_size),
        };
        let layer = (0..config.num_hidden_layers).map(|_| layer(init)).collect();
        let pooler = Pooler { dense: Linear::new(init, width, width) };
        Ok(Self { embeddings, encoder: Encoder { layer }, pooler })
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.embeddings.LayerNorm.weight.lazy_device()
    }

    /// One pass. A token whose `mask` is false is looked at by none; without a mask, all are.
    ///
    /// # Errors
    /// Ids that the model does not know; sequences that are too long or differ in length.
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        mask: Option<&[Vec<bool>]>,
    ) -> Result<BertOutput, TokensError> {
        let Embeddings {
            word_embeddings,
            position_embeddings,
            token_type_embeddings,
            LayerNorm: norm,
        } = &self.embeddings;
        let (vocabulary, positions) = (word_embeddings.entries(), position_embeddings.entries());
        let tokens = Tokens::new(ids, mask, vocabulary, positions)?;
        let bias = tokens.bias(false, &self.device());
        let x = word_embeddings.forward(&tokens.ids)
            + position_embeddings.forward(&tokens.positions())
            + token_type_embeddings.forward(&[0]);
        let mut x = norm.forward(x);
        for layer in &self.encoder.layer {
            x = layer.forward(x, &tokens, bias.clone());
        }
        let last_hidden_state = tokens.unflatten(x);
        let [n, _, c] = last_hidden_state.dims();
        let first = last_hidden_state.clone().narrow(1, 0, 1).reshape([n, c]);
        let pooled = self.pooler.dense.forward(first).tanh();
        Ok(BertOutput { last_hidden_state, pooled })
    }
}

impl Layer {
    fn forward(&self, x: Tensor<2>, tokens: &Tokens, bias: Option<Tensor<4>>) -> Tensor<2> {
        let Attention { heads: SelfAttention { query, key, value, heads }, output } =
            &self.attention;
        let scale = ((x.dims()[1] / heads) as f64).powf(-0.5);
        let qkv = [query, key, value].map(|linear| linear.forward(x.clone()));
        let x = output.forward(tokens.attend(qkv, bias, *heads, scale), x);
        let Intermediate { dense, act } = &self.intermediate;
        self.output.forward(act.forward(dense.forward(x.clone())), x)
    }
}

impl Output {
    fn forward(&self, y: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        self.LayerNorm.forward(self.dense.forward_onto(y, Some(x)))
    }
}

/// What `derive(Module)` would write, were the first field called `self`.
impl Module for Attention {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.output.collect_devices(self.heads.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        Self { heads: self.heads.fork(device), output: self.output.fork(device) }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { heads: self.heads.to_device(device), output: self.output.to_device(device) }
    }

    fn train(self) -> Self {
        Self { heads: self.heads.train(), output: self.output.train() }
    }

    fn valid(&self) -> Self {
        Self { heads: self.heads.valid(), output: self.output.valid() }
    }

    fn materialize(self) -> Self {
        Self { heads: self.heads.materialize(), output: self.output.materialize() }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        visitor.enter_module("self", CONTAINER);
        self.heads.visit(visitor);
        visitor.exit_module("self", CONTAINER);
        visitor.enter_module("output", CONTAINER);
        self.output.visit(visitor);
        visitor.exit_module("output", CONTAINER);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        mapper.enter_module("self", CONTAINER);
        let heads = self.heads.map(mapper);
        mapper.exit_module("self", CONTAINER);
        mapper.enter_module("output", CONTAINER);
        let output = self.output.map(mapper);
        mapper.exit_module("output", CONTAINER);
        Self { heads, output }
    }
}

impl Layers for Attention {
    fn visit_layers<'a>(
        &'a self,
        path: &mut String,
        visit: &mut dyn FnMut(&str, sumi_nn::Layer<'a>),
    ) {
        within(path, "self", |path| self.heads.visit_layers(path, visit));
        within(path, "output", |path| self.output.visit_layers(path, visit));
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        within(path, "self", |path| self.heads.visit_layers_mut(path, visit));
        within(path, "output", |path| self.output.visit_layers_mut(path, visit));
    }
}

const CONTAINER: &str = "Struct:Attention";

impl ModuleDisplayDefault for Attention {
    fn content(&self, content: Content) -> Option<Content> {
        let content = content.set_top_level_type("Attention");
        content.add("self", &self.heads).add("output", &self.output).optional()
    }
}

impl ModuleDisplay for Attention {}
