//! The levels of the U-Net.

use super::UNetConfig;
use super::stage::{Layer, Stage, residuals};
use burn::module::Module;
use sumi_nn::{
    Downsample, Init, ResnetBlock, ResnetBlockConfig, SelfAttention, SelfAttentionConfig, Upsample,
};

/// A level on the way down: residual blocks, each followed by attention where the level has it,
/// then halving, except at the coarsest.
#[derive(Module, Debug)]
pub struct DownBlock {
    /// One for each residual block, or none.
    pub attentions: Vec<SelfAttention>,
    /// The residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none.
    pub downsamplers: Vec<Downsample>,
}

/// The coarsest level: residual block, attention, residual block.
#[derive(Module, Debug)]
pub struct MidBlock {
    /// One, or none.
    pub attentions: Vec<SelfAttention>,
    /// Two.
    pub resnets: Vec<ResnetBlock>,
}

/// A level on the way up: residual blocks that each take in a skip connection, with attention
/// where the level has it, then doubling, except at the finest.
#[derive(Module, Debug)]
pub struct UpBlock {
    /// One for each residual block, or none.
    pub attentions: Vec<SelfAttention>,
    /// The residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none.
    pub upsamplers: Vec<Upsample>,
}

sumi_nn::layers!(DownBlock { attentions, resnets, downsamplers });
sumi_nn::layers!(MidBlock { attentions, resnets });
sumi_nn::layers!(UpBlock { attentions, resnets, upsamplers });

impl DownBlock {
    /// Every one of them leaves its result to the level's way up.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        residuals(&self.resnets, &self.attentions)
            .chain(self.downsamplers.iter().map(Layer::Downsample))
            .map(|layer| Stage { layer, takes_skip: false, leaves_skip: true })
    }
}

impl MidBlock {
    /// Without skip connections.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        residuals(&self.resnets, &self.attentions).map(|layer| Stage {
            layer,
            takes_skip: false,
            leaves_skip: false,
        })
    }
}

impl UpBlock {
    /// Every residual block takes what was left last.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        let upsamplers = self.upsamplers.iter().map(Layer::Upsample);
        residuals(&self.resnets, &self.attentions)
            .map(|layer| Stage { layer, takes_skip: true, leaves_skip: false })
            .chain(upsamplers.map(|layer| Stage { layer, takes_skip: false, leaves_skip: false }))
    }
}

/// Builds the layers of one level, which share everything but their channels.
struct Level<'a> {
    config: &'a UNetConfig,
    time_dim: usize,
    output_scale: f64,
}

impl Level<'_> {
    fn resnet(&self, inputs: usize, outputs: usize, init: &mut Init) -> ResnetBlock {
        ResnetBlock::new(
            init,
            ResnetBlockConfig {
                inputs,
                outputs,
                time_dim: self.time_dim,
                groups: self.config.norm_num_groups,
                eps: self.config.norm_eps,
                dropout: self.config.dropout,
                output_scale: self.output_scale,
            },
        )
    }

    fn attention(&self, channels: usize, groups: usize, init: &mut Init) -> SelfAttention {
        SelfAttention::new(
            init,
            SelfAttentionConfig {
                channels,
                head_dim: self.config.attention_head_dim.unwrap_or(channels),
                groups,
                eps: self.config.norm_eps,
                output_scale: self.output_scale,
            },
        )
    }
}

pub(crate) fn down_blocks(config: &UNetConfig, time_dim: usize, init: &mut Init) -> Vec<DownBlock> {
    let channels = &config.block_out_channels;
    let level = Level { config, time_dim, output_scale: 1.0 };
    let mut inputs = channels[0];
    let mut blocks = Vec::with_capacity(channels.len());
    for (i, (&outputs, kind)) in channels.iter().zip(&config.down_block_types).enumerate() {
        let mut attentions = Vec::new();
        let mut resnets = Vec::new();
        for _ in 0..config.layers_per_block {
            resnets.push(level.resnet(inputs, outputs, init));
            if kind.has_attention() {
                attentions.push(level.attention(outputs, config.norm_num_groups, init));
            }
            inputs = outputs;
        }
        let last = i + 1 == channels.len();
        let downsamplers = match last {
            true => Vec::new(),
            false => vec![Downsample::new(init, outputs, config.downsample_padding)],
        };
        blocks.push(DownBlock { attentions, resnets, downsamplers });
    }
    blocks
}

pub(crate) fn mid_block(config: &UNetConfig, time_dim: usize, init: &mut Init) -> MidBlock {
    let channels = config.block_out_channels[config.block_out_channels.len() - 1];
    let level = Level { config, time_dim, output_scale: config.mid_block_scale_factor };
    let groups = config.attn_norm_num_groups.unwrap_or(config.norm_num_groups);
    let first = level.resnet(channels, channels, init);
    let attentions = match config.add_attention {
        true => vec![level.attention(channels, groups, init)],
        false => Vec::new(),
    };
    MidBlock { attentions, resnets: vec![first, level.resnet(channels, channels, init)] }
}

pub(super) fn up_blocks(config: &UNetConfig, time_dim: usize, init: &mut Init) -> Vec<UpBlock> {
    let channels = &config.block_out_channels;
    let level = Level { config, time_dim, output_scale: 1.0 };
    let mut inputs = channels[channels.len() - 1];
    let mut blocks = Vec::with_capacity(channels.len());
    for (i, kind) in config.up_block_types.iter().enumerate() {
        let position = channels.len() - 1 - i;
        let outputs = channels[position];
        // The last residual block of a level takes in what the level above sent down.
        let from_above = channels[position.saturating_sub(1)];
        let mut attentions = Vec::new();
        let mut resnets = Vec::new();
        for layer in 0..=config.layers_per_block {
            let skip = if layer == config.layers_per_block { from_above } else { outputs };
            resnets.push(level.resnet(inputs + skip, outputs, init));
            if kind.has_attention() {
                attentions.push(level.attention(outputs, config.norm_num_groups, init));
            }
            inputs = outputs;
        }
        let upsamplers = match position {
            0 => Vec::new(),
            _ => vec![Upsample::new(init, outputs)],
        };
        blocks.push(UpBlock { attentions, resnets, upsamplers });
    }
    blocks
}
