//! CLIP as published: a folder with both towers, a tokenizer, and what is done to pictures before.

mod preprocess;

pub use preprocess::{Preprocess, Side};

use crate::{FeatureError, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use sumi_data::Image;
use sumi_formats::hash::sha256_of;
use sumi_formats::{MAX_CONFIG_BYTES, checkpoint, python_numbers};
use sumi_model::fill;
use sumi_networks::clip::{ClipConfig, ClipModel, unit_rows};
use sumi_nn::{Init, Precision};
use sumi_text::{ClipPad, Tokenizer};

/// Pictures or texts that go through the network at once.
const BATCH: usize = 16;
/// The name of the class, in files and in errors.
const CLASS: &str = "CLIPModel";

/// A CLIP: pictures and texts to vectors of one space.
#[derive(Debug)]
pub struct Clip {
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocess: Preprocess,
    dims: usize,
    /// Ids of a text, special ones included, at most.
    max_ids: usize,
    weights: PathBuf,
    sha256: String,
}

impl Clip {
    /// Opens a folder of transformers' `CLIPModel`: `config.json`, `model.safetensors` or `pytorch_model.bin`, the
    /// tokenizer's files (CLIP's own vocabulary where there are none), and `preprocessor_config.json` (OpenAI's values
    /// where there is none).
    ///
    /// # Errors
    /// A file that is missing or damaged; another class of model; weights that do not fit the config; a way to prepare
    /// pictures that does not give the size that the model takes.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let (config, path) = read_config(folder)?;
        let model = ClipModel::new(&config, &mut Init::new(device, 0))
            .map_err(|error| wrong(&path, error))?;
        let preprocess = Preprocess::open(folder)?;
        let vision = config.vision();
        preprocess
            .check(vision.num_channels, vision.image_size)
            .map_err(|why| wrong(folder, why))?;
        let state = checkpoint::open_component(folder, CLASS)?;
        let weights = state.iter().map(|(_, entry)| entry.path()).min().unwrap_or(folder);
        let weights = weights.to_path_buf();
        let model = fill(model, state, folder, Precision::F32)?;
        let text = config.text();
        let tokenizer = tokenizer(folder, &text.hidden_act)?;
        let positions = text.max_position_embeddings;
        let max_ids = tokenizer.max_length().map_or(positions, |most| most.min(positions));
        let sha256 = sha256_of(&weights)?;
        let dims = config.projection_dim;
        Ok(Self { model, tokenizer, preprocess, dims, max_ids, weights, sha256 })
    }

    /// Numbers in a vector, D.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The file of the weights, the first by name where there are several.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// The SHA-256 of that file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What is done to a picture before the network sees it.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Pictures of any size in the shared space, not normalised: `[N, D]`.
    ///
    /// # Errors
    /// A picture that cannot be resized.
    pub fn image_embeds(&self, images: &[Image]) -> Result<Vec<f32>> {
        let mut embeds = Vec::with_capacity(images.len() * self.dims);
        for images in images.chunks(BATCH) {
            let [_, h, w] = self.preprocess.dims();
            let planes = images.par_iter().map(|image| self.preprocess.planes(image));
            let planes = planes.collect::<Result<Vec<_>>>()?.concat();
            let data = TensorData::new(planes, [images.len(), 3, h, w]);
            let x = Tensor::<4>::from_data(data, &self.model.device());
            embeds.extend(numbers(self.model.image_embeds(x).map_err(network)?)?);
        }
        Ok(embeds)
    }

    /// Texts in the shared space, not normalised: `[N, D]`. What goes beyond the 77 ids of a published model is cut off.
    ///
    /// # Errors
    /// A text that the tokenizer has no ids for.
    pub fn text_embeds(&self, texts: &[&str]) -> Result<Vec<f32>> {
        let mut embeds = Vec::with_capacity(texts.len() * self.dims);
        for texts in texts.chunks(BATCH) {
            let ids = texts.iter().map(|text| self.ids(text)).collect::<Result<Vec<_>>>()?;
            // Nobody looks at what comes behind the end token, so short texts need no padding to 77.
            let longest = ids.iter().map(|(_, used)| *used).max().unwrap_or(0);
            let ids: Vec<_> = ids.into_iter().map(|(ids, _)| ids[..longest].to_vec()).collect();
            embeds.extend(numbers(self.model.text_embeds(&ids).map_err(network)?)?);
        }
        Ok(embeds)
    }

    /// How many of the texts have more ids than the model reads.
    ///
    /// # Errors
    /// A text that the tokenizer has no ids for.
    pub fn too_long(&self, texts: &[&str]) -> Result<usize> {
        let mut too_long = 0;
        for text in texts {
            let encoding = self.tokenizer.encode(text, self.max_ids + 1).map_err(network)?;
            too_long += usize::from(used(&encoding.attention_mask) > self.max_ids);
        }
        Ok(too_long)
    }

    /// `exp(logit_scale) cos(image, text)` for every pair of embeddings, `[N, M]` (Radford et al., Learning
    /// Transferable Visual Models From Natural Language Supervision, figure 3).
    ///
    /// # Errors
    /// Embeddings of another width.
    pub fn logits_per_image(&self, image_embeds: &[f32], text_embeds: &[f32]) -> Result<Vec<f32>> {
        let images = self.rows(image_embeds)?;
        let texts = self.rows(text_embeds)?;
        numbers(self.model.logits_per_image(images, texts))
    }

    /// Embeddings of length 1.
    ///
    /// # Errors
    /// Embeddings of another width.
    pub fn normalised(&self, embeds: &[f32]) -> Result<Vec<f32>> {
        numbers(unit_rows(self.rows(embeds)?))
    }

    fn rows(&self, embeds: &[f32]) -> Result<Tensor<2>> {
        if !embeds.len().is_multiple_of(self.dims) {
            let found = embeds.len();
            return Err(network(format!(
                "expected vectors of {}, found {found} numbers",
                self.dims
            )));
        }
        let shape = [embeds.len() / self.dims, self.dims];
        Ok(Tensor::from_data(TensorData::new(embeds.to_vec(), shape), &self.model.device()))
    }

    /// The ids of a text, padded, and how many are not padding.
    fn ids(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let encoding = self.tokenizer.encode(text, self.max_ids).map_err(network)?;
        let used = used(&encoding.attention_mask);
        Ok((encoding.ids, used))
    }
}

/// How many ids are not padding.
fn used(attention_mask: &[u8]) -> usize {
    attention_mask.iter().rposition(|&used| used > 0).map_or(1, |last| last + 1)
}

fn numbers(x: Tensor<2>) -> Result<Vec<f32>> {
    x.try_into_vec_as::<f32>().map_err(network)
}

fn network(error: impl ToString) -> FeatureError {
    FeatureError::Network { network: "clip", message: error.to_string() }
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> FeatureError {
    network(format!("{}: {error}", path.display()))
}

/// `config.json` with its path.
fn read_config(folder: &Path) -> Result<(ClipConfig, PathBuf)> {
    let path = folder.join("config.json");
    let json = read_json(&path)?.ok_or_else(|| {
        FeatureError::set(folder, format!("the folder of a {CLASS}"), "no config.json in it")
    })?;
    let names = json["architectures"].as_array().map(Vec::as_slice).unwrap_or_default();
    if json["model_type"] != "clip" && !names.iter().any(|name| name == CLASS) {
        let found = names.first().unwrap_or(&json["model_type"]).to_string();
        return Err(FeatureError::set(&path, format!("the config of a {CLASS}"), found));
    }
    let config = serde_json::from_value(json).map_err(|error| wrong(&path, error))?;
    Ok((config, path))
}

/// The JSON in a file; `None` where there is no such file.
fn read_json(path: &Path) -> Result<Option<Value>> {
    let Ok(file) = std::fs::metadata(path) else { return Ok(None) };
    if file.len() > MAX_CONFIG_BYTES {
        let (most, found) = (format!("at most {MAX_CONFIG_BYTES} bytes"), file.len().to_string());
        return Err(FeatureError::set(path, most, found));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(path, error))?;
    serde_json::from_slice(&python_numbers(&bytes)).map(Some).map_err(|error| wrong(path, error))
}

/// The folder's tokenizer, or CLIP's own where it brings none.
fn tokenizer(folder: &Path, hidden_act: &str) -> Result<Tokenizer> {
    let own = ["tokenizer.json", "vocab.json"].iter().any(|name| folder.join(name).is_file());
    // OpenCLIP's encoders were trained with another padding than OpenAI's.
    let pad = if hidden_act == "gelu" { ClipPad::Bang } else { ClipPad::EndOfText };
    match own {
        true => Tokenizer::open_as(folder, Some("CLIPTokenizer")).map_err(network),
        false => Tokenizer::clip(pad).map_err(network),
    }
}
