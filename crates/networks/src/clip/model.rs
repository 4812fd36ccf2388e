//! Both encoders (`CLIPModel` in transformers).

use super::{
    ClipTextConfig, ClipVisionConfig, ImageShapeError, TextTransformer, VisionTransformer,
};
use crate::ConfigError;
use crate::tokens::{TokensError, expect_sizes};
use crate::unet::config::expect;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sumi_nn::{Init, Linear};

/// Everything that decides the shape of a [`ClipModel`], under the names and with the defaults of transformers'
/// `CLIPConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// The text encoder's, whose own `projection_dim` says nothing here.
    pub text_config: Option<ClipTextConfig>,
    /// The picture encoder's, whose own `projection_dim` says nothing here.
    pub vision_config: Option<ClipVisionConfig>,
    /// What old files have beside `text_config`; it wins.
    pub text_config_dict: Option<ClipTextConfig>,
    /// What old files have beside `vision_config`; it wins.
    pub vision_config_dict: Option<ClipVisionConfig>,
    /// Width of the space that pictures and texts share.
    pub projection_dim: usize,
    /// The logarithm of what cosines are multiplied with.
    pub logit_scale_init_value: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            text_config: None,
            vision_config: None,
            text_config_dict: None,
            vision_config_dict: None,
            projection_dim: 512,
            // ln(1 / 0.07), Radford et al., section 2.5.
            logit_scale_init_value: 2.6592,
        }
    }
}

impl ClipConfig {
    /// The text encoder's config.
    pub fn text(&self) -> ClipTextConfig {
        self.text_config_dict.clone().or(self.text_config.clone()).unwrap_or_default()
    }

    /// The picture encoder's config.
    pub fn vision(&self) -> ClipVisionConfig {
        self.vision_config_dict.clone().or(self.vision_config.clone()).unwrap_or_default()
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.text().check()?;
        self.vision().check()?;
        let scale = self.logit_scale_init_value;
        expect(scale.is_finite(), "logit_scale_init_value", "a number", scale)?;
        expect_sizes(1 << 16, &[("projection_dim", self.projection_dim)])
    }
}

/// Pictures and texts as vectors of one space, in which those that belong together point the same way (Radford et
/// al., section 2.3).
#[derive(Module, Debug)]
pub struct ClipModel {
    /// Of texts.
    pub text_model: TextTransformer,
    /// Of pictures.
    pub vision_model: VisionTransformer,
    /// From a picture's vector to the shared space, without a bias.
    pub visual_projection: Linear,
    /// From a text's vector to the shared space, without a bias.
    pub text_projection: Linear,
    /// The logarithm of what cosines are multiplied with, `[1]`; in files it has no dimension.
    pub logit_scale: Param<Tensor<1>>,
}

sumi_nn::layers!(ClipModel { text_model, vision_model, visual_projection, text_projection });

impl ClipModel {
    /// A fresh `CLIPModel`.
    ///
    /// # Errors
    /// A config that no network can be built from.
    pub fn new(config: &ClipConfig, init: &mut Init) -> Result<Self, ConfigError> {
        config.check()?;
        let (text, vision) = (config.text(), config.vision());
        Ok(Self {
            text_model: TextTransformer::new(&text, init)?,
            vision_model: VisionTransformer::new(&vision, init)?,
            visual_projection: Linear::without_bias(
                init,
                vision.hidden_size,
                config.projection_dim,
            ),
            text_projection: Linear::without_bias(init, text.hidden_size, config.projection_dim),
            logit_scale: init.constant([1], config.logit_scale_init_value as f32),
        })
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.vision_model.device()
    }

    /// Pictures in the shared space, of any length.
    ///
    /// # Shapes
    /// `[N, num_channels, image_size, image_size]` to `[N, projection_dim]`.
    ///
    /// # Errors
    /// Pictures of another shape.
    pub fn image_embeds(&self, images: Tensor<4>) -> Result<Tensor<2>, ImageShapeError> {
        Ok(self.visual_projection.forward(self.vision_model.forward(images)?.pooled))
    }

    /// Texts in the shared space, of any length: `[N, projection_dim]`. What stands behind the end token does not
    /// count.
    ///
    /// # Errors
    /// Ids that the model does not know; sequences that are too long or differ in length.
    pub fn text_embeds(&self, ids: &[Vec<u32>]) -> Result<Tensor<2>, TokensError> {
        Ok(self.text_projection.forward(self.text_model.forward(ids, None)?.pooled))
    }

    /// `exp(logit_scale) cos(image, text)` for every pair (Radford et al., figure 3).
    ///
    /// # Shapes
    /// `[N, projection_dim]` and `[M, projection_dim]` to `[N, M]`.
    pub fn logits_per_image(&self, image_embeds: Tensor<2>, text_embeds: Tensor<2>) -> Tensor<2> {
        let [images, texts] = [image_embeds, text_embeds].map(unit_rows);
        images.matmul(texts.transpose()) * self.logit_scale.val().exp().unsqueeze()
    }
}

/// Rows of length 1: `x / |x|`; zeros stay zeros.
pub fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).sqrt().clamp_min(f32::MIN_POSITIVE);
    x / length
}
