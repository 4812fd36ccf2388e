//! `unet/config.json` of a network that is told more than a class.

use crate::unet::config::expect;
use crate::unet::{SampleSize, UNetConfigError};
use serde::{Deserialize, Serialize};

/// The kinds of level, by the names that diffusers gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockType {
    /// Residual blocks, then halving.
    DownBlock2D,
    /// The same with attention to the context.
    CrossAttnDownBlock2D,
    /// Residual blocks, then doubling.
    UpBlock2D,
    /// The same with attention to the context.
    CrossAttnUpBlock2D,
}

impl BlockType {
    /// Whether its residual blocks are followed by attention.
    pub fn has_attention(self) -> bool {
        matches!(self, Self::CrossAttnDownBlock2D | Self::CrossAttnUpBlock2D)
    }
}

/// One value for all, or one for each of a list of places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrEach<T> {
    /// In the order of the places.
    Each(Vec<T>),
    /// The same everywhere.
    One(T),
}

impl<T: Clone> OneOrEach<T> {
    /// The value at a place; `None` past the end of a list.
    pub fn at(&self, place: usize) -> Option<&T> {
        match self {
            Self::Each(values) => values.get(place),
            Self::One(value) => Some(value),
        }
    }

    /// Every value that there is.
    fn values(&self) -> &[T] {
        match self {
            Self::Each(values) => values,
            Self::One(value) => std::slice::from_ref(value),
        }
    }

    /// Whether it has a value for each of so many places and for no more.
    fn fits(&self, places: usize) -> bool {
        match self {
            Self::Each(values) => values.len() == places,
            Self::One(_) => true,
        }
    }
}

/// How many transformer blocks follow each residual block of each level.
pub type Depths = OneOrEach<OneOrEach<usize>>;

/// Everything that decides the shape of a [`super::UNetCondition`], under the names and with the defaults
/// of diffusers' `UNet2DConditionModel`. Lists with an element a level go from fine to coarse.
///
/// What diffusers can express and this network cannot is refused by [`Self::check`], never ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UNetConditionConfig {
    /// Height and width that it was trained on, in pixels of its input.
    pub sample_size: Option<SampleSize>,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Whether the input is first mapped from [0, 1] to [-1, 1].
    pub center_input_sample: bool,
    /// See [`sumi_nn::SinusoidConfig`].
    pub flip_sin_to_cos: bool,
    /// See [`sumi_nn::SinusoidConfig`].
    pub freq_shift: f64,
    /// From fine to coarse.
    pub down_block_types: Vec<BlockType>,
    /// "UNetMidBlock2DCrossAttn", "UNetMidBlock2D" (one residual block) or `null` (nothing).
    pub mid_block_type: Option<String>,
    /// From coarse to fine.
    pub up_block_types: Vec<BlockType>,
    /// Whether both attentions of a transformer block look at the context; one value or one a level. The
    /// middle has attention among its own tokens either way.
    pub only_cross_attention: OneOrEach<bool>,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks, one value or one a level.
    pub layers_per_block: OneOrEach<usize>,
    /// See [`sumi_nn::Downsample`].
    pub downsample_padding: usize,
    /// What the sums of the middle's residual blocks are divided by.
    pub mid_block_scale_factor: f64,
    /// Probability that dropout drops an element.
    pub dropout: f64,
    /// Only "silu" ("swish").
    pub act_fn: String,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' normalisations and of the last one.
    pub norm_eps: f64,
    /// Width of a token of the context, one value or one a level.
    pub cross_attention_dim: OneOrEach<usize>,
    /// Transformer blocks after a residual block: one value, or one a level, each of which may be a list
    /// with one for each residual block.
    pub transformer_layers_per_block: Depths,
    /// The same for the way up, from coarse to fine; without it, as on the way down.
    pub reverse_transformer_layers_per_block: Option<Depths>,
    /// Only `null`.
    pub encoder_hid_dim: Option<usize>,
    /// Only `null`.
    pub encoder_hid_dim_type: Option<String>,
    /// How many heads an attention has, one value or one a level: the name is an old mistake that
    /// published configs keep.
    pub attention_head_dim: OneOrEach<usize>,
    /// Only `null`: diffusers refuses it too.
    pub num_attention_heads: Option<OneOrEach<usize>>,
    /// Only `false`.
    pub dual_cross_attention: bool,
    /// Whether a transformer's outer projections are linear layers; else they are 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Only `null`: classes come through `num_class_embeds`.
    pub class_embed_type: Option<String>,
    /// `null`, or "text_time": a pooled text embedding and a few sizes are added to the time embedding.
    pub addition_embed_type: Option<String>,
    /// Numbers into which each of those sizes is embedded.
    pub addition_time_embed_dim: Option<usize>,
    /// How many classes it knows.
    pub num_class_embeds: Option<usize>,
    /// Changes nothing: scores are `f32` always.
    pub upcast_attention: Option<bool>,
    /// Only "default".
    pub resnet_time_scale_shift: String,
    /// Only `false`.
    pub resnet_skip_time_act: bool,
    /// Only 1.
    pub resnet_out_scale_factor: f64,
    /// Only "positional".
    pub time_embedding_type: String,
    /// Width of the time embedding; four times the first level's channels without.
    pub time_embedding_dim: Option<usize>,
    /// Only `null`.
    pub time_embedding_act_fn: Option<String>,
    /// Only `null`.
    pub timestep_post_act: Option<String>,
    /// Width of a condition that is added to the sinusoid, such as a distilled network's guidance.
    pub time_cond_proj_dim: Option<usize>,
    /// Side of the first convolution's kernel, odd.
    pub conv_in_kernel: usize,
    /// Side of the last convolution's kernel, odd.
    pub conv_out_kernel: usize,
    /// Width of the pooled text embedding and of all embedded sizes together.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Only "default".
    pub attention_type: String,
    /// Only `false`.
    pub class_embeddings_concat: bool,
    /// Without effect on the kinds of middle that there are.
    pub mid_block_only_cross_attention: Option<bool>,
    /// Only `null`.
    pub cross_attention_norm: Option<String>,
    /// Without effect: it belongs to an `addition_embed_type` that is refused.
    pub addition_embed_type_num_heads: usize,
}

impl Default for UNetConditionConfig {
    fn default() -> Self {
        use BlockType::{CrossAttnDownBlock2D, CrossAttnUpBlock2D, DownBlock2D, UpBlock2D};
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: [vec![CrossAttnDownBlock2D; 3], vec![DownBlock2D]].concat(),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".into()),
            up_block_types: [vec![UpBlock2D], vec![CrossAttnUpBlock2D; 3]].concat(),
            only_cross_attention: OneOrEach::One(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: OneOrEach::One(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            dropout: 0.0,
            act_fn: "silu".into(),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: OneOrEach::One(1280),
            transformer_layers_per_block: OneOrEach::One(OneOrEach::One(1)),
            reverse_transformer_layers_per_block: None,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            attention_head_dim: OneOrEach::One(8),
            num_attention_heads: None,
            dual_cross_attention: false,
            use_linear_projection: false,
            class_embed_type: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            num_class_embeds: None,
            upcast_attention: Some(false),
            resnet_time_scale_shift: "default".into(),
            resnet_skip_time_act: false,
            resnet_out_scale_factor: 1.0,
            time_embedding_type: "positional".into(),
            time_embedding_dim: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            projection_class_embeddings_input_dim: None,
            attention_type: "default".into(),
            class_embeddings_concat: false,
            mid_block_only_cross_attention: None,
            cross_attention_norm: None,
            addition_embed_type_num_heads: 64,
        }
    }
}

impl UNetConditionConfig {
    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Width of the time embedding.
    pub(super) fn time_dim(&self) -> usize {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels.first().unwrap_or(&0))
    }

    /// Width of the pooled text embedding and of all embedded sizes, and of one of them, where the network
    /// takes these.
    pub(super) fn addition(&self) -> Option<(usize, usize)> {
        let all = self.projection_class_embeddings_input_dim;
        self.addition_embed_type.as_ref().and(all.zip(self.addition_time_embed_dim))
    }

    /// Whether the level has attention on its way down and on its way up.
    pub(super) fn attends(&self, level: usize) -> [bool; 2] {
        let up = self.levels() - 1 - level;
        [self.down_block_types[level], self.up_block_types[up]].map(BlockType::has_attention)
    }

    /// Whether the middle has attention.
    pub(super) fn middle_attends(&self) -> bool {
        self.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn")
    }

    /// How many transformer blocks follow a residual block on the way down or in the middle.
    pub(super) fn depth_down(&self, level: usize, layer: usize) -> usize {
        depth(&self.transformer_layers_per_block, level, layer)
    }

    /// The same on the way up.
    pub(super) fn depth_up(&self, level: usize, layer: usize) -> usize {
        match &self.reverse_transformer_layers_per_block {
            Some(depths) => depth(depths, self.levels() - 1 - level, layer),
            None => depth(&self.transformer_layers_per_block, level, layer),
        }
    }

    /// Whether a network can be built from it.
    ///
    /// # Errors
    /// The first field that stands in the way.
    pub fn check(&self) -> Result<(), UNetConfigError> {
        self.check_words()?;
        self.check_variants()?;
        self.check_levels()?;
        self.check_sizes()?;
        self.check_attention()?;
        self.check_depths()
    }

    /// Refuses what diffusers can name and this network is not.
    fn check_words(&self) -> Result<(), UNetConfigError> {
        let only = |field, found: &str, known: &[&str]| {
            expect(known.contains(&found), field, format!("\"{}\"", known[0]), found)
        };
        only("time_embedding_type", &self.time_embedding_type, &["positional"])?;
        only("act_fn", &self.act_fn, &["silu", "swish"])?;
        only("resnet_time_scale_shift", &self.resnet_time_scale_shift, &["default"])?;
        only("attention_type", &self.attention_type, &["default"])?;
        if let Some(mid) = &self.mid_block_type {
            only("mid_block_type", mid, &["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"])?;
        }
        if let Some(addition) = &self.addition_embed_type {
            only("addition_embed_type", addition, &["text_time"])?;
        }
        for (field, found) in [
            ("encoder_hid_dim_type", &self.encoder_hid_dim_type),
            ("class_embed_type", &self.class_embed_type),
            ("time_embedding_act_fn", &self.time_embedding_act_fn),
            ("timestep_post_act", &self.timestep_post_act),
            ("cross_attention_norm", &self.cross_attention_norm),
        ] {
            expect(found.is_none(), field, "null", found)?;
        }
        Ok(())
    }

    /// Refuses what diffusers can do and this network cannot.
    fn check_variants(&self) -> Result<(), UNetConfigError> {
        for (field, found) in [
            ("dual_cross_attention", self.dual_cross_attention),
            ("resnet_skip_time_act", self.resnet_skip_time_act),
            ("class_embeddings_concat", self.class_embeddings_concat),
        ] {
            expect(!found, field, "false", found)?;
        }
        expect(self.encoder_hid_dim.is_none(), "encoder_hid_dim", "null", self.encoder_hid_dim)?;
        let heads = &self.num_attention_heads;
        let expected = "null: attention_head_dim holds the number of heads";
        expect(heads.is_none(), "num_attention_heads", expected, heads)?;
        let scale = self.resnet_out_scale_factor;
        expect(scale == 1.0, "resnet_out_scale_factor", "1", scale)?;
        let padding = self.downsample_padding;
        expect(padding <= 1, "downsample_padding", "0 or 1", padding)?;
        for (field, found) in
            [("conv_in_kernel", self.conv_in_kernel), ("conv_out_kernel", self.conv_out_kernel)]
        {
            let odd = found % 2 == 1 && found < 32;
            expect(odd, field, "an odd number below 32", found)?;
        }
        let eps = self.norm_eps;
        expect(eps.is_finite() && eps >= 0.0, "norm_eps", "a number from 0", eps)?;
        expect((0.0..1.0).contains(&self.dropout), "dropout", "0 up to below 1", self.dropout)?;
        let mid = self.mid_block_scale_factor;
        expect(mid.is_finite() && mid != 0.0, "mid_block_scale_factor", "a number but 0", mid)
    }

    /// Every list fits the levels.
    fn check_levels(&self) -> Result<(), UNetConfigError> {
        let channels = &self.block_out_channels;
        let levels = channels.len();
        expect((1..=16).contains(&levels), "block_out_channels", "1 to 16 levels", channels)?;
        let each = |what| format!("{levels} {what}, one for each of block_out_channels");
        for (field, found) in
            [("down_block_types", &self.down_block_types), ("up_block_types", &self.up_block_types)]
        {
            expect(found.len() == levels, field, each("blocks"), found)?;
        }
        let down =
            |b: &BlockType| matches!(b, BlockType::DownBlock2D | BlockType::CrossAttnDownBlock2D);
        let downs = &self.down_block_types;
        expect(downs.iter().all(down), "down_block_types", "blocks that go down", downs)?;
        let ups = &self.up_block_types;
        expect(!ups.iter().any(down), "up_block_types", "blocks that go up", ups)?;
        for (field, found) in [
            ("layers_per_block", &self.layers_per_block),
            ("cross_attention_dim", &self.cross_attention_dim),
            ("attention_head_dim", &self.attention_head_dim),
        ] {
            expect(found.fits(levels), field, each("values, or one"), found)?;
        }
        let only = &self.only_cross_attention;
        expect(only.fits(levels), "only_cross_attention", each("values, or one"), only)?;
        let blocks = self.layers_per_block.values();
        let few = blocks.iter().all(|n| (1..=64).contains(n));
        expect(few, "layers_per_block", "1 to 64", &self.layers_per_block)
    }

    fn check_sizes(&self) -> Result<(), UNetConfigError> {
        // Far past any published network, and far below what would overflow a size.
        let sane = |n: &usize| (1..=1 << 16).contains(n);
        let channels = &self.block_out_channels;
        expect(channels.iter().all(sane), "block_out_channels", "1 to 65536 each", channels)?;
        for (field, found) in [
            ("in_channels", Some(self.in_channels)),
            ("out_channels", Some(self.out_channels)),
            ("norm_num_groups", Some(self.norm_num_groups)),
            ("num_class_embeds", self.num_class_embeds),
            ("time_embedding_dim", self.time_embedding_dim),
            ("time_cond_proj_dim", self.time_cond_proj_dim),
            ("addition_time_embed_dim", self.addition_time_embed_dim),
            ("projection_class_embeddings_input_dim", self.projection_class_embeddings_input_dim),
        ] {
            expect(found.as_ref().is_none_or(sane), field, "1 to 65536", found)?;
        }
        let groups = self.norm_num_groups;
        let fits = channels.iter().all(|c| c % groups == 0);
        let expected = format!("a divisor of each of {channels:?}");
        expect(fits, "norm_num_groups", expected, groups)?;
        let halves = [channels[0], self.addition_time_embed_dim.unwrap_or(channels[0])];
        let half = (halves[0].min(halves[1]) / 2) as f64;
        let expected = format!("below {half}, half the width of a sinusoid");
        expect(self.freq_shift < half, "freq_shift", expected, self.freq_shift)?;
        if self.addition_embed_type.is_some() {
            let (all, each) =
                (self.projection_class_embeddings_input_dim, self.addition_time_embed_dim);
            let field = "addition_time_embed_dim";
            expect(each.is_some(), field, "a width, as addition_embed_type is set", each)?;
            let field = "projection_class_embeddings_input_dim";
            expect(all.is_some(), field, "a width, as addition_embed_type is set", all)?;
        }
        Ok(())
    }

    fn check_attention(&self) -> Result<(), UNetConfigError> {
        let widths = &self.cross_attention_dim;
        let sane = widths.values().iter().all(|n| (1..=1 << 16).contains(n));
        expect(sane, "cross_attention_dim", "1 to 65536", widths)?;
        let last = self.levels() - 1;
        for (level, &channels) in self.block_out_channels.iter().enumerate() {
            let attends =
                self.attends(level).contains(&true) || (level == last && self.middle_attends());
            let heads = self.attention_head_dim.at(level).copied().unwrap_or(0);
            let expected = format!("numbers of heads that divide {channels} at level {level}");
            let fits = !attends || (heads > 0 && channels % heads == 0);
            expect(fits, "attention_head_dim", expected, &self.attention_head_dim)?;
        }
        Ok(())
    }

    fn check_depths(&self) -> Result<(), UNetConfigError> {
        let levels = self.levels();
        let check = |field, depths: &Depths, extra: usize, layers: &dyn Fn(usize) -> usize| {
            let expected = format!("{levels} values, one for each of block_out_channels, or one");
            expect(depths.fits(levels), field, expected, depths)?;
            for level in 0..levels {
                let Some(own) = depths.at(level) else { continue };
                let count = layers(level) + extra;
                let expected = format!("{count} values at level {level}, or one");
                let enough = matches!(own, OneOrEach::One(_)) || own.at(count - 1).is_some();
                expect(enough, field, expected, depths)?;
                let few = own.values().iter().all(|&n| n <= 64);
                expect(few, field, "0 to 64", depths)?;
            }
            Ok(())
        };
        let layers = |level| self.layers_per_block.at(level).copied().unwrap_or(1);
        let down = &self.transformer_layers_per_block;
        check("transformer_layers_per_block", down, 0, &layers)?;
        match &self.reverse_transformer_layers_per_block {
            Some(up) => {
                let layers = |from_coarse: usize| layers(levels - 1 - from_coarse);
                check("reverse_transformer_layers_per_block", up, 1, &layers)
            }
            None => {
                let lists = down.values().iter().any(|own| matches!(own, OneOrEach::Each(_)));
                let expected = "lists, as transformer_layers_per_block has lists";
                let found = &self.reverse_transformer_layers_per_block;
                expect(!lists, "reverse_transformer_layers_per_block", expected, found)
            }
        }
    }
}

/// The depth at a place that [`UNetConditionConfig::check`] saw to.
fn depth(depths: &Depths, level: usize, layer: usize) -> usize {
    depths.at(level).and_then(|own| own.at(layer)).copied().unwrap_or(0)
}
