//! Configurations from tensor names and shapes.

use super::table::UNetBlocks;
use crate::{FormatError, Result, StateDict};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The width of an attention head wherever single files do not fix the number of heads.
const HEAD_DIM: usize = 64;

/// The heads of Stable Diffusion 1's U-Net and of the upscaler's, on every level.
const SD1_HEADS: usize = 8;

/// Groups of every normalisation of the published networks.
const NORM_GROUPS: usize = 32;

/// The most levels or blocks that are looked for, far past any published network.
const MAX_COUNT: usize = 256;

/// A network's tensors under a single file's names, without the prefix of the part.
pub(super) struct Names<'a> {
    pub path: &'a Path,
    pub part: &'static str,
    pub state: &'a StateDict,
}

impl Names<'_> {
    /// One dimension of a tensor.
    pub fn dim(&self, name: &str, axis: usize) -> Result<usize> {
        self.state.get(name).and_then(|entry| entry.shape().get(axis).copied()).ok_or_else(|| {
            let expected = format!("the {}, with the tensor {name} in its names", self.part);
            FormatError::incomplete(self.path, expected, "none of at least that rank")
        })
    }

    /// How many of `prefix0.`, `prefix1.`, .. there are.
    pub fn count(&self, prefix: &str) -> usize {
        let held = |n: &usize| self.state.has_prefix(&format!("{prefix}{n}."));
        (0..MAX_COUNT).take_while(held).count()
    }

    fn unlike(&self, field: &str, expected: &str, found: String) -> FormatError {
        FormatError::unsupported(
            self.path,
            &format!("{} {field}", self.part),
            None,
            expected,
            found,
        )
    }
}

/// The largest number of groups, at most the published one, that divides all channels.
fn norm_groups(channels: &[usize]) -> usize {
    let divides = |groups: &usize| channels.iter().all(|c| c % groups == 0);
    (0..=NORM_GROUPS.ilog2()).rev().map(|power| 1 << power).find(divides).unwrap_or(1)
}

fn heads(width: usize) -> usize {
    (width / HEAD_DIM).max(1)
}

/// A level of a U-Net.
struct Level {
    channels: usize,
    layers: usize,
    /// Transformer blocks of each of its attentions.
    depth: usize,
}

/// The levels on the way down, in order.
fn unet_levels(names: &Names) -> Result<Vec<Level>> {
    let mut levels = vec![Level { channels: 0, layers: 0, depth: 0 }];
    for input in 1..MAX_COUNT {
        let block = format!("input_blocks.{input}");
        if names.state.has_prefix(&format!("{block}.0.op.")) {
            levels.push(Level { channels: 0, layers: 0, depth: 0 });
        } else if names.state.has_prefix(&format!("{block}.0.in_layers.")) {
            let channels = names.dim(&format!("{block}.0.out_layers.3.weight"), 0)?;
            let depth = names.count(&format!("{block}.1.transformer_blocks."));
            let last = levels.len() - 1;
            let level = &mut levels[last];
            if level.layers > 0 && (level.channels, level.depth) != (channels, depth) {
                let found = format!("{channels} channels and a depth of {depth} in {block}");
                return Err(names.unlike("level", "residual blocks alike", found));
            }
            *level = Level { channels, layers: level.layers + 1, depth };
        } else {
            break;
        }
    }
    let layers = levels[0].layers;
    match layers > 0 && levels.iter().all(|level| level.layers == layers) {
        true => Ok(levels),
        false => {
            let found = levels.iter().map(|level| level.layers.to_string()).collect::<Vec<_>>();
            let found = format!("{} of them", found.join(", "));
            Err(names.unlike("levels", "as many residual blocks on every level", found))
        }
    }
}

/// The configuration of a U-Net, and what numbers its names.
pub(super) fn unet(names: &Names, sample_size: usize) -> Result<(UNetBlocks, Map<String, Value>)> {
    let levels = unet_levels(names)?;
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let attention: Vec<bool> = levels.iter().map(|level| level.depth > 0).collect();
    let mid = "middle_block.1";
    let mid_depth = names.count(&format!("{mid}.transformer_blocks."));
    let key = format!("{mid}.transformer_blocks.0.attn2.to_k.weight");
    let context = names.dim(&key, 1)?;
    let linear =
        names.state.get(&format!("{mid}.proj_in.weight")).map(|w| w.shape().len()) == Some(2);
    // The upscaler, which alone is told how noisy its small picture is, has eight heads too.
    let head_dim = match linear && !names.state.contains("label_emb.weight") {
        true => json!(channels.iter().map(|&c| heads(c)).collect::<Vec<_>>()),
        false => json!(SD1_HEADS),
    };
    let typed = |attended: &'static str, plain: &'static str| {
        let of = move |&attention: &bool| if attention { attended } else { plain };
        attention.iter().map(of).collect::<Vec<&str>>()
    };
    let down = typed("CrossAttnDownBlock2D", "DownBlock2D");
    let mut up = typed("CrossAttnUpBlock2D", "UpBlock2D");
    up.reverse();
    let config = json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": head_dim,
        "block_out_channels": channels,
        "center_input_sample": false,
        "cross_attention_dim": context,
        "down_block_types": down,
        "downsample_padding": 1,
        "dual_cross_attention": false,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "in_channels": names.dim("input_blocks.0.0.weight", 1)?,
        "layers_per_block": levels[0].layers,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "norm_num_groups": norm_groups(&channels),
        "num_class_embeds": names.state.get("label_emb.weight").and_then(|e| e.shape().first()),
        "only_cross_attention": only_cross_attention(names, &levels, context),
        "out_channels": names.dim("out.2.weight", 0)?,
        "sample_size": sample_size,
        "transformer_layers_per_block": depths(&levels, mid_depth),
        "up_block_types": up,
        "use_linear_projection": linear,
    });
    let blocks = UNetBlocks { layers: levels[0].layers, attention };
    Ok((blocks, config.as_object().cloned().unwrap_or_default()))
}

/// One depth where all are alike, else one for each level, where a level without attention counts
/// one; the middle block has the depth of the last.
fn depths(levels: &[Level], mid: usize) -> Value {
    let mut depths: Vec<usize> = levels.iter().map(|level| level.depth.max(1)).collect();
    let last = depths.len() - 1;
    if levels[last].depth == 0 {
        depths[last] = mid.max(1);
    }
    match depths.iter().all(|&depth| depth == depths[0]) {
        true => json!(depths[0]),
        false => json!(depths),
    }
}

/// Whether the first attention of each level looks at the text too, as the upscaler's do: its keys
/// are then as wide as the text. One value where all levels are alike.
fn only_cross_attention(names: &Names, levels: &[Level], context: usize) -> Value {
    let per_level = 1 + levels[0].layers;
    let of_level = |(index, level): (usize, &Level)| {
        let block = format!("input_blocks.{}.1.transformer_blocks.0", 1 + index * per_level);
        let key = names.state.get(&format!("{block}.attn1.to_k.weight"));
        let width = key.and_then(|key| key.shape().get(1).copied());
        level.depth > 0 && level.channels != context && width == Some(context)
    };
    let only: Vec<bool> = levels.iter().enumerate().map(of_level).collect();
    match only.iter().any(|&only| only) {
        true => json!(only),
        false => json!(false),
    }
}

/// The configuration of an autoencoder, its levels and its residual blocks on each.
pub(super) fn vae(
    names: &Names,
    sample_size: usize,
    scaling_factor: f64,
) -> Result<(usize, usize, Map<String, Value>)> {
    let levels = names.count("encoder.down.");
    let layers = names.count("encoder.down.0.block.");
    let channels = (0..levels)
        .map(|level| names.dim(&format!("encoder.down.{level}.block.0.conv2.weight"), 0))
        .collect::<Result<Vec<usize>>>()?;
    let config = json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "in_channels": names.dim("encoder.conv_in.weight", 1)?,
        "latent_channels": names.dim("decoder.conv_in.weight", 1)?,
        "layers_per_block": layers,
        "norm_num_groups": norm_groups(&channels),
        "out_channels": names.dim("decoder.conv_out.weight", 0)?,
        "sample_size": sample_size,
        "scaling_factor": scaling_factor,
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
    });
    Ok((levels, layers, config.as_object().cloned().unwrap_or_default()))
}

/// The configuration of a CLIP text model, from its names in folders.
pub(super) fn clip_text(names: &Names, act: &str, class: &str) -> Result<Map<String, Value>> {
    let layer = "text_model.encoder.layers.";
    let token = "text_model.embeddings.token_embedding.weight";
    let width = names.dim(token, 1)?;
    let projection = names.state.get("text_projection.weight").map(|entry| entry.shape()[0]);
    let config = json!({
        "architectures": [class],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        // The published files all have this wrong number, at which transformers takes the end of
        // the text for the highest id, which it is.
        "eos_token_id": 2,
        "hidden_act": act,
        "hidden_size": width,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": names.dim(&format!("{layer}0.mlp.fc1.weight"), 0)?,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings":
            names.dim("text_model.embeddings.position_embedding.weight", 0)?,
        "model_type": "clip_text_model",
        "num_attention_heads": heads(width),
        "num_hidden_layers": names.count(layer),
        "pad_token_id": 1,
        "projection_dim": projection.unwrap_or(match act {
            "gelu" => width / 2,
            _ => width,
        }),
        "vocab_size": names.dim(token, 0)?,
    });
    Ok(config.as_object().cloned().unwrap_or_default())
}

/// The configuration of a BERT.
pub(super) fn bert(names: &Names) -> Result<Map<String, Value>> {
    let word = "embeddings.word_embeddings.weight";
    let width = names.dim(word, 1)?;
    let config = json!({
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": names.dim("encoder.layer.0.intermediate.dense.weight", 0)?,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": names.dim("embeddings.position_embeddings.weight", 0)?,
        "model_type": "bert",
        "num_attention_heads": heads(width),
        "num_hidden_layers": names.count("encoder.layer."),
        "pad_token_id": 0,
        "type_vocab_size": names.dim("embeddings.token_type_embeddings.weight", 0)?,
        "vocab_size": names.dim(word, 0)?,
    });
    Ok(config.as_object().cloned().unwrap_or_default())
}
