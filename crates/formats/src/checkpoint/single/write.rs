//! The way back: a pipeline's tensors under a single file's names.

use super::table::{Table, UNetBlocks};
use super::{CLIP, CONFIGS, OPEN_CLIP, Saved, SavedPart, UNET, VAE, XL_CLIP, XL_OPEN_CLIP};
use crate::checkpoint::{Checkpoint, Family, Part, save};
use crate::{Entry, FormatError, Result, StateDict};
use serde_json::Value;
use std::collections::BTreeMap;

/// What fails where a configuration is no JSON.
const COMPOSE: &str = "compose the configurations";

/// The tensors of a pipeline under the names of CompVis (Stable Diffusion 1 and 2) or SGM (XL), and
/// the metadata in which their configurations are kept.
///
/// # Errors
/// A pipeline that has no single-file form, or whose networks the form cannot tell.
pub fn to_single_file(checkpoint: &Checkpoint) -> Result<(StateDict, BTreeMap<String, String>)> {
    let mut found = Vec::new();
    let unet = checkpoint.part("unet")?;
    let blocks = unet_blocks(checkpoint, &unet.config)?;
    rename(checkpoint, unet, UNET, &Table::unet(&blocks), &mut found)?;
    let vae = checkpoint.part("vae")?;
    let levels = vae.config["block_out_channels"].as_array().map_or(0, Vec::len);
    let layers = count(checkpoint, &vae.config, "vae", "layers_per_block")?;
    let start = found.len();
    rename(checkpoint, vae, VAE, &Table::vae(levels, layers), &mut found)?;
    found[start..].iter_mut().for_each(|(name, entry)| *entry = convolution(name, entry));
    text(checkpoint, &mut found)?;
    let of_part = |(name, part): (&String, &Part)| {
        let (library, class) = (part.library.clone(), part.class.clone());
        let files = save::small_tokenizer(part)?;
        Ok((name.clone(), SavedPart { library, class, config: part.config.clone(), files }))
    };
    let mut saved = Saved {
        class: checkpoint.class.clone(),
        index: checkpoint.index.clone(),
        parts: checkpoint.parts.iter().map(of_part).collect::<Result<_>>()?,
    };
    let compose = |saved: &Saved| {
        let failed =
            |error: serde_json::Error| FormatError::io(&checkpoint.path, COMPOSE, error.into());
        serde_json::to_string(saved).map_err(failed)
    };
    let mut text = compose(&saved)?;
    if text.len() as u64 > crate::MAX_CONFIG_BYTES {
        // More would not be read back; without its tokenizers the file is like all others.
        saved.parts.values_mut().for_each(|part| part.files.clear());
        text = compose(&saved)?;
    }
    let metadata = [("format".to_owned(), "pt".to_owned()), (CONFIGS.to_owned(), text)];
    Ok((found.into_iter().collect(), metadata.into()))
}

fn cannot(checkpoint: &Checkpoint, field: &str, expected: &str, found: String) -> FormatError {
    FormatError::unsupported(&checkpoint.path, field, None, expected, found)
}

/// A count in a configuration.
fn count(checkpoint: &Checkpoint, config: &Value, part: &str, key: &str) -> Result<usize> {
    let value = &config[key];
    value.as_u64().and_then(|count| usize::try_from(count).ok()).ok_or_else(|| {
        let expected = "one count for all levels in a single file";
        cannot(checkpoint, &format!("{part} {key}"), expected, value.to_string())
    })
}

fn unet_blocks(checkpoint: &Checkpoint, config: &Value) -> Result<UNetBlocks> {
    let layers = match &config["layers_per_block"] {
        Value::Null => 2,
        _ => count(checkpoint, config, "unet", "layers_per_block")?,
    };
    let types = config["down_block_types"].as_array().cloned().unwrap_or_default();
    let attention = types
        .iter()
        .map(|block| match block.as_str() {
            Some("CrossAttnDownBlock2D") => Ok(true),
            Some("DownBlock2D") => Ok(false),
            _ => {
                let expected = "CrossAttnDownBlock2D and DownBlock2D in a single file";
                Err(cannot(checkpoint, "unet down_block_types", expected, block.to_string()))
            }
        })
        .collect::<Result<Vec<bool>>>()?;
    Ok(UNetBlocks { layers, attention })
}

/// The tensors of a part under a table's names.
fn rename(
    checkpoint: &Checkpoint,
    part: &Part,
    prefix: &str,
    table: &Table,
    found: &mut Vec<(String, Entry)>,
) -> Result<()> {
    let translation = table.to_single();
    for (name, entry) in part.weights.iter().flat_map(StateDict::iter) {
        let Some(theirs) = translation.of(name) else {
            let expected = "tensors that have a name in single files";
            return Err(cannot(checkpoint, &part.class, expected, format!("`{name}`")));
        };
        found.push((format!("{prefix}{theirs}"), entry.clone()));
    }
    Ok(())
}

/// The projections around an autoencoder's attention are 1 x 1 convolutions in single files.
fn convolution(name: &str, entry: &Entry) -> Entry {
    match entry.shape() {
        [rows, columns] if name.contains(".mid.attn_1.") => {
            entry.reshaped(&[*rows, *columns, 1, 1]).unwrap_or_else(|| entry.clone())
        }
        _ => entry.clone(),
    }
}

fn text(checkpoint: &Checkpoint, found: &mut Vec<(String, Entry)>) -> Result<()> {
    let first = checkpoint.part("text_encoder")?;
    match checkpoint.family() {
        Family::StableDiffusion1 | Family::Taiyi => plain(first, CLIP, found),
        Family::StableDiffusion2 | Family::Upscaler => {
            open_clip(checkpoint, first, OPEN_CLIP, found)?;
        }
        Family::StableDiffusionXl => {
            plain(first, XL_CLIP, found);
            open_clip(checkpoint, checkpoint.part("text_encoder_2")?, XL_OPEN_CLIP, found)?;
        }
        Family::Other => {
            let expected = "Stable Diffusion 1, 2 or XL, which have single-file forms";
            let found = format!("a {} with a {}", checkpoint.class, first.class);
            return Err(cannot(checkpoint, "the pipeline", expected, found));
        }
    }
    Ok(())
}

fn plain(part: &Part, prefix: &str, found: &mut Vec<(String, Entry)>) {
    let tensors = part.weights.iter().flat_map(StateDict::iter);
    found.extend(tensors.map(|(name, entry)| (format!("{prefix}{name}"), entry.clone())));
}

/// CLIP's names and matrices as OpenCLIP's.
fn open_clip(
    checkpoint: &Checkpoint,
    part: &Part,
    prefix: &str,
    found: &mut Vec<(String, Entry)>,
) -> Result<()> {
    let Some(state) = &part.weights else { return Ok(()) };
    let layers = count(checkpoint, &part.config, "text_encoder", "num_hidden_layers")?;
    let translation = Table::open_clip(layers).to_single();
    let unlike = |name: &str| {
        let expected = "matrices of one size and type for queries, keys and values";
        cannot(checkpoint, name, expected, "others".to_owned())
    };
    for (name, entry) in state.iter() {
        if let Some((block, kind)) = name.split_once(".self_attn.q_proj.") {
            let of = |projection: &str| {
                state.get(&format!("{block}.self_attn.{projection}.{kind}")).cloned()
            };
            let (Some(keys), Some(values)) = (of("k_proj"), of("v_proj")) else {
                return Err(unlike(name));
            };
            let layer = block.strip_prefix("text_model.encoder.layers.").unwrap_or(block);
            let theirs = format!("{prefix}transformer.resblocks.{layer}.attn.in_proj_{kind}");
            let stacked = Entry::stacked(&[entry.clone(), keys, values]);
            found.push((theirs, stacked.ok_or_else(|| unlike(name))?));
        } else if name.contains(".self_attn.k_proj.") || name.contains(".self_attn.v_proj.") {
        } else if name == "text_model.embeddings.position_embedding.weight" {
            found.push((format!("{prefix}positional_embedding"), entry.clone()));
        } else if name == "text_projection.weight" {
            let turned = entry.transposed().ok_or_else(|| unlike(name))?;
            found.push((format!("{prefix}text_projection"), turned));
        } else if let Some(theirs) = translation.of(name) {
            found.push((format!("{prefix}{theirs}"), entry.clone()));
        } else {
            let expected = "tensors that have a name in single files";
            return Err(cannot(checkpoint, &part.class, expected, format!("`{name}`")));
        }
    }
    Ok(())
}
