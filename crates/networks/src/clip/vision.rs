//! The picture encoder (`CLIPVisionModel` and `CLIPVisionModelWithProjection` in transformers).

use super::layers::{Encoder, EncoderConfig};
use crate::ConfigError;
use crate::tokens::{HiddenAct, expect_eps, expect_heads, expect_sizes};
use crate::unet::config::expect;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sumi_nn::{Conv2d, Embedding, Init, LayerNorm, Linear};

/// Everything that decides the shape of a [`ClipVisionModel`], under the names and with the defaults of transformers'
/// `CLIPVisionConfig`. Its other fields, which are about pretraining, are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
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
    /// Of the pictures.
    pub num_channels: usize,
    /// Their sides, in pixels.
    pub image_size: usize,
    /// Sides of the patches that are tokens, in pixels; what is left over at the right and below is not looked at.
    pub patch_size: usize,
    /// "quick_gelu" (OpenAI's) or "gelu" (OpenCLIP's).
    pub hidden_act: String,
    /// Epsilon of every normalisation.
    pub layer_norm_eps: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: Some(512),
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipVisionConfig {
    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        HiddenAct::of_config(&self.hidden_act)?;
        expect_sizes(256, &[("num_hidden_layers", self.num_hidden_layers)])?;
        expect_sizes(
            1 << 16,
            &[
                ("hidden_size", self.hidden_size),
                ("intermediate_size", self.intermediate_size),
                ("projection_dim", self.projection_dim.unwrap_or(1)),
                ("num_attention_heads", self.num_attention_heads),
            ],
        )?;
        expect_sizes(64, &[("num_channels", self.num_channels)])?;
        expect_sizes(1 << 12, &[("image_size", self.image_size)])?;
        let expected = format!("1 to image_size, {}", self.image_size);
        let fits = (1..=self.image_size).contains(&self.patch_size);
        expect(fits, "patch_size", expected, self.patch_size)?;
        expect_heads(self.num_attention_heads, self.hidden_size)?;
        expect_eps("layer_norm_eps", self.layer_norm_eps)
    }

    /// The class token and the whole patches of a picture.
    fn tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

/// Pictures that the encoder was not made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pictures of [C, H, W] {found:?}: expected {expected:?}; scale or cut them")]
pub struct ImageShapeError {
    /// Channels, height and width that it takes.
    pub expected: [usize; 3],
    /// The pictures'.
    pub found: [usize; 3],
}

/// A picture to one vector a patch and one for the whole (Radford et al., section 2.4; Dosovitskiy et al., An Image
/// is Worth 16x16 Words, Eq. 1 to 4, with a normalisation before the first block).
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    /// All of it but the projection.
    pub vision_model: VisionTransformer,
    /// From the class token to the space that texts share, without a bias.
    pub visual_projection: Option<Linear>,
}

sumi_nn::layers!(ClipVisionModel { vision_model, visual_projection });

/// Embeddings, blocks and the normalisations around them.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    /// Of patches and places.
    pub embeddings: VisionEmbeddings,
    /// Before the blocks; so spelt in every file.
    pub pre_layrnorm: LayerNorm,
    /// The blocks.
    pub encoder: Encoder,
    /// After them, of the class token alone.
    pub post_layernorm: LayerNorm,
    #[module(skip)]
    image_size: usize,
}

sumi_nn::layers!(VisionTransformer { embeddings, encoder });

/// A class token and one vector a patch, plus one a place.
#[derive(Module, Debug)]
pub struct VisionEmbeddings {
    /// `[hidden_size]`.
    pub class_embedding: Param<Tensor<1>>,
    /// `[hidden_size, num_channels, patch_size, patch_size]`.
    pub patch_embedding: Conv2d,
    /// `[1 + patches, hidden_size]`.
    pub position_embedding: Embedding,
}

sumi_nn::layers!(VisionEmbeddings { patch_embedding });

/// What the picture encoder makes of a batch.
#[derive(Clone, Debug)]
pub struct ClipVisionOutput {
    /// What the last block puts out, not normalised: `[N, 1 + patches, C]`.
    pub last_hidden_state: Tensor<3>,
    /// Its class token, normalised: `[N, C]`.
    pub pooled: Tensor<2>,
    /// Its projection, where the model has one: `[N, projection_dim]`.
    pub image_embeds: Option<Tensor<2>>,
}

impl ClipVisionModel {
    /// A fresh `CLIPVisionModel`.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &ClipVisionConfig, init: &mut Init) -> Result<Self, ConfigError> {
        let vision_model = VisionTransformer::new(config, init)?;
        Ok(Self { vision_model, visual_projection: None })
    }

    /// A fresh `CLIPVisionModelWithProjection`.
    ///
    /// # Errors
    /// A config that no network can be built from, or one without `projection_dim`.
    pub fn with_projection(
        config: &ClipVisionConfig,
        init: &mut Init,
    ) -> Result<Self, ConfigError> {
        let mut model = Self::new(config, init)?;
        let dim = config.projection_dim;
        expect(dim.is_some(), "projection_dim", "a width", "null")?;
        model.visual_projection =
            dim.map(|dim| Linear::without_bias(init, config.hidden_size, dim));
        Ok(model)
    }

    /// One pass.
    ///
    /// # Shapes
    /// `[N, num_channels, image_size, image_size]`.
    ///
    /// # Errors
    /// Pictures of another shape.
    pub fn forward(&self, images: Tensor<4>) -> Result<ClipVisionOutput, ImageShapeError> {
        let mut output = self.vision_model.forward(images)?;
        let project = |linear: &Linear| linear.forward(output.pooled.clone());
        output.image_embeds = self.visual_projection.as_ref().map(project);
        Ok(output)
    }
}

impl VisionTransformer {
    pub(super) fn new(config: &ClipVisionConfig, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let channels = [config.num_channels, width];
        let encoder = EncoderConfig {
            layers: config.num_hidden_layers,
            width,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            act: HiddenAct::of_config(&config.hidden_act)?,
            eps,
        };
        Ok(Self {
            embeddings: VisionEmbeddings {
                class_embedding: init.uniform([width], (3.0 / width as f64).sqrt()),
                patch_embedding: Conv2d::patches(init, channels, config.patch_size),
                position_embedding: Embedding::new(init, config.tokens(), width),
            },
            pre_layrnorm: LayerNorm::new(init, width, eps),
            encoder: Encoder::new(&encoder, init),
            post_layernorm: LayerNorm::new(init, width, eps),
            image_size: config.image_size,
        })
    }

    pub(super) fn device(&self) -> Device {
        self.post_layernorm.weight.lazy_device()
    }

    /// Everything but `image_embeds`.
    pub(super) fn forward(&self, images: Tensor<4>) -> Result<ClipVisionOutput, ImageShapeError> {
        let VisionEmbeddings { class_embedding, patch_embedding, position_embedding } =
            &self.embeddings;
        let [n, c, h, w] = images.dims();
        let [width, channels, _, _] = patch_embedding.weight.lazy_shape().dims::<4>();
        let expected = [channels, self.image_size, self.image_size];
        if [c, h, w] != expected {
            return Err(ImageShapeError { expected, found: [c, h, w] });
        }
        let patches = patch_embedding.forward_patches(images);
        let tokens = position_embedding.entries();
        let places: Vec<u32> = (0..tokens as u32).collect();
        let class = class_embedding.val().reshape([1, 1, width]).expand([n, 1, width]);
        let x = Tensor::cat(vec![class, patches.reshape([n, tokens - 1, width])], 1);
        let x = x + position_embedding.forward(&places).unsqueeze::<3>();
        let x = self.pre_layrnorm.forward(x.reshape([n * tokens, width]));
        let x = self.encoder.layers.iter().fold(x, |x, layer| layer.forward(x, n, None));
        let last_hidden_state = x.reshape([n, tokens, width]);
        let class = last_hidden_state.clone().narrow(1, 0, 1).reshape([n, width]);
        let pooled = self.post_layernorm.forward(class);
        Ok(ClipVisionOutput { last_hidden_state, pooled, image_embeds: None })
    }
}
