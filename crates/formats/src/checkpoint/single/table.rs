//! The two namings of the same modules: CompVis' and SGM's in single files, diffusers' in folders.
//!
//! Each table is a list of pairs of module names, made from the network's structure, and serves
//! both ways.

use std::collections::BTreeMap;

/// Pairs of module names.
pub(crate) struct Table {
    pairs: Vec<(String, String)>,
}

/// Names translated one way.
pub(crate) struct Translation {
    modules: BTreeMap<String, String>,
}

/// A residual block's layers in a U-Net.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// The layers of a U-Net around its blocks.
const UNET: [(&str, &str); 8] = [
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("label_emb", "class_embedding"),
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
];

/// An autoencoder's attention.
const VAE_ATTENTION: [(&str, &str); 5] =
    [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")];

/// The layers of OpenCLIP's text model around its blocks; the position embedding and the
/// projection are bare parameters there.
const OPEN_CLIP: [(&str, &str); 2] = [
    ("token_embedding", "text_model.embeddings.token_embedding"),
    ("ln_final", "text_model.final_layer_norm"),
];

/// A block of OpenCLIP's text model, but for the projections into attention, which are one matrix
/// there and three here.
const OPEN_CLIP_BLOCK: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
];

/// What decides the numbers in a U-Net's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UNetBlocks {
    /// Residual blocks on a level on the way down; on the way up there is one more.
    pub layers: usize,
    /// Whether each level has attention, the widest picture first.
    pub attention: Vec<bool>,
}

impl Table {
    fn new(pairs: &[(&str, &str)]) -> Self {
        let owned = |(single, folder): &(&str, &str)| (single.to_string(), folder.to_string());
        Self { pairs: pairs.iter().map(owned).collect() }
    }

    fn add(&mut self, single: String, folder: String) {
        self.pairs.push((single, folder));
    }

    /// The layers of a block that is called `single` in one place and `folder` in the other.
    fn add_block(&mut self, layers: &[(&str, &str)], single: &str, folder: &str) {
        for (its, ours) in layers {
            self.add(format!("{single}.{its}"), format!("{folder}.{ours}"));
        }
    }

    /// A U-Net's modules: CompVis number all blocks on the way down and on the way up in one row,
    /// and what changes the size stands among them.
    pub fn unet(blocks: &UNetBlocks) -> Self {
        let mut table = Self::new(&UNET);
        let levels = blocks.attention.len();
        let mut input = 1;
        for (level, attention) in blocks.attention.iter().enumerate() {
            for layer in 0..blocks.layers {
                let (theirs, ours) =
                    (format!("input_blocks.{input}"), format!("down_blocks.{level}"));
                table.add_block(
                    &RESNET,
                    &format!("{theirs}.0"),
                    &format!("{ours}.resnets.{layer}"),
                );
                if *attention {
                    table.add(format!("{theirs}.1"), format!("{ours}.attentions.{layer}"));
                }
                input += 1;
            }
            if level + 1 < levels {
                let ours = format!("down_blocks.{level}.downsamplers.0.conv");
                table.add(format!("input_blocks.{input}.0.op"), ours);
                input += 1;
            }
        }
        table.add_block(&RESNET, "middle_block.0", "mid_block.resnets.0");
        table.add("middle_block.1".into(), "mid_block.attentions.0".into());
        table.add_block(&RESNET, "middle_block.2", "mid_block.resnets.1");
        let mut output = 0;
        for (up, attention) in blocks.attention.iter().rev().enumerate() {
            for layer in 0..=blocks.layers {
                let (theirs, ours) = (format!("output_blocks.{output}"), format!("up_blocks.{up}"));
                table.add_block(
                    &RESNET,
                    &format!("{theirs}.0"),
                    &format!("{ours}.resnets.{layer}"),
                );
                if *attention {
                    table.add(format!("{theirs}.1"), format!("{ours}.attentions.{layer}"));
                }
                if layer == blocks.layers && up + 1 < levels {
                    let place = 1 + usize::from(*attention);
                    let ours = format!("{ours}.upsamplers.0.conv");
                    table.add(format!("{theirs}.{place}.conv"), ours);
                }
                output += 1;
            }
        }
        table
    }

    /// An autoencoder's modules: CompVis number the levels of the decoder from its output.
    pub fn vae(levels: usize, layers: usize) -> Self {
        let mut table = Self::new(&[
            ("encoder.conv_in", "encoder.conv_in"),
            ("encoder.norm_out", "encoder.conv_norm_out"),
            ("encoder.conv_out", "encoder.conv_out"),
            ("decoder.conv_in", "decoder.conv_in"),
            ("decoder.norm_out", "decoder.conv_norm_out"),
            ("decoder.conv_out", "decoder.conv_out"),
            ("quant_conv", "quant_conv"),
            ("post_quant_conv", "post_quant_conv"),
        ]);
        for half in ["encoder", "decoder"] {
            for block in 0..2 {
                let theirs = format!("{half}.mid.block_{}", block + 1);
                table.add_vae_resnet(&theirs, &format!("{half}.mid_block.resnets.{block}"));
            }
            let ours = format!("{half}.mid_block.attentions.0");
            table.add_block(&VAE_ATTENTION, &format!("{half}.mid.attn_1"), &ours);
        }
        for level in 0..levels {
            let up = levels - 1 - level;
            for layer in 0..layers {
                let ours = format!("encoder.down_blocks.{level}.resnets.{layer}");
                table.add_vae_resnet(&format!("encoder.down.{level}.block.{layer}"), &ours);
            }
            for layer in 0..=layers {
                let ours = format!("decoder.up_blocks.{up}.resnets.{layer}");
                table.add_vae_resnet(&format!("decoder.up.{level}.block.{layer}"), &ours);
            }
            table.add(
                format!("encoder.down.{level}.downsample.conv"),
                format!("encoder.down_blocks.{level}.downsamplers.0.conv"),
            );
            table.add(
                format!("decoder.up.{level}.upsample.conv"),
                format!("decoder.up_blocks.{up}.upsamplers.0.conv"),
            );
        }
        table
    }

    /// A residual block, most of whose layers have one name.
    fn add_vae_resnet(&mut self, single: &str, folder: &str) {
        self.add(format!("{single}.nin_shortcut"), format!("{folder}.conv_shortcut"));
        self.add(single.to_owned(), folder.to_owned());
    }

    /// OpenCLIP's text model, but for what [`super::open_clip`] reshapes.
    pub fn open_clip(layers: usize) -> Self {
        let mut table = Self::new(&OPEN_CLIP);
        for layer in 0..layers {
            let theirs = format!("transformer.resblocks.{layer}");
            let ours = format!("text_model.encoder.layers.{layer}");
            table.add_block(&OPEN_CLIP_BLOCK, &theirs, &ours);
        }
        table
    }

    /// From single files' names to folders'.
    pub fn to_folder(&self) -> Translation {
        Translation { modules: self.pairs.iter().cloned().collect() }
    }

    /// From folders' names to single files'.
    pub fn to_single(&self) -> Translation {
        let swapped = self.pairs.iter().map(|(single, folder)| (folder.clone(), single.clone()));
        Translation { modules: swapped.collect() }
    }
}

impl Translation {
    /// The other name of a tensor: that of the innermost module that the table has, and the rest.
    pub fn of(&self, name: &str) -> Option<String> {
        let mut end = name.len();
        while let Some(dot) = name[..end].rfind('.') {
            end = dot;
            if let Some(module) = self.modules.get(&name[..end]) {
                return Some(format!("{module}{}", &name[end..]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of Stable Diffusion 1.5, read off its published files.
    #[test]
    fn names_of_both_layouts_are_translated_both_ways() {
        let attention = vec![true, true, true, false];
        let unet = Table::unet(&UNetBlocks { layers: 2, attention });
        let vae = Table::vae(4, 2);
        let cases = [
            (&unet, "input_blocks.0.0.weight", "conv_in.weight"),
            (&unet, "input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
            (
                &unet,
                "input_blocks.4.0.skip_connection.weight",
                "down_blocks.1.resnets.0.conv_shortcut.weight",
            ),
            (
                &unet,
                "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
                "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight",
            ),
            (&unet, "input_blocks.11.0.out_layers.3.bias", "down_blocks.3.resnets.1.conv2.bias"),
            (&unet, "middle_block.2.emb_layers.1.bias", "mid_block.resnets.1.time_emb_proj.bias"),
            (&unet, "output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            (&unet, "output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"),
            (&unet, "output_blocks.11.1.proj_out.bias", "up_blocks.3.attentions.2.proj_out.bias"),
            (&unet, "label_emb.weight", "class_embedding.weight"),
            (&unet, "label_emb.0.2.bias", "add_embedding.linear_2.bias"),
            (
                &vae,
                "encoder.mid.attn_1.proj_out.weight",
                "encoder.mid_block.attentions.0.to_out.0.weight",
            ),
            (
                &vae,
                "decoder.up.3.block.2.conv1.weight",
                "decoder.up_blocks.0.resnets.2.conv1.weight",
            ),
            (
                &vae,
                "decoder.up.1.block.0.nin_shortcut.bias",
                "decoder.up_blocks.2.resnets.0.conv_shortcut.bias",
            ),
            (&vae, "decoder.mid.block_2.norm1.bias", "decoder.mid_block.resnets.1.norm1.bias"),
        ];
        for (table, single, folder) in cases {
            assert_eq!(table.to_folder().of(single).as_deref(), Some(folder));
            assert_eq!(table.to_single().of(folder).as_deref(), Some(single));
        }
        assert_eq!(unet.to_folder().of("output_blocks.12.0.in_layers.0.weight"), None);
    }
}
