//! What the levels of the U-Net over pixels are built from.

use super::UNetConfig;
use crate::levels::{Place, Plan, Way};
use sumi_nn::{Init, ResnetBlockConfig, SelfAttention, SelfAttentionConfig};

/// A config that was checked, and the width of the time embedding.
pub(crate) struct UNetPlan<'a> {
    pub(crate) config: &'a UNetConfig,
    pub(crate) time_dim: usize,
}

impl UNetPlan<'_> {
    /// What a place's sums are divided by.
    fn output_scale(&self, place: Place) -> f64 {
        match place.way {
            Way::Middle => self.config.mid_block_scale_factor,
            _ => 1.0,
        }
    }
}

impl Plan for UNetPlan<'_> {
    type Attention = SelfAttention;

    fn channels(&self) -> &[usize] {
        &self.config.block_out_channels
    }

    fn layers(&self, _: usize) -> usize {
        self.config.layers_per_block
    }

    fn middle_layers(&self) -> usize {
        2
    }

    fn resnet(&self, place: Place, [inputs, outputs]: [usize; 2]) -> ResnetBlockConfig {
        ResnetBlockConfig {
            inputs,
            outputs,
            time_dim: Some(self.time_dim),
            groups: self.config.norm_num_groups,
            eps: self.config.norm_eps,
            dropout: self.config.dropout,
            output_scale: self.output_scale(place),
        }
    }

    fn attention(&self, place: Place, init: &mut Init) -> Option<SelfAttention> {
        let config = self.config;
        let Place { way, level, layer } = place;
        let groups = config.norm_num_groups;
        let (has, groups) = match way {
            Way::Down => (config.down_block_types[level].has_attention(), groups),
            Way::Up => {
                let type_at = config.levels() - 1 - level;
                (config.up_block_types[type_at].has_attention(), groups)
            }
            // Between the two residual blocks.
            Way::Middle => {
                let groups = config.attn_norm_num_groups.unwrap_or(groups);
                (config.add_attention && layer == 0, groups)
            }
        };
        let channels = config.block_out_channels[level];
        has.then(|| {
            SelfAttention::new(
                init,
                SelfAttentionConfig {
                    channels,
                    head_dim: config.attention_head_dim.unwrap_or(channels),
                    groups,
                    eps: config.norm_eps,
                    output_scale: self.output_scale(place),
                },
            )
        })
    }

    fn downsample_padding(&self) -> usize {
        self.config.downsample_padding
    }
}
