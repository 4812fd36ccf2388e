//! Text-to-image checkpoints, in either layout, and files of tensors that belong to one.

use crate::error::CliError;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use sumi_formats::StateDict;
use sumi_formats::checkpoint::{Checkpoint, Part};

/// Whether a folder is a pipeline that draws from text.
pub fn is_pipeline(folder: &Path) -> bool {
    let index = std::fs::read(folder.join("model_index.json")).ok();
    let index = index.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    index.is_some_and(|index| {
        index.contains_key("text_encoder") || index["unet"][1] == "UNet2DConditionModel"
    })
}

/// Whether a file's tensors are those of a pipeline.
pub fn is_single_file(state: &StateDict) -> bool {
    ["", "state_dict."]
        .iter()
        .any(|front| state.has_prefix(&format!("{front}model.diffusion_model.")))
}

/// What a pipeline is and how many numbers each of its components holds.
pub fn pipeline(path: &Path) -> Result<Value, CliError> {
    let checkpoint = Checkpoint::open(path)?;
    let components: Map<String, Value> =
        checkpoint.parts.iter().map(|(name, part)| (name.clone(), component(part))).collect();
    let prediction = checkpoint.parts.get("scheduler").map(|part| {
        // Where nothing is said, diffusers' schedulers take it for the noise.
        part.config["prediction_type"].as_str().unwrap_or("epsilon").to_owned()
    });
    let states = || checkpoint.parts.values().filter_map(|part| part.weights.as_ref());
    let kind = if path.is_file() { "single-file checkpoint" } else { "pipeline folder" };
    let inputs = checkpoint.parts.get("unet").map(|unet| unet.config["in_channels"].clone());
    Ok(json!({
        "kind": kind,
        "path": path,
        "family": checkpoint.family().name(),
        "task": task(&checkpoint.class, inputs.and_then(|channels| channels.as_u64())),
        "class": checkpoint.class,
        "prediction": prediction,
        "assumed": checkpoint.assumed.join("; "),
        "left_out": checkpoint.left_out.join(", "),
        "parameters": states().map(StateDict::parameters).sum::<u64>(),
        "bytes": checkpoint.bytes(None),
        "components": components,
    }))
}

/// What the network draws from, by what it takes in.
fn task(class: &str, inputs: Option<u64>) -> &'static str {
    match inputs {
        Some(9) => "inpainting",
        Some(8) => "editing by instruction",
        Some(7) => "upscaling",
        _ if class.contains("Upscale") => "upscaling",
        _ => "text to image",
    }
}

fn component(part: &Part) -> Value {
    let mut found = json!({"class": part.class});
    if let Some(state) = &part.weights {
        found["parameters"] = state.parameters().into();
        found["tensors"] = state.len().into();
        found["dtypes"] = json!(dtypes(state));
    }
    // What tells networks of one class apart.
    for key in [
        "in_channels",
        "cross_attention_dim",
        "block_out_channels",
        "hidden_size",
        "num_hidden_layers",
        "latent_channels",
        "scaling_factor",
    ] {
        if let Some(value) = part.config.get(key).filter(|value| !value.is_null()) {
            found[key] = value.clone();
        }
    }
    found
}

/// How many tensors there are of each type.
pub fn dtypes(state: &StateDict) -> BTreeMap<&'static str, usize> {
    let mut dtypes = BTreeMap::new();
    for (_, entry) in state.iter() {
        *dtypes.entry(entry.dtype().name()).or_default() += 1;
    }
    dtypes
}

/// What the tensors of a file are, as far as their names tell.
pub fn guess(state: &StateDict) -> Option<&'static str> {
    let ends = |ending: &str| state.names().any(|name| name.ends_with(ending));
    let has = |prefix: &str| state.has_prefix(prefix);
    Some(match () {
        () if ends(".lora_down.weight") || ends(".lora_A.weight") || ends("_lora.down.weight") => {
            "LoRA"
        }
        () if has("down_blocks.") && has("mid_block.") && has("time_embedding.") => {
            if ends(".attn2.to_k.weight") { "UNet2DConditionModel" } else { "UNet2DModel" }
        }
        () if has("decoder.") && has("encoder.") && has("post_quant_conv.") => "AutoencoderKL",
        () if has("text_model.") || has("embeddings.token_embedding.") => "CLIPTextModel",
        () if has("embeddings.word_embeddings.") || has("bert.embeddings.") => "BertModel",
        () if has("shared.") && has("encoder.block.") => "T5EncoderModel",
        () => return None,
    })
}

/// A component's folder: its class and its tensors.
pub fn component_folder(folder: &Path, config: &Value) -> Result<Option<Value>, CliError> {
    let class = config["_class_name"].as_str().or_else(|| config["architectures"][0].as_str());
    let Some(class) = class else { return Ok(None) };
    let state = sumi_formats::checkpoint::open_component(folder, class)?;
    let part = Part {
        library: String::new(),
        class: class.to_owned(),
        config: config.clone(),
        weights: Some(state),
        folder: Some(folder.to_owned()),
        files: BTreeMap::new(),
    };
    Ok(Some(
        json!({"kind": "component folder", "path": folder, "components": {class: component(&part)}}),
    ))
}
