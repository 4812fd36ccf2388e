//! From a checkpoint to networks.

use crate::encoder::{Layer, Reader};
use crate::{PipelineError, Request, Result, TextEncoder};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use sumi_formats::FormatError;
use sumi_formats::checkpoint::{Checkpoint, Part, Preferences};
use sumi_model::{SchedulerConfig, config_of, fill};
use sumi_networks::bert::BertModel;
use sumi_networks::clip::ClipTextModel;
use sumi_networks::t5::T5Encoder;
use sumi_networks::unet::SampleSize;
use sumi_networks::unet_condition::{UNetCondition, UNetConditionConfig};
use sumi_networks::vae::{AutoencoderConfig, AutoencoderKl, Posterior};
use sumi_nn::{Init, Precision};
use sumi_text::{ClipPad, Tokenizer};

/// What a Stable Diffusion checkpoint holds.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) unet: UNetCondition,
    pub(crate) unet_config: UNetConditionConfig,
    pub(crate) vae: AutoencoderKl,
    pub(crate) vae_config: AutoencoderConfig,
    /// One, or two whose words stand side by side.
    pub(crate) readers: Vec<Reader>,
    /// Which of the text encoders' layers the denoiser was trained on.
    pub(crate) layer: Layer,
    /// How it was noised, and how it likes to be sampled.
    pub scheduler: SchedulerConfig,
    /// Whether an empty negative prompt is zeros and not what the text encoder says about it.
    pub(crate) zeros_for_empty_prompt: bool,
    pub(crate) device: Device,
    pub(crate) checkpoint: Checkpoint,
    precision: Precision,
    /// Whether the autoencoder is kept in f32, because f16 cannot hold its weights.
    pub vae_widened: bool,
}

/// A picture, decoded.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// `[1, 3, H, W]`, from -1 to 1 but for what goes beyond.
    pub image: Tensor<4>,
    /// Whether the decoder had to be read again in f32, because in half precision it gave no numbers.
    pub again: bool,
}

/// What is in the names of the pipelines that draw so.
const PIPELINES: [&str; 2] = ["StableDiffusion", "LatentConsistency"];
/// What diffusers wants the sides of a picture to be a multiple of, in pixels, however small the checkpoint.
const PICTURE_MULTIPLE: usize = 8;
/// The most pixels on a side: far past what fits into memory.
const MAX_SIDE_PX: usize = 16_384;

impl Pipeline {
    /// Opens a diffusers folder or a single file, with the weights of products in `precision`.
    ///
    /// # Errors
    /// A missing or broken component, a configuration that cannot be served, weights that do not fit it.
    pub fn open(
        path: &std::path::Path,
        device: &Device,
        precision: Precision,
        preferences: &Preferences,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::open_with(path, preferences)?;
        if !PIPELINES.iter().any(|known| checkpoint.class.contains(known)) {
            let expected = "a pipeline of Stable Diffusion";
            return Err(PipelineError::Part {
                path: path.to_path_buf(),
                part: "model_index.json".into(),
                message: format!("_class_name: expected {expected}, found {}", checkpoint.class),
            });
        }
        let open = Opener { checkpoint: &checkpoint, device, precision };
        let unet_config: UNetConditionConfig = open.config("unet", "UNet2DConditionModel")?;
        let vae_config: AutoencoderConfig = open.config("vae", "AutoencoderKL")?;
        let scheduler = open.scheduler()?;
        let readers = open.readers()?;
        let unet = UNetCondition::new(&unet_config, &mut Init::new(device, 0));
        let unet = open.fill("unet", unet.map_err(|error| open.wrong("unet", error))?)?;
        let (vae, vae_widened) = match open.vae(&vae_config, precision) {
            // Published autoencoders have been known to leave the range of 16 bits.
            Err(_) if precision == Precision::F16 => (open.vae(&vae_config, Precision::F32)?, true),
            opened => (opened?, false),
        };
        let two = readers.len() > 1;
        let layer = if two { Layer::Penultimate } else { Layer::Last };
        let zeros = checkpoint.index.get("force_zeros_for_empty_prompt");
        let zeros_for_empty_prompt = zeros.and_then(|v| v.as_bool()).unwrap_or(two);
        Ok(Self {
            unet,
            unet_config,
            vae,
            vae_config,
            readers,
            layer,
            scheduler,
            zeros_for_empty_prompt,
            device: device.clone(),
            checkpoint,
            precision,
            vae_widened,
        })
    }

    /// What was opened.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The file that tells this checkpoint from others: the single file, or the denoiser's weights.
    pub fn weights_file(&self) -> Option<PathBuf> {
        if self.checkpoint.path.is_file() {
            return Some(self.checkpoint.path.clone());
        }
        let weights = self.checkpoint.parts.get("unet")?.weights.as_ref()?;
        weights.iter().next().map(|(_, entry)| entry.path().to_path_buf())
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        self.vae_config.latent_channels
    }

    /// Pixels to a latent, on a side.
    pub fn pixels_per_latent(&self) -> usize {
        self.vae_config.pixels_per_latent()
    }

    /// Height and width that the checkpoint was trained on, in pixels.
    pub fn native_dims(&self) -> [usize; 2] {
        let size = self.unet_config.sample_size.unwrap_or(SampleSize::Square(64));
        size.dims().map(|side| side.saturating_mul(self.pixels_per_latent()))
    }

    /// Whether the denoiser is told the picture's size.
    pub(crate) fn wants_size(&self) -> bool {
        self.unet_config.addition_embed_type.as_deref() == Some("text_time")
    }

    /// Height and width of the pictures that a request asks for.
    ///
    /// # Errors
    /// A side that is no whole number of latents, or far too long.
    pub(crate) fn picture_dims(&self, request: &Request) -> Result<[usize; 2]> {
        let own = request.init.as_ref().map(|init| init.dims);
        let dims = request.dims.or(own).unwrap_or_else(|| self.native_dims());
        if let Some([h, w]) = own.filter(|own| *own != dims) {
            let expected = format!("the {} x {} px that are asked for", dims[1], dims[0]);
            return Err(PipelineError::request("init", expected, format!("{w} x {h}")));
        }
        let latent = self.pixels_per_latent();
        let multiple = if request.dims.is_some() { latent.max(PICTURE_MULTIPLE) } else { latent };
        for (field, side) in [("height", dims[0]), ("width", dims[1])] {
            if side == 0 || !side.is_multiple_of(multiple) || side > MAX_SIDE_PX {
                let expected = format!("a multiple of {multiple} px up to {MAX_SIDE_PX}");
                return Err(PipelineError::request(field, expected, side));
            }
        }
        Ok(dims)
    }

    /// What a picture becomes as latents, in the autoencoder's own scale.
    pub(crate) fn encode_picture(&self, image: Tensor<4>, tiled: bool) -> Result<Posterior> {
        Ok(match tiled {
            true => self.vae.encode_tiled(image),
            false => self.vae.encode(image),
        })
    }

    /// The picture of latents in the denoiser's scale, `[1, C, h, w]`.
    ///
    /// # Errors
    /// Latents that give no picture even in f32.
    pub fn decode(&self, latents: Tensor<4>, tiled: bool) -> Result<Decoded> {
        let z = self.vae_config.unscaled(latents);
        let decode = |vae: &AutoencoderKl| match tiled {
            true => vae.decode_tiled(z.clone()),
            false => vae.decode(z.clone()),
        };
        let image = decode(&self.vae);
        if is_finite(&image) {
            return Ok(Decoded { image, again: false });
        }
        if self.precision != Precision::F32 {
            let open = Opener {
                checkpoint: &self.checkpoint,
                device: &self.device,
                precision: Precision::F32,
            };
            let image = decode(&open.vae(&self.vae_config, Precision::F32)?);
            if is_finite(&image) {
                return Ok(Decoded { image, again: true });
            }
        }
        Err(PipelineError::network("vae", "expected a picture of finite numbers, found others"))
    }
}

fn is_finite(image: &Tensor<4>) -> bool {
    // The sum of squares is no number as soon as one of them is none.
    let sum = sumi_kernels::sum_of_squares(image.clone()).try_to_vec_as::<f32>();
    sum.is_ok_and(|sum| sum.iter().all(|x| x.is_finite()))
}

/// What diffusers' pipelines of Stable Diffusion 1 and 2 make of their scheduler's settings, which early
/// folders have wrong: an offset of 1, and no clipping, since latents have no range.
fn settled(mut config: SchedulerConfig, pipeline: &str) -> SchedulerConfig {
    if pipeline.contains("XL") {
        return config;
    }
    config.steps_offset = 1;
    if config.clip_sample == Some(true) {
        config.clip_sample = Some(false);
    }
    if pipeline.contains("Inpaint") && config.other.contains_key("skip_prk_steps") {
        config.other.insert("skip_prk_steps".into(), true.into());
    }
    config
}

/// Opens the components of one checkpoint.
struct Opener<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    precision: Precision,
}

impl Opener<'_> {
    fn wrong(&self, part: &str, message: impl std::fmt::Display) -> PipelineError {
        PipelineError::Part {
            path: self.checkpoint.path.clone(),
            part: part.into(),
            message: message.to_string(),
        }
    }

    fn config<T: DeserializeOwned>(&self, name: &str, class: &str) -> Result<T> {
        let part = self.checkpoint.part(name)?;
        if part.class != class {
            return Err(self.wrong(name, format!("expected a {class}, found a {}", part.class)));
        }
        config_of(part.config.clone(), class).map_err(|message| self.wrong(name, message))
    }

    fn scheduler(&self) -> Result<SchedulerConfig> {
        let part = self.checkpoint.part("scheduler")?;
        let mut config = SchedulerConfig::read(part.config.clone())
            .map_err(|message| self.wrong("scheduler", message))?;
        // model_index.json says which class reads the settings.
        config.class_name = part.class.clone();
        Ok(settled(config, &self.checkpoint.class))
    }

    /// The module with the component's weights.
    fn fill<M: Module>(&self, name: &str, module: M) -> Result<M> {
        self.fill_in(name, module, self.precision)
    }

    fn fill_in<M: Module>(&self, name: &str, module: M, precision: Precision) -> Result<M> {
        let part = self.checkpoint.part(name)?;
        let Some(weights) = part.weights.clone() else {
            return Err(self.wrong(name, "expected weights, found none"));
        };
        let path = part.folder.clone().unwrap_or_else(|| self.checkpoint.path.join(name));
        Ok(fill(module, weights, &path, precision)?)
    }

    fn vae(&self, config: &AutoencoderConfig, precision: Precision) -> Result<AutoencoderKl> {
        let vae = AutoencoderKl::new(config, &mut Init::new(self.device, 0));
        self.fill_in("vae", vae.map_err(|error| self.wrong("vae", error))?, precision)
    }

    /// The text encoders with their tokenizers.
    fn readers(&self) -> Result<Vec<Reader>> {
        let mut readers = Vec::new();
        for (encoder, tokenizer) in
            [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")]
        {
            if readers.is_empty() || self.checkpoint.parts.contains_key(encoder) {
                readers.push(self.reader(encoder, tokenizer)?);
            }
        }
        Ok(readers)
    }

    fn reader(&self, name: &str, tokenizer: &str) -> Result<Reader> {
        let part = self.checkpoint.part(name)?;
        let config = part.config.clone();
        let parse = |error: serde_json::Error| self.wrong(name, error);
        let mut init = Init::new(self.device, 0);
        let wrong = |error: sumi_networks::ConfigError| self.wrong(name, error);
        let encoder = match part.class.as_str() {
            "CLIPTextModel" => {
                let config = serde_json::from_value(config).map_err(parse)?;
                let clip = ClipTextModel::new(&config, &mut init).map_err(wrong)?;
                TextEncoder::Clip(self.fill(name, clip)?)
            }
            "CLIPTextModelWithProjection" => {
                let config = serde_json::from_value(config).map_err(parse)?;
                let clip = ClipTextModel::with_projection(&config, &mut init).map_err(wrong)?;
                TextEncoder::Clip(self.fill(name, clip)?)
            }
            "BertModel" => {
                let config = serde_json::from_value(config).map_err(parse)?;
                let bert = BertModel::new(&config, &mut init).map_err(wrong)?;
                TextEncoder::Bert(self.fill(name, bert)?)
            }
            "T5EncoderModel" => {
                let config = serde_json::from_value(config).map_err(parse)?;
                let t5 = T5Encoder::new(&config, &mut init).map_err(wrong)?;
                TextEncoder::T5(self.fill(name, t5)?)
            }
            other => {
                let known =
                    "CLIPTextModel, CLIPTextModelWithProjection, BertModel or T5EncoderModel";
                return Err(self.wrong(name, format!("expected {known}, found {other}")));
            }
        };
        let tokenizer = self.tokenizer(tokenizer, part)?;
        let max_length = tokenizer.max_length().unwrap_or_else(|| encoder.max_length());
        Ok(Reader { tokenizer, max_length, encoder })
    }

    /// The folder's tokenizer, or the one that travels in a single file; CLIP's own where it brings none.
    fn tokenizer(&self, name: &str, encoder: &Part) -> Result<Tokenizer> {
        if let Some(part) = self.checkpoint.parts.get(name) {
            if let Some(folder) = &part.folder {
                return Ok(Tokenizer::open_as(folder, Some(&part.class))?);
            }
            if !part.files.is_empty() {
                return self.packed_tokenizer(part);
            }
        }
        // OpenCLIP's encoders were trained with another padding than OpenAI's.
        let open_clip = encoder.config["hidden_act"] == "gelu";
        Ok(Tokenizer::clip(if open_clip { ClipPad::Bang } else { ClipPad::EndOfText })?)
    }

    fn packed_tokenizer(&self, part: &Part) -> Result<Tokenizer> {
        let failed = |source: std::io::Error| FormatError::Io {
            path: self.checkpoint.path.clone(),
            action: "unpack the tokenizer",
            source,
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        for (name, bytes) in &part.files {
            // Only the name counts, wherever the file says that it belongs.
            if let Some(name) = std::path::Path::new(name).file_name() {
                std::fs::write(folder.path().join(name), bytes).map_err(failed)?;
            }
        }
        Ok(Tokenizer::open_as(folder.path(), Some(&part.class))?)
    }
}
