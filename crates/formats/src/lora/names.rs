//! The other names that a layer goes by.

use std::collections::BTreeMap;

/// Steps of paths that have underscores of their own.
const STEPS: [&str; 34] = [
    "down_blocks",
    "up_blocks",
    "mid_block",
    "transformer_blocks",
    "time_embedding",
    "time_emb_proj",
    "add_embedding",
    "class_embedding",
    "linear_1",
    "linear_2",
    "conv_in",
    "conv_out",
    "conv_shortcut",
    "proj_in",
    "proj_out",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "text_model",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
    "text_projection",
    "input_blocks",
    "output_blocks",
    "middle_block",
    "time_embed",
    "label_emb",
    "in_layers",
    "out_layers",
    "emb_layers",
];

/// A path with its dots made underscores.
pub(super) fn joined(path: &str) -> String {
    path.replace('.', "_")
}

/// The path that [`joined`] most likely made the name from: the longest known step is taken first.
pub(super) fn split(name: &str) -> String {
    let words: Vec<&str> = name.split('_').collect();
    let mut path = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let known = |length: usize| {
            let step = words.get(at..at + length)?.join("_");
            (STEPS.contains(&step.as_str()) || step == "skip_connection").then_some((step, length))
        };
        let (step, length) =
            [3, 2].into_iter().find_map(known).unwrap_or((words[at].to_string(), 1));
        path.push(step);
        at += length;
    }
    path.join(".")
}

/// Where the layers of a U-Net stand in diffusers' tree and in the one that CompVis and Stability AI
/// published their checkpoints with.
pub(super) struct Sgm {
    /// By diffusers' prefix.
    blocks: Vec<(String, String)>,
}

/// The same for what is inside a residual block.
const RESNET: [(&str, &str); 4] = [
    ("conv1", "in_layers.2"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
];

/// Outside the levels.
const FIXED: [(&str, &str); 9] = [
    ("conv_in", "input_blocks.0.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.1", "middle_block.2"),
];

/// No published U-Net has more levels.
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 8;

impl Sgm {
    /// A U-Net of so many levels, each with so many residual blocks on its way down.
    pub(super) fn new(levels: usize, layers: usize) -> Self {
        let (levels, layers) = (levels.min(MAX_LEVELS), layers.min(MAX_LAYERS));
        let mut blocks: Vec<(String, String)> =
            FIXED.iter().map(|(ours, theirs)| (ours.to_string(), theirs.to_string())).collect();
        let mut pair = |ours: String, theirs: String| blocks.push((ours, theirs));
        for level in 0..levels {
            for layer in 0..=layers {
                // The first input block is conv_in; each level ends with the one that halves.
                let (down, up) = (1 + level * (layers + 1) + layer, level * (layers + 1) + layer);
                if layer < layers {
                    pair(
                        format!("down_blocks.{level}.resnets.{layer}"),
                        format!("input_blocks.{down}.0"),
                    );
                    pair(
                        format!("down_blocks.{level}.attentions.{layer}"),
                        format!("input_blocks.{down}.1"),
                    );
                } else {
                    pair(
                        format!("down_blocks.{level}.downsamplers.0.conv"),
                        format!("input_blocks.{down}.0.op"),
                    );
                    // Behind the attention, where the level has it.
                    for place in [1, 2] {
                        pair(
                            format!("up_blocks.{level}.upsamplers.0.conv"),
                            format!("output_blocks.{up}.{place}.conv"),
                        );
                    }
                }
                pair(format!("up_blocks.{level}.resnets.{layer}"), format!("output_blocks.{up}.0"));
                pair(
                    format!("up_blocks.{level}.attentions.{layer}"),
                    format!("output_blocks.{up}.1"),
                );
            }
        }
        Self { blocks }
    }

    /// As published Stable Diffusion checkpoints are.
    pub(super) fn published() -> Self {
        Self::new(4, 2)
    }

    /// The U-Net whose layers have these paths.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let (mut levels, mut layers) = (0, 0);
        for path in paths {
            let mut steps = path.split('.');
            if steps.next() != Some("down_blocks") {
                continue;
            }
            let number = |step: Option<&str>| step.and_then(|s| s.parse::<usize>().ok());
            levels =
                number(steps.next()).map_or(levels, |level| levels.max(level.saturating_add(1)));
            if steps.next() == Some("resnets") {
                layers = number(steps.next())
                    .map_or(layers, |layer| layers.max(layer.saturating_add(1)));
            }
        }
        Self::new(levels, layers)
    }

    /// The names that a path of diffusers' has in the other tree.
    pub(super) fn theirs(&self, path: &str) -> Vec<String> {
        let blocks = self.blocks.iter();
        blocks.filter_map(|(ours, theirs)| moved(path, ours, theirs, |(a, b)| (a, b))).collect()
    }

    /// The path in diffusers' tree.
    pub(super) fn ours(&self, path: &str) -> Option<String> {
        let blocks = self.blocks.iter();
        // An upsampler's place may also be an attention's, whose layers have other names.
        let mut found =
            blocks.filter_map(|(ours, theirs)| moved(path, theirs, ours, |(a, b)| (b, a)));
        let first = found.next()?;
        Some(found.next().filter(|path| path.ends_with("samplers.0.conv")).unwrap_or(first))
    }
}

/// The path with one prefix exchanged for another, and so what is inside a residual block.
fn moved(
    path: &str,
    from: &str,
    to: &str,
    order: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Option<String> {
    let rest = path.strip_prefix(from)?;
    if rest.is_empty() {
        return Some(to.to_string());
    }
    let rest = rest.strip_prefix('.')?;
    let inside = RESNET.iter().map(|pair| order(*pair)).find(|(step, _)| *step == rest);
    Some(format!("{to}.{}", inside.map_or(rest, |(_, step)| step)))
}

/// Layers by each of their names; a name that two layers share leads to neither.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases {
    by_name: BTreeMap<String, Option<usize>>,
}

impl Aliases {
    pub(super) fn add(&mut self, name: String, layer: usize) {
        let place = self.by_name.entry(name).or_insert(Some(layer));
        if *place != Some(layer) {
            *place = None;
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_undoes_joining() {
        for path in [
            "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0",
            "down_blocks.0.resnets.1.time_emb_proj",
            "down_blocks.2.downsamplers.0.conv",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
            "up_blocks.1.attentions.2.proj_in",
            "up_blocks.1.resnets.2.conv_shortcut",
            "time_embedding.linear_2",
            "conv_in",
            "text_model.encoder.layers.11.self_attn.out_proj",
            "text_model.encoder.layers.11.mlp.fc2",
            "text_projection",
            "input_blocks.4.1.proj_out",
            "output_blocks.3.0.skip_connection",
            "middle_block.0.emb_layers.1",
        ] {
            assert_eq!(split(&joined(path)), path);
        }
    }

    /// Places in `ldm/modules/diffusionmodules/openaimodel.py` for the configuration of SD 1.5, and of
    /// SDXL, which has three levels.
    #[test]
    fn sgm_places_are_the_published_ones() {
        let sd1 = Sgm::published();
        for (ours, theirs) in [
            ("conv_in", "input_blocks.0.0"),
            ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
            ("down_blocks.3.resnets.1.time_emb_proj", "input_blocks.11.0.emb_layers.1"),
            ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
            ("up_blocks.0.resnets.2.conv_shortcut", "output_blocks.2.0.skip_connection"),
            ("up_blocks.3.attentions.2.proj_out", "output_blocks.11.1.proj_out"),
        ] {
            assert_eq!(sd1.theirs(ours), [theirs]);
            assert_eq!(sd1.ours(theirs).as_deref(), Some(ours));
        }
        let upsampler = "up_blocks.0.upsamplers.0.conv";
        assert_eq!(sd1.theirs(upsampler), ["output_blocks.2.1.conv", "output_blocks.2.2.conv"]);
        for theirs in sd1.theirs(upsampler) {
            assert_eq!(sd1.ours(&theirs).as_deref(), Some(upsampler));
        }
        let sdxl =
            Sgm::of(["down_blocks.0.resnets.1.conv1", "down_blocks.2.resnets.0"].into_iter());
        assert_eq!(sdxl.theirs("up_blocks.2.resnets.0.conv1"), ["output_blocks.6.0.in_layers.2"]);
        assert_eq!(sdxl.ours("input_blocks.10.0.op"), None);
    }

    #[test]
    fn a_shared_name_leads_nowhere() {
        let mut aliases = Aliases::default();
        for (name, layer) in [("a_b", 0), ("a_b", 0), ("c", 1), ("c", 2)] {
            aliases.add(name.to_string(), layer);
        }
        assert_eq!(aliases.get("a_b"), Some(0));
        assert_eq!(aliases.get("c"), None);
        assert_eq!(aliases.get("d"), None);
    }
}
