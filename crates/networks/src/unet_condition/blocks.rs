//! What the levels of the conditional U-Net are built from.

use super::UNetConditionConfig;
use super::transformer::{SpatialTransformer, SpatialTransformerConfig};
use crate::levels::{Place, Plan, Way};
use sumi_nn::{Init, ResnetBlockConfig, TransformerBlockConfig};

/// A config that was checked.
pub(super) struct ConditionPlan<'a>(pub(super) &'a UNetConditionConfig);

impl Plan for ConditionPlan<'_> {
    type Attention = SpatialTransformer;

    fn channels(&self) -> &[usize] {
        &self.0.block_out_channels
    }

    fn layers(&self, level: usize) -> usize {
        self.0.layers_per_block.at(level).copied().unwrap_or(1)
    }

    fn middle_layers(&self) -> usize {
        match &self.0.mid_block_type {
            None => 0,
            Some(_) if self.0.middle_attends() => 2,
            Some(_) => 1,
        }
    }

    fn resnet(&self, place: Place, [inputs, outputs]: [usize; 2]) -> ResnetBlockConfig {
        ResnetBlockConfig {
            inputs,
            outputs,
            time_dim: Some(self.0.time_dim()),
            groups: self.0.norm_num_groups,
            eps: self.0.norm_eps,
            dropout: self.0.dropout,
            output_scale: match place.way {
                Way::Middle => self.0.mid_block_scale_factor,
                _ => 1.0,
            },
        }
    }

    fn attention(&self, place: Place, init: &mut Init) -> Option<SpatialTransformer> {
        let config = self.0;
        let Place { way, level, layer } = place;
        let [down, up] = config.attends(level);
        let only = config.only_cross_attention.at(level).copied().unwrap_or(false);
        let (has, depth, only_cross_attention) = match way {
            Way::Down => (down, config.depth_down(level, layer), only),
            Way::Up => (up, config.depth_up(level, layer), only),
            // Between the two residual blocks.
            Way::Middle => {
                (config.middle_attends() && layer == 0, config.depth_down(level, layer), false)
            }
        };
        let block = TransformerBlockConfig {
            width: config.block_out_channels[level],
            context: config.cross_attention_dim.at(level).copied()?,
            heads: config.attention_head_dim.at(level).copied()?,
            only_cross_attention,
        };
        let (groups, linear_projection) = (config.norm_num_groups, config.use_linear_projection);
        let transformer = SpatialTransformerConfig { block, depth, groups, linear_projection };
        has.then(|| SpatialTransformer::new(init, transformer))
    }

    fn downsample_padding(&self) -> usize {
        self.0.downsample_padding
    }
}
