//! `unet/config.json`.

use serde::{Deserialize, Serialize};

/// The kinds of level, by the names that diffusers gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockType {
    /// Residual blocks, then halving.
    DownBlock2D,
    /// The same with attention.
    AttnDownBlock2D,
    /// Residual blocks, then doubling.
    UpBlock2D,
    /// The same with attention.
    AttnUpBlock2D,
}

/// Everything that decides the shape of a [`super::UNet`], under the names and with the defaults
/// of diffusers' `UNet2DModel`.
///
/// What diffusers can express and this network cannot is refused by [`Self::check`], never ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UNetConfig {
    /// Height and width that it was trained on, in pixels.
    pub sample_size: Option<SampleSize>,
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Whether the input is first mapped from [0, 1] to [-1, 1].
    pub center_input_sample: bool,
    /// Only "positional".
    pub time_embedding_type: String,
    /// Only `null`: it follows from the first level's channels.
    pub time_embedding_dim: Option<usize>,
    /// See [`sumi_nn::SinusoidConfig`].
    pub freq_shift: f64,
    /// See [`sumi_nn::SinusoidConfig`].
    pub flip_sin_to_cos: bool,
    /// From fine to coarse.
    pub down_block_types: Vec<BlockType>,
    /// Only "UNetMidBlock2D".
    pub mid_block_type: Option<String>,
    /// From coarse to fine.
    pub up_block_types: Vec<BlockType>,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks a level.
    pub layers_per_block: usize,
    /// What the middle block's sums are divided by.
    pub mid_block_scale_factor: f64,
    /// See [`sumi_nn::Downsample`].
    pub downsample_padding: usize,
    /// Only "conv".
    pub downsample_type: String,
    /// Only "conv".
    pub upsample_type: String,
    /// Probability that dropout drops an element.
    pub dropout: f64,
    /// Only "silu" ("swish").
    pub act_fn: String,
    /// Channels of one head; `null` is one head over all.
    pub attention_head_dim: Option<usize>,
    /// Groups of every normalisation.
    pub norm_num_groups: usize,
    /// Groups in the middle block's attention, where they differ.
    pub attn_norm_num_groups: Option<usize>,
    /// Epsilon of every normalisation.
    pub norm_eps: f64,
    /// Only "default".
    pub resnet_time_scale_shift: String,
    /// Whether the middle block has attention.
    pub add_attention: bool,
    /// Only `null`: classes come through `num_class_embeds`.
    pub class_embed_type: Option<String>,
    /// How many classes it knows.
    pub num_class_embeds: Option<usize>,
    /// Only used by diffusers' learned time embedding.
    pub num_train_timesteps: Option<usize>,
}

/// A square of so many pixels, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SampleSize {
    /// Height and width alike.
    Square(usize),
    /// Height, width.
    Rectangle([usize; 2]),
}

impl SampleSize {
    /// Height and width, in pixels.
    pub fn dims(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Rectangle(dims) => dims,
        }
    }
}

impl Default for UNetConfig {
    fn default() -> Self {
        use BlockType::{AttnDownBlock2D, AttnUpBlock2D, DownBlock2D, UpBlock2D};
        Self {
            sample_size: None,
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: "positional".into(),
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: vec![DownBlock2D, AttnDownBlock2D, AttnDownBlock2D, AttnDownBlock2D],
            mid_block_type: Some("UNetMidBlock2D".into()),
            up_block_types: vec![AttnUpBlock2D, AttnUpBlock2D, AttnUpBlock2D, UpBlock2D],
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: "conv".into(),
            upsample_type: "conv".into(),
            dropout: 0.0,
            act_fn: "silu".into(),
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: "default".into(),
            add_attention: true,
            class_embed_type: None,
            num_class_embeds: None,
            num_train_timesteps: None,
        }
    }
}

/// A config that no network can be built from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct UNetConfigError {
    /// Which field.
    pub field: &'static str,
    /// What would do.
    pub expected: String,
    /// What is there.
    pub found: String,
}

pub(crate) fn expect(
    holds: bool,
    field: &'static str,
    expected: impl Into<String>,
    found: impl std::fmt::Debug,
) -> Result<(), UNetConfigError> {
    match holds {
        true => Ok(()),
        false => {
            Err(UNetConfigError { field, expected: expected.into(), found: format!("{found:?}") })
        }
    }
}

impl UNetConfig {
    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Height and width have to be multiples of this many pixels.
    pub fn size_multiple_px(&self) -> usize {
        1 << self.levels().saturating_sub(1).min(30)
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), UNetConfigError> {
        self.check_variants()?;
        self.check_sizes()
    }

    /// Refuses what diffusers can express and this network cannot.
    fn check_variants(&self) -> Result<(), UNetConfigError> {
        let only = |field, found: &str, known: &[&str]| {
            expect(known.contains(&found), field, format!("\"{}\"", known[0]), found)
        };
        only("time_embedding_type", &self.time_embedding_type, &["positional"])?;
        only("downsample_type", &self.downsample_type, &["conv"])?;
        only("upsample_type", &self.upsample_type, &["conv"])?;
        only("act_fn", &self.act_fn, &["silu", "swish"])?;
        only("resnet_time_scale_shift", &self.resnet_time_scale_shift, &["default"])?;
        if let Some(mid) = &self.mid_block_type {
            only("mid_block_type", mid, &["UNetMidBlock2D"])?;
        }
        expect(
            self.class_embed_type.is_none(),
            "class_embed_type",
            "null",
            &self.class_embed_type,
        )?;
        expect(
            self.time_embedding_dim
                .is_none_or(|d| Some(d) == self.block_out_channels.first().map(|c| 4 * c)),
            "time_embedding_dim",
            "null or 4 x the first of block_out_channels",
            self.time_embedding_dim,
        )?;
        let downs = &self.down_block_types;
        let down = |b: &BlockType| matches!(b, BlockType::DownBlock2D | BlockType::AttnDownBlock2D);
        expect(downs.iter().all(down), "down_block_types", "blocks that go down", downs)?;
        let ups = &self.up_block_types;
        expect(!ups.iter().any(down), "up_block_types", "blocks that go up", ups)
    }

    fn check_sizes(&self) -> Result<(), UNetConfigError> {
        let channels = &self.block_out_channels;
        let levels = channels.len();
        // Far past any published network, and far below what would overflow a size.
        let sane = |n: usize| (1..=1 << 16).contains(&n);
        expect((1..=16).contains(&levels), "block_out_channels", "1 to 16 levels", channels)?;
        expect(
            channels.iter().all(|&c| sane(c)),
            "block_out_channels",
            "1 to 65536 each",
            channels,
        )?;
        for (field, found) in
            [("down_block_types", &self.down_block_types), ("up_block_types", &self.up_block_types)]
        {
            let expected = format!("{levels} blocks, one for each of block_out_channels");
            expect(found.len() == levels, field, expected, found)?;
        }
        for (field, found) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("norm_num_groups", self.norm_num_groups),
            ("attn_norm_num_groups", self.attn_norm_num_groups.unwrap_or(1)),
            ("attention_head_dim", self.attention_head_dim.unwrap_or(1)),
            ("num_class_embeds", self.num_class_embeds.unwrap_or(1)),
        ] {
            expect(sane(found), field, "1 to 65536", found)?;
        }
        for (field, divisor) in [
            ("norm_num_groups", self.norm_num_groups),
            ("attn_norm_num_groups", self.attn_norm_num_groups.unwrap_or(1)),
        ] {
            let fits = channels.iter().all(|c| c % divisor == 0);
            expect(fits, field, format!("a divisor of each of {channels:?}"), divisor)?;
        }
        if let Some(head_dim) = self.attention_head_dim {
            let attended = self.attended_channels();
            let fits = attended.iter().all(|c| c % head_dim == 0);
            let expected = format!("a divisor of each of {attended:?}, the levels with attention");
            expect(fits, "attention_head_dim", expected, head_dim)?;
        }
        let blocks = self.layers_per_block;
        expect((1..=64).contains(&blocks), "layers_per_block", "1 to 64", blocks)?;
        let eps = self.norm_eps;
        expect(eps.is_finite() && eps >= 0.0, "norm_eps", "a number from 0", eps)?;
        let half = (channels[0] / 2) as f64;
        let expected = format!("below {half}, half the first of block_out_channels");
        expect(self.freq_shift < half, "freq_shift", expected, self.freq_shift)?;
        expect((0.0..1.0).contains(&self.dropout), "dropout", "0 up to below 1", self.dropout)?;
        let mid = self.mid_block_scale_factor;
        expect(mid.is_finite() && mid != 0.0, "mid_block_scale_factor", "a number but 0", mid)?;
        expect(
            self.downsample_padding <= 1,
            "downsample_padding",
            "0 or 1",
            self.downsample_padding,
        )
    }

    /// The channels of every level that has attention; the block lists match the levels.
    fn attended_channels(&self) -> Vec<usize> {
        let levels = self.levels();
        (0..levels)
            .filter(|&i| {
                self.down_block_types[i].has_attention()
                    || self.up_block_types[levels - 1 - i].has_attention()
                    || (i + 1 == levels && self.add_attention)
            })
            .map(|i| self.block_out_channels[i])
            .collect()
    }
}

impl BlockType {
    /// Whether its residual blocks are followed by attention.
    pub fn has_attention(self) -> bool {
        matches!(self, Self::AttnDownBlock2D | Self::AttnUpBlock2D)
    }
}
