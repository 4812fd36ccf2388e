//! The present names of tensors that older versions of diffusers and transformers, or others,
//! saved under different ones.

use crate::{Entry, Result, StateDict};
use std::collections::BTreeSet;

/// The tensors of a component of this class under the names of today.
///
/// # Errors
/// Two tensors of one name.
pub(super) fn present(state: StateDict, class: &str) -> Result<StateDict> {
    let state = match class {
        "CLIPTextModel" | "CLIPTextModelWithProjection" => clip_text(state, class)?,
        "CLIPModel" => clip(state)?,
        "BertModel" => bert(state)?,
        "T5EncoderModel" => t5_encoder(state)?,
        "UNet2DModel" | "UNet2DConditionModel" | "AutoencoderKL" => diffusers(state)?,
        _ => state,
    };
    Ok(state)
}

/// The present name of a tensor of a U-Net or an autoencoder. Attention was once saved as `query`,
/// `key`, `value` and `proj_attn`, as in the published DDPM checkpoints.
pub fn present_name(name: &str) -> String {
    if !name.contains("attentions.") {
        return name.to_owned();
    }
    let mut name = name.to_owned();
    for (old, present) in [
        (".query.", ".to_q."),
        (".key.", ".to_k."),
        (".value.", ".to_v."),
        (".proj_attn.", ".to_out.0."),
    ] {
        name = name.replace(old, present);
    }
    name
}

/// Attention under its present names, and its projections as matrices, which were 1 x 1
/// convolutions before.
fn diffusers(state: StateDict) -> Result<StateDict> {
    let renamed = |name: &&str| present_name(name) != **name;
    let old: BTreeSet<String> = state.names().filter(renamed).map(present_name).collect();
    let state = state.renamed(|name| Some(present_name(name)))?;
    if old.is_empty() {
        return Ok(state);
    }
    Ok(state.mapped(|name, entry| match old.contains(name) {
        true => matrix(entry),
        false => entry.clone(),
    }))
}

/// A 1 x 1 convolution as the matrix that it is; anything else as it is.
pub(super) fn matrix(entry: &Entry) -> Entry {
    match entry.shape() {
        [rows, columns, 1] | [rows, columns, 1, 1] => {
            entry.reshaped(&[*rows, *columns]).unwrap_or_else(|| entry.clone())
        }
        _ => entry.clone(),
    }
}

/// Whether a tensor counts positions or token types, which code makes and old files also hold.
fn is_counter(name: &str) -> bool {
    name.ends_with("position_ids") || name.ends_with("token_type_ids")
}

/// CLIP's text model: `text_model.` in front, which transformers 5 leaves out, and neither its
/// vision half nor a projection that the class does not have.
fn clip_text(state: StateDict, class: &str) -> Result<StateDict> {
    let bare = !state.names().any(|name| name.starts_with("text_model."));
    state.renamed(|name| {
        let foreign = ["vision_model.", "visual_projection.", "logit_scale"];
        if is_counter(name) || foreign.iter().any(|prefix| name.starts_with(prefix)) {
            return None;
        }
        if name.starts_with("text_projection") {
            return (class == "CLIPTextModelWithProjection").then(|| name.to_owned());
        }
        match bare {
            true => Some(format!("text_model.{name}")),
            false => Some(name.to_owned()),
        }
    })
}

/// CLIP's both halves: a scalar is a list of one.
fn clip(state: StateDict) -> Result<StateDict> {
    let state = state.renamed(|name| (!is_counter(name)).then(|| name.to_owned()))?;
    Ok(state.mapped(|_, entry| match entry.shape() {
        [] => entry.reshaped(&[1]).unwrap_or_else(|| entry.clone()),
        _ => entry.clone(),
    }))
}

/// BERT: without `bert.` in front and without the heads of its training; LayerNorm's `gamma` and
/// `beta`, of files that came from TensorFlow, are `weight` and `bias`.
fn bert(state: StateDict) -> Result<StateDict> {
    let prefixed = state.names().any(|name| name.starts_with("bert."));
    state.renamed(|name| {
        if is_counter(name) || name.starts_with("cls.") {
            return None;
        }
        let name = match prefixed {
            true => name.strip_prefix("bert.")?,
            false => name,
        };
        Some(
            name.replace("LayerNorm.gamma", "LayerNorm.weight")
                .replace("LayerNorm.beta", "LayerNorm.bias"),
        )
    })
}

/// T5's encoder: the embedding once, under `shared.weight`, and no decoder.
fn t5_encoder(state: StateDict) -> Result<StateDict> {
    let shared = state.contains("shared.weight");
    state.renamed(|name| match name {
        "encoder.embed_tokens.weight" if shared => None,
        "encoder.embed_tokens.weight" => Some("shared.weight".to_owned()),
        name if name.starts_with("decoder.") || name.starts_with("lm_head.") => None,
        name => Some(name.to_owned()),
    })
}
