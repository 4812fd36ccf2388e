//! Single files: the whole pipeline in one state dict under CompVis' or SGM's names.

mod infer;
mod schedulers;
mod table;
mod write;

pub use write::to_single_file;

use super::{Checkpoint, Layout, Part, Prediction, Preferences, names};
use crate::{Dtype, Entry, FormatError, Result, StateDict, json};
use infer::Names;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use table::Table;

/// Where the parts begin.
pub(super) const UNET: &str = "model.diffusion_model.";
pub(super) const VAE: &str = "first_stage_model.";
const CLIP: &str = "cond_stage_model.transformer.";
const OPEN_CLIP: &str = "cond_stage_model.model.";
const XL_CLIP: &str = "conditioner.embedders.0.transformer.";
const XL_OPEN_CLIP: &str = "conditioner.embedders.1.model.";
const REFINER: &str = "conditioner.embedders.0.model.";

/// The metadata of a safetensors file in which [`to_single_file`] keeps the configurations, so that
/// nothing has to be inferred of what it wrote.
const CONFIGS: &str = "sumi.checkpoint";

/// Blocks of OpenCLIP-H's text model, the last of which Stable Diffusion 2 does not run.
const OPEN_CLIP_H_BLOCKS: usize = 24;

/// The text encoders of a single file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Clip,
    Bert,
    OpenClip,
    Xl,
}

/// Opens a file of tensors as a pipeline.
pub(super) fn open(path: &Path, preferences: &Preferences) -> Result<Checkpoint> {
    let mut state = StateDict::open(path)?;
    if !state.has_prefix(UNET) && state.has_prefix(&format!("state_dict.{UNET}")) {
        state = state.under("state_dict.");
    }
    let text = text_of(path, &state)?;
    let saved = saved(path, &state)?;
    let mut single = Single { path, preferences, text, saved, state, assumed: Vec::new() };
    let mut parts = BTreeMap::new();
    let (unet, vae) = (single.unet()?, single.vae()?);
    let upscaler = unet.config["in_channels"] == 7;
    let class = class_of(text, &unet.config);
    parts.insert("unet".to_owned(), unet);
    parts.insert("vae".to_owned(), vae);
    parts.extend(single.text_parts()?);
    parts.extend(single.schedulers(upscaler)?);
    let index = match text {
        Text::Xl => json!({"force_zeros_for_empty_prompt": true, "add_watermarker": null}),
        _ => json!({"requires_safety_checker": false}),
    };
    let saved = single.saved;
    Ok(Checkpoint {
        path: path.to_owned(),
        layout: Layout::SingleFile,
        class: saved.as_ref().map_or(class.to_owned(), |saved| saved.class.clone()),
        index: saved.map_or(index.as_object().cloned().unwrap_or_default(), |saved| saved.index),
        parts,
        left_out: left_out(&single.state, text),
        assumed: single.assumed,
    })
}

/// Which text encoders a file holds, and whether it is a pipeline at all.
fn text_of(path: &Path, state: &StateDict) -> Result<Text> {
    let pipeline = "a pipeline with the names of Stable Diffusion";
    if !state.has_prefix(UNET) {
        let found = match state.names().next() {
            Some(name) => format!("tensors such as `{name}`, none of them in {UNET}*"),
            None => "no tensor".to_owned(),
        };
        return Err(FormatError::incomplete(path, pipeline, found));
    }
    if !state.has_prefix(VAE) {
        let expected = format!("the component vae, in {VAE}*");
        return Err(FormatError::incomplete(path, expected, "no such tensor"));
    }
    if state.has_prefix(REFINER) {
        let found = "the refiner of Stable Diffusion XL";
        return Err(FormatError::unsupported(path, "the pipeline", None, "its base", found));
    }
    if state.has_prefix(XL_OPEN_CLIP) && state.has_prefix(XL_CLIP) {
        return Ok(Text::Xl);
    }
    if state.has_prefix(OPEN_CLIP) {
        return Ok(Text::OpenClip);
    }
    if state.has_prefix(CLIP) {
        let bert = format!("{CLIP}embeddings.word_embeddings.weight");
        let bert = state.contains(&bert) || state.has_prefix(&format!("{CLIP}bert."));
        return Ok(if bert { Text::Bert } else { Text::Clip });
    }
    let expected = "the component text_encoder, in cond_stage_model.* or conditioner.embedders.*";
    Err(FormatError::incomplete(path, expected, "no such tensor"))
}

/// The pipeline's class by what its network takes in.
fn class_of(text: Text, unet: &Value) -> &'static str {
    match (text, unet["in_channels"].as_u64()) {
        (Text::Xl, Some(9)) => "StableDiffusionXLInpaintPipeline",
        (Text::Xl, _) => "StableDiffusionXLPipeline",
        (_, Some(5)) => "StableDiffusionDepth2ImgPipeline",
        (_, Some(7)) => "StableDiffusionUpscalePipeline",
        (_, Some(8)) => "StableDiffusionInstructPix2PixPipeline",
        (_, Some(9)) => "StableDiffusionInpaintPipeline",
        _ => "StableDiffusionPipeline",
    }
}

/// The tensors that no part takes, by the first word of their names.
fn left_out(state: &StateDict, text: Text) -> Vec<String> {
    let used: &[&str] = match text {
        Text::Clip | Text::Bert => &[UNET, VAE, CLIP],
        Text::OpenClip => &[UNET, VAE, OPEN_CLIP],
        Text::Xl => &[UNET, VAE, XL_CLIP, XL_OPEN_CLIP],
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in state.names().filter(|name| !used.iter().any(|prefix| name.starts_with(prefix))) {
        *counts.entry(name.split('.').next().unwrap_or(name)).or_default() += 1;
    }
    counts.into_iter().map(|(word, count)| format!("{word} ({count} tensors)")).collect()
}

/// The configurations that Sumi keeps in the files it writes.
#[derive(serde::Deserialize, serde::Serialize)]
pub(super) struct Saved {
    class: String,
    index: Map<String, Value>,
    parts: BTreeMap<String, SavedPart>,
}

/// One part's.
#[derive(serde::Deserialize, serde::Serialize)]
pub(super) struct SavedPart {
    library: String,
    class: String,
    config: Value,
}

fn saved(path: &Path, state: &StateDict) -> Result<Option<Saved>> {
    let Some(text) = state.metadata().get(CONFIGS) else { return Ok(None) };
    if text.len() as u64 > crate::MAX_CONFIG_BYTES {
        let (limit, found) = (crate::MAX_CONFIG_BYTES, text.len() as u64);
        return Err(FormatError::too_large(path, CONFIGS, limit, found));
    }
    json::parse(path, text.as_bytes()).map(Some)
}

/// A file that is being taken apart.
struct Single<'a> {
    path: &'a Path,
    preferences: &'a Preferences,
    text: Text,
    saved: Option<Saved>,
    state: StateDict,
    assumed: Vec<String>,
}

impl Single<'_> {
    /// The side of the pictures that the family was trained on, in pixels.
    fn size_px(&mut self) -> Result<usize> {
        Ok(match self.text {
            Text::Clip | Text::Bert => 512,
            Text::Xl => 1024,
            Text::OpenClip => match self.prediction()? {
                Prediction::V => 768,
                _ => 512,
            },
        })
    }

    /// A configuration that was saved, in place of one that would be inferred.
    fn config(&self, part: &str, inferred: Map<String, Value>) -> Value {
        let saved = self.saved.as_ref().and_then(|saved| saved.parts.get(part));
        saved.map_or(Value::Object(inferred), |saved| saved.config.clone())
    }

    fn part(&self, name: &str, library: &str, class: &str, config: Value) -> Part {
        let saved = self.saved.as_ref().and_then(|saved| saved.parts.get(name));
        let (library, class) = saved.map_or((library.to_owned(), class.to_owned()), |saved| {
            (saved.library.clone(), saved.class.clone())
        });
        Part { library, class, config, weights: None, folder: None }
    }

    fn unet(&mut self) -> Result<Part> {
        let state = self.state.under(UNET);
        let upscaler = state.contains("label_emb.weight");
        let sample_size = if upscaler { 128 } else { self.size_px()? / 8 };
        let names = Names { path: self.path, part: "unet", state: &state };
        let (blocks, mut config) = infer::unet(&names, sample_size)?;
        if self.text == Text::Xl {
            let width = names.dim("label_emb.0.0.weight", 1)?;
            let pooled = self.state.get(&format!("{XL_OPEN_CLIP}text_projection"));
            let pooled = pooled.and_then(|entry| entry.shape().get(1).copied()).unwrap_or(0);
            // Six numbers on size, crop and target join the pooled text, each a sinusoid.
            let each = width.saturating_sub(pooled) / 6;
            config.insert("addition_embed_type".into(), "text_time".into());
            config.insert("addition_time_embed_dim".into(), each.into());
            config.insert("projection_class_embeddings_input_dim".into(), width.into());
        }
        if self.text == Text::OpenClip && !upscaler && self.prediction()? == Prediction::V {
            config.insert("upcast_attention".into(), true.into());
        }
        let weights = translated(&state, &Table::unet(&blocks))?;
        let config = self.config("unet", config);
        let part = self.part("unet", "diffusers", "UNet2DConditionModel", config);
        Ok(Part { weights: Some(weights), ..part })
    }

    fn vae(&mut self) -> Result<Part> {
        let state = self.state.under(VAE);
        let size_px = self.size_px()?;
        let upscaler = self.state.contains(&format!("{UNET}label_emb.weight"));
        let scale = match self.text {
            Text::Xl => 0.13025,
            _ if upscaler => 0.08333,
            _ => 0.18215,
        };
        let names = Names { path: self.path, part: "vae", state: &state };
        let (levels, layers, mut config) = infer::vae(&names, size_px, scale)?;
        if self.text == Text::Xl {
            config.insert("force_upcast".into(), true.into());
        }
        let weights = translated(&state, &Table::vae(levels, layers))?.mapped(|name, entry| {
            match name.contains(".attentions.") {
                true => names::matrix(entry),
                false => entry.clone(),
            }
        });
        let config = self.config("vae", config);
        let part = self.part("vae", "diffusers", "AutoencoderKL", config);
        Ok(Part { weights: Some(weights), ..part })
    }

    /// The text encoders and their tokenizers.
    fn text_parts(&mut self) -> Result<Vec<(String, Part)>> {
        let clip = "CLIPTextModel";
        Ok(match self.text {
            Text::Clip => {
                let state = names::present(self.state.under(CLIP), clip)?;
                self.text_part(["text_encoder", "tokenizer"], state, "quick_gelu", clip)?
            }
            Text::Bert => {
                let state = names::present(self.state.under(CLIP), "BertModel")?;
                self.text_part(["text_encoder", "tokenizer"], state, "gelu", "BertModel")?
            }
            Text::OpenClip => {
                let state = open_clip(self.path, &self.state.under(OPEN_CLIP), true)?;
                self.text_part(["text_encoder", "tokenizer"], state, "gelu", clip)?
            }
            Text::Xl => {
                let state = names::present(self.state.under(XL_CLIP), clip)?;
                let second = open_clip(self.path, &self.state.under(XL_OPEN_CLIP), false)?;
                let class = "CLIPTextModelWithProjection";
                let names = ["text_encoder_2", "tokenizer_2"];
                let mut parts =
                    self.text_part(["text_encoder", "tokenizer"], state, "quick_gelu", clip)?;
                parts.extend(self.text_part(names, second, "gelu", class)?);
                parts
            }
        })
    }

    fn text_part(
        &self,
        [encoder, tokenizer]: [&'static str; 2],
        state: StateDict,
        act: &str,
        class: &str,
    ) -> Result<Vec<(String, Part)>> {
        let names = Names { path: self.path, part: encoder, state: &state };
        let (config, kind) = match class {
            "BertModel" => (infer::bert(&names)?, "BertTokenizer"),
            _ => (infer::clip_text(&names, act, class)?, "CLIPTokenizer"),
        };
        // OpenCLIP fills up with the id 0, which is "!", CLIP-L with the end of the text.
        let pad = if act == "gelu" { "!" } else { "<|endoftext|>" };
        let end = "<|endoftext|>";
        let tokens = match class {
            "BertModel" => json!({"model_max_length": 512}),
            _ => json!({
                "bos_token": "<|startoftext|>", "eos_token": end, "model_max_length": 77,
                "pad_token": pad, "unk_token": end,
            }),
        };
        let tokens = self.config(tokenizer, tokens.as_object().cloned().unwrap_or_default());
        let tokens = self.part(tokenizer, "transformers", kind, tokens);
        let config = self.config(encoder, config);
        let part = self.part(encoder, "transformers", class, config);
        let part = Part { weights: Some(state), ..part };
        Ok(vec![(encoder.to_owned(), part), (tokenizer.to_owned(), tokens)])
    }
}

/// The tensors that a table knows under their names in folders; what it does not know, such as the
/// averages that some autoencoders hold, is left out.
fn translated(state: &StateDict, table: &Table) -> Result<StateDict> {
    let translation = table.to_folder();
    state.clone().renamed(|name| translation.of(name))
}

/// OpenCLIP's text model under CLIP's names: one matrix of queries, keys and values becomes three,
/// and the projection, which stands there as it multiplies from the right, is transposed.
fn open_clip(path: &Path, state: &StateDict, penultimate: bool) -> Result<StateDict> {
    let layers = Names { path, part: "text_encoder", state }.count("transformer.resblocks.");
    // Of the published model, diffusers keeps what Stable Diffusion 2 runs.
    let kept = if penultimate && layers == OPEN_CLIP_H_BLOCKS { layers - 1 } else { layers };
    let translation = Table::open_clip(kept).to_folder();
    let mut found: Vec<(String, Entry)> = Vec::new();
    let cannot = |name: &str, expected: &str, entry: &Entry| {
        FormatError::malformed(path, name, None, expected, format!("{:?}", entry.shape()))
    };
    for (name, entry) in state.iter() {
        let block = name.strip_prefix("transformer.resblocks.").and_then(|rest| {
            let (layer, rest) = rest.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            (layer < kept).then_some((layer, rest.strip_prefix("attn.in_proj_")?))
        });
        if let Some((layer, kind)) = block {
            let width = entry.shape().first().copied().unwrap_or(0) / 3;
            for (index, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
                let rows = entry.rows(index * width, width);
                let rows = rows.filter(|_| entry.shape()[0] == 3 * width);
                let rows = rows.ok_or_else(|| cannot(name, "three matrices of rows", entry))?;
                let ours =
                    format!("text_model.encoder.layers.{layer}.self_attn.{projection}.{kind}");
                found.push((ours, rows));
            }
        } else if name == "positional_embedding" {
            let ours = "text_model.embeddings.position_embedding.weight".to_owned();
            found.push((ours, entry.clone()));
        } else if name == "text_projection" {
            if !penultimate {
                let turned = entry.transposed().ok_or_else(|| cannot(name, "a matrix", entry))?;
                found.push(("text_projection.weight".to_owned(), turned));
            }
        } else if name == "text_projection.weight" && !penultimate {
            found.push((name.to_owned(), entry.clone()));
        } else if let Some(ours) = translation.of(name) {
            found.push((ours, entry.clone()));
        }
    }
    Ok(found.into_iter().collect())
}

/// The standard deviation of a tensor.
fn deviation(entry: &Entry, name: &str) -> Result<f64> {
    let mut values = Vec::new();
    crate::state::widen(Dtype::F32, entry.floats(name, Dtype::F32)?.as_bytes(), &mut values);
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let square = |&x: &f32| (f64::from(x) - mean).powi(2);
    Ok((values.iter().map(square).sum::<f64>() / count).sqrt())
}
