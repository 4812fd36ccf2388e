//! `[network]`: what is trained.

use super::RunConfig;
use crate::TrainError;
use serde::{Deserialize, Serialize};
use sumi_data::Pictures;
use sumi_networks::classifier::ClassifierConfig;
use sumi_networks::unet::{BlockType, SampleSize, UNetConfig};
use sumi_process::ReverseVariance;

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NetworkConfig {
    /// A U-Net over pixels.
    Unet {
        /// Channels of each level, from fine to coarse.
        channels: Vec<usize>,
        /// Residual blocks a level.
        blocks: usize,
        /// Which levels have attention, from fine to coarse; the middle always has it.
        attention: Vec<bool>,
        /// Channels of one attention head; one head over all where nothing is said.
        head_dim: Option<usize>,
        /// Groups of the normalisations.
        #[serde(default = "default_groups")]
        norm_groups: usize,
        /// Probability that dropout drops an element.
        #[serde(default)]
        dropout: f64,
        /// Whether the network is told the class, where the data has classes.
        #[serde(default = "yes")]
        class_conditional: bool,
    },
    /// A classifier of noisy pictures, by whose gradient a model can be guided: the U-Net's way down.
    Classifier {
        /// Channels of each level, from fine to coarse.
        channels: Vec<usize>,
        /// Residual blocks a level.
        blocks: usize,
        /// Which levels have attention, from fine to coarse; the middle always has it.
        attention: Vec<bool>,
        /// Channels of one attention head; one head over all where nothing is said.
        head_dim: Option<usize>,
        /// Groups of the normalisations.
        #[serde(default = "default_groups")]
        norm_groups: usize,
        /// Probability that dropout drops an element.
        #[serde(default)]
        dropout: f64,
    },
}

fn default_groups() -> usize {
    32
}

fn yes() -> bool {
    true
}

impl RunConfig {
    /// The class that stands for none, where the network learns to do without one: the number after
    /// the last class.
    pub fn null_class(&self, pictures: &Pictures) -> Option<u32> {
        let classes = self.classes(pictures)?;
        (self.train.condition_dropout > 0.0).then_some(classes as u32)
    }

    /// How many classes the U-Net is told of.
    fn classes(&self, pictures: &Pictures) -> Option<usize> {
        let classes = pictures.class_names.len();
        match self.network {
            NetworkConfig::Unet { class_conditional: true, .. } if classes > 1 => Some(classes),
            _ => None,
        }
    }

    /// The U-Net's configuration for pictures like these.
    ///
    /// # Errors
    /// A network that is none, that cannot be built, or that does not fit the pictures.
    pub fn unet(&self, pictures: &Pictures) -> Result<UNetConfig, TrainError> {
        let NetworkConfig::Unet {
            channels, blocks, attention, head_dim, norm_groups, dropout, ..
        } = &self.network
        else {
            return Err(TrainError::Config(
                "network.kind: expected \"unet\", found \"classifier\"".into(),
            ));
        };
        check_attention(channels, attention)?;
        let block = |&attended: &bool, plain, with| if attended { with } else { plain };
        let down = |a| block(a, BlockType::DownBlock2D, BlockType::AttnDownBlock2D);
        let up = |a| block(a, BlockType::UpBlock2D, BlockType::AttnUpBlock2D);
        let classes = self.classes(pictures);
        if self.train.condition_dropout > 0.0 && classes.is_none() {
            return Err(TrainError::Config(
                "train.condition_dropout: expected 0 for a network that is told no class (pictures \
                 of one class, or network.class_conditional = false)"
                    .into(),
            ));
        }
        // One more row stands for no class.
        let rows = classes.map(|n| n + usize::from(self.train.condition_dropout > 0.0));
        let outputs = match self.process.variance {
            ReverseVariance::LearnedRange => 2 * pictures.channels,
            _ => pictures.channels,
        };
        let config = UNetConfig {
            sample_size: Some(sample_size(pictures)),
            in_channels: pictures.channels,
            out_channels: outputs,
            // DDPM's own conventions, in which its checkpoints are published.
            flip_sin_to_cos: false,
            freq_shift: 1.0,
            downsample_padding: 0,
            norm_eps: 1e-6,
            down_block_types: attention.iter().map(down).collect(),
            up_block_types: attention.iter().rev().map(up).collect(),
            block_out_channels: channels.clone(),
            layers_per_block: *blocks,
            attention_head_dim: *head_dim,
            norm_num_groups: *norm_groups,
            dropout: *dropout,
            num_class_embeds: rows,
            ..UNetConfig::default()
        };
        config.check().map_err(|error| TrainError::Config(format!("network: {error}")))?;
        check_size(&config, pictures)?;
        Ok(config)
    }

    /// The classifier's configuration for pictures like these.
    ///
    /// # Errors
    /// A network that is none, that cannot be built, or that does not fit the pictures.
    pub fn classifier(&self, pictures: &Pictures) -> Result<ClassifierConfig, TrainError> {
        let NetworkConfig::Classifier {
            channels,
            blocks,
            attention,
            head_dim,
            norm_groups,
            dropout,
        } = &self.network
        else {
            return Err(TrainError::Config(
                "network.kind: expected \"classifier\", found \"unet\"".into(),
            ));
        };
        check_attention(channels, attention)?;
        let config = ClassifierConfig {
            sample_size: sample_size(pictures),
            in_channels: pictures.channels,
            num_classes: pictures.class_names.len(),
            block_out_channels: channels.clone(),
            attention: attention.clone(),
            layers_per_block: *blocks,
            attention_head_dim: *head_dim,
            norm_num_groups: *norm_groups,
            dropout: *dropout,
        };
        config.check().map_err(|error| TrainError::Config(format!("network: {error}")))?;
        check_size(&config.unet(), pictures)?;
        Ok(config)
    }
}

fn sample_size(pictures: &Pictures) -> SampleSize {
    match (pictures.height_px, pictures.width_px) {
        (h, w) if h == w => SampleSize::Square(h),
        (h, w) => SampleSize::Rectangle([h, w]),
    }
}

fn check_attention(channels: &[usize], attention: &[bool]) -> Result<(), TrainError> {
    match attention.len() == channels.len() {
        true => Ok(()),
        false => Err(TrainError::Config(format!(
            "network.attention: expected {} values, one for each of network.channels, found {}",
            channels.len(),
            attention.len()
        ))),
    }
}

fn check_size(config: &UNetConfig, pictures: &Pictures) -> Result<(), TrainError> {
    let multiple = config.size_multiple_px();
    let fits = |side: usize| side.is_multiple_of(multiple);
    match fits(pictures.height_px) && fits(pictures.width_px) {
        true => Ok(()),
        false => Err(TrainError::Config(format!(
            "network.channels: {} levels need pictures whose sides are multiples of {multiple} \
             px, found {} x {} px; use fewer levels or set data.image_size_px",
            config.levels(),
            pictures.height_px,
            pictures.width_px
        ))),
    }
}
