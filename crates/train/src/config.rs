//! What a run is told: `CONFIG.toml`.

use crate::settings::{apply, explain};
use crate::{AdamWConfig, TrainError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use sumi_data::{DataConfig, Pictures};
use sumi_model::{SchedulerConfig, VarianceType};
use sumi_networks::unet::{BlockType, SampleSize, UNetConfig};
use sumi_process::{BetaSchedule, Prediction, ReverseVariance};
use sumi_sampler::{Sampler, SamplerKind, Spacing};

/// A whole run: where the pictures come from, how noise is added, the network, the training, and
/// the samples drawn along the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where the pictures come from.
    pub data: DataConfig,
    /// How noise is added and what is predicted.
    #[serde(default)]
    pub process: ProcessConfig,
    /// The network.
    pub network: NetworkConfig,
    /// The training.
    pub train: TrainConfig,
    /// Samples along the way.
    #[serde(default)]
    pub sample: SampleConfig,
}

/// How noise is added and what is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessConfig {
    /// `T`.
    pub timesteps: usize,
    /// The shape of `beta`.
    pub schedule: BetaSchedule,
    /// The first `beta`.
    pub beta_start: f64,
    /// The last `beta`.
    pub beta_end: f64,
    /// What the network predicts.
    pub prediction: Prediction,
    /// The variance that ancestral sampling adds.
    pub variance: ReverseVariance,
    /// Whether sampling clamps its estimate of the picture to the range of pixels.
    pub clip_sample: bool,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            timesteps: 1000,
            schedule: BetaSchedule::Linear,
            beta_start: 1e-4,
            beta_end: 0.02,
            prediction: Prediction::Epsilon,
            variance: ReverseVariance::FixedLarge,
            clip_sample: true,
        }
    }
}

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
}

fn default_groups() -> usize {
    32
}

fn yes() -> bool {
    true
}

/// How the learning rate moves after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRate {
    /// It stays.
    #[default]
    Constant,
    /// It falls along half a cosine to `final_learning_rate` at the last step.
    Cosine,
    /// It falls along a line to `final_learning_rate` at the last step.
    Linear,
}

/// The training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// How many steps.
    pub steps: u64,
    /// Pictures a step.
    pub batch_size: usize,
    /// The learning rate after the warm-up.
    pub learning_rate: f64,
    /// How it moves from there.
    pub schedule: LearningRate,
    /// Where it ends, unless it stays.
    pub final_learning_rate: f64,
    /// Steps over which it rises from 0.
    pub warmup_steps: u64,
    /// The optimiser's constants.
    pub adamw: AdamWConfig,
    /// The most that the norm of all gradients may be; 0 leaves them alone.
    pub gradient_clip: f64,
    /// Decay of the moving average of the weights.
    pub ema_decay: f64,
    /// Whether that decay rises as `(1 + n) / (10 + n)` with the step `n` until it is reached, so
    /// that a short run is not an average of its own beginning.
    pub ema_warmup: bool,
    /// Whether the network is recomputed block by block for the gradient, instead of kept whole:
    /// less memory, more time, and the same bits.
    pub checkpoint_blocks: bool,
    /// Decides the first weights, the order of the data and all noise.
    pub seed: u64,
    /// Steps between two records of the log.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept; the oldest go first.
    pub keep_checkpoints: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch_size: 128,
            learning_rate: 2e-4,
            schedule: LearningRate::Constant,
            final_learning_rate: 0.0,
            warmup_steps: 0,
            adamw: AdamWConfig::default(),
            gradient_clip: 1.0,
            ema_decay: 0.9999,
            ema_warmup: true,
            checkpoint_blocks: false,
            seed: 0,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
        }
    }
}

/// Samples that are drawn along the way, with the averaged weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Steps of training between two sheets; 0 draws none.
    pub every: u64,
    /// How many samples a sheet.
    pub count: usize,
    /// With which sampler.
    pub sampler: SamplerKind,
    /// With how many sampling steps.
    pub steps: usize,
    /// The first sample's seed.
    pub seed: u64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            every: 1000,
            count: 100,
            sampler: Sampler::Ddim { eta: 0.0 }.into(),
            steps: 50,
            seed: 0,
        }
    }
}

impl RunConfig {
    /// Reads a file and applies `key=value` changes to it, such as `train.steps=200`.
    ///
    /// # Errors
    /// A missing file; text that does not parse; an unknown key, with its line and the nearest
    /// key that exists; a value of the wrong kind or out of range.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            sumi_formats::FormatError::Io { path: path.into(), action: "open the file", source }
        })?;
        Self::parse(&text, &path.display().to_string(), changes)
    }

    /// The same from text; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, name: &str, changes: &[String]) -> Result<Self, TrainError> {
        // The file alone comes first, so that an error in it is given with its line.
        let config: Self =
            toml::from_str(text).map_err(|error| explain(&error, Some(text), name))?;
        if changes.is_empty() {
            return config.checked(name);
        }
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| explain(&error, Some(text), name))?;
        for change in changes {
            apply(&mut table, change)?;
        }
        // Together: a kind and the keys that belong to it only make sense at once.
        let config = Self::deserialize(table).map_err(|error| {
            let name = match changes {
                [only] => format!("--set {only}"),
                several => format!("--set {}", several.join(" --set ")),
            };
            explain(&error, None, &name)
        })?;
        config.checked(name)
    }

    /// The configuration as a file that reads back to the same.
    ///
    /// # Errors
    /// A value that TOML cannot hold, such as a path that is not text.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|error| TrainError::Config(error.to_string()))
    }

    /// The learning rate of step `step`, counted from 1.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let TrainConfig {
            steps, learning_rate, final_learning_rate, warmup_steps, schedule, ..
        } = self.train;
        if step <= warmup_steps {
            return learning_rate * step as f64 / warmup_steps as f64;
        }
        let left = steps.saturating_sub(warmup_steps).max(1) as f64;
        let progress = ((step - 1 - warmup_steps) as f64 / left).min(1.0);
        let fall = learning_rate - final_learning_rate;
        match schedule {
            LearningRate::Constant => learning_rate,
            LearningRate::Cosine => {
                let half = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                final_learning_rate + fall * half
            }
            LearningRate::Linear => learning_rate - fall * progress,
        }
    }

    /// The network's configuration for pictures like these.
    ///
    /// # Errors
    /// A network that cannot be built, or that does not fit the pictures.
    pub fn unet(&self, pictures: &Pictures) -> Result<UNetConfig, TrainError> {
        let NetworkConfig::Unet {
            channels,
            blocks,
            attention,
            head_dim,
            norm_groups,
            dropout,
            class_conditional,
        } = &self.network;
        if attention.len() != channels.len() {
            return Err(TrainError::Config(format!(
                "network.attention: expected {} values, one for each of network.channels, found {}",
                channels.len(),
                attention.len()
            )));
        }
        let block = |&attended: &bool, plain, with| if attended { with } else { plain };
        let down = |a| block(a, BlockType::DownBlock2D, BlockType::AttnDownBlock2D);
        let up = |a| block(a, BlockType::UpBlock2D, BlockType::AttnUpBlock2D);
        let classes = pictures.class_names.len();
        let config = UNetConfig {
            sample_size: Some(match (pictures.height_px, pictures.width_px) {
                (h, w) if h == w => SampleSize::Square(h),
                (h, w) => SampleSize::Rectangle([h, w]),
            }),
            in_channels: pictures.channels,
            out_channels: pictures.channels,
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
            num_class_embeds: (*class_conditional && classes > 1).then_some(classes),
            ..UNetConfig::default()
        };
        config.check().map_err(|error| TrainError::Config(format!("network: {error}")))?;
        let multiple = config.size_multiple_px();
        if !pictures.height_px.is_multiple_of(multiple)
            || !pictures.width_px.is_multiple_of(multiple)
        {
            return Err(TrainError::Config(format!(
                "network.channels: {} levels need pictures whose sides are multiples of {multiple} \
                 px, found {} x {} px; use fewer levels or set data.image_size_px",
                channels.len(),
                pictures.height_px,
                pictures.width_px
            )));
        }
        Ok(config)
    }

    /// The process as a diffusers scheduler.
    pub fn scheduler(&self) -> SchedulerConfig {
        let process = &self.process;
        SchedulerConfig {
            num_train_timesteps: process.timesteps,
            beta_start: process.beta_start,
            beta_end: process.beta_end,
            beta_schedule: SchedulerConfig::beta_schedule_name(process.schedule)
                .unwrap_or("linear")
                .into(),
            variance_type: match process.variance {
                ReverseVariance::FixedSmall => VarianceType::FixedSmall,
                ReverseVariance::FixedLarge => VarianceType::FixedLarge,
                ReverseVariance::LearnedRange => VarianceType::LearnedRange,
            },
            clip_sample: Some(process.clip_sample),
            timestep_spacing: Some(Spacing::Leading),
            prediction_type: process.prediction,
            ..SchedulerConfig::default()
        }
    }

    fn checked(self, name: &str) -> Result<Self, TrainError> {
        let train = &self.train;
        let at_least_one = [
            ("train.steps", train.steps),
            ("train.batch_size", train.batch_size as u64),
            ("train.log_every", train.log_every),
            ("train.checkpoint_every", train.checkpoint_every),
            ("train.keep_checkpoints", train.keep_checkpoints as u64),
            ("process.timesteps", self.process.timesteps as u64),
            ("sample.count", self.sample.count as u64),
        ];
        for (key, found) in at_least_one {
            // More of anything would not fit a machine, and some of it is allocated by.
            let most = if key == "train.steps" { u64::MAX } else { 1 << 20 };
            if found == 0 || found > most {
                let expected =
                    if found == 0 { "at least 1".into() } else { format!("at most {most}") };
                return Err(TrainError::Config(format!(
                    "{name}: {key}: expected {expected}, found {found}"
                )));
            }
        }
        let ranges = [
            ("train.learning_rate", train.learning_rate, f64::MIN_POSITIVE, 1.0),
            ("train.final_learning_rate", train.final_learning_rate, 0.0, 1.0),
            ("train.gradient_clip", train.gradient_clip, 0.0, f64::MAX),
            ("train.ema_decay", train.ema_decay, 0.0, 1.0),
            ("train.adamw.beta1", train.adamw.beta1, 0.0, 0.999_999),
            ("train.adamw.beta2", train.adamw.beta2, 0.0, 0.999_999),
            ("train.adamw.eps", train.adamw.eps, f64::from(f32::MIN_POSITIVE), 1.0),
            ("train.adamw.weight_decay", train.adamw.weight_decay, 0.0, 1.0),
        ];
        for (key, found, low, high) in ranges {
            if !(low..=high).contains(&found) {
                return Err(TrainError::Config(format!(
                    "{name}: {key}: expected a number from {low:e} to {high:e}, found {found}"
                )));
            }
        }
        if self.sample.every > 0 && !(1..=self.process.timesteps).contains(&self.sample.steps) {
            return Err(TrainError::Config(format!(
                "{name}: sample.steps: expected from 1 to process.timesteps = {}, found {}",
                self.process.timesteps, self.sample.steps
            )));
        }
        self.scheduler()
            .parameterisation()
            .map_err(|message| TrainError::Config(format!("{name}: process.{message}")))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "[data]\nkind = \"digits\"\n\n[network]\nkind = \"unet\"\n\
        channels = [32, 64]\nblocks = 1\nattention = [false, true]\n\n[train]\nsteps = 10\n";

    fn refusal(text: &str, changes: &[&str]) -> String {
        let changes: Vec<String> = changes.iter().map(|c| c.to_string()).collect();
        RunConfig::parse(text, "run.toml", &changes).unwrap_err().to_string()
    }

    #[test]
    fn a_config_reads_back_to_itself() {
        let changes = ["train.steps=7", "train.checkpoint_blocks=true"].map(String::from);
        let config = RunConfig::parse(DIGITS, "run.toml", &changes).unwrap();
        assert_eq!(config.train.steps, 7);
        assert!(config.train.checkpoint_blocks && !TrainConfig::default().checkpoint_blocks);
        let again = RunConfig::parse(&config.to_toml().unwrap(), "again", &[]).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_neighbour() {
        let text = DIGITS.replace("steps = 10", "stpes = 10");
        let message = refusal(&text, &[]);
        assert!(message.starts_with("run.toml, line 11: unknown field `stpes`"), "{message}");
        assert!(message.ends_with("did you mean `steps`?"), "{message}");
        let message = refusal(DIGITS, &["train.lerning_rate=1e-3"]);
        assert!(message.contains("--set train.lerning_rate=1e-3"), "{message}");
        assert!(message.ends_with("did you mean `learning_rate`?"), "{message}");
        let message = refusal(DIGITS, &["process.schedule=lineer"]);
        assert!(message.ends_with("did you mean `linear`?"), "{message}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (change, expected) in [
            ("train.batch_size=0", "train.batch_size: expected at least 1, found 0"),
            ("train.learning_rate=-1.0", "train.learning_rate: expected a number"),
            ("process.beta_end=2.0", "process.beta_end: expected a number above 0"),
            ("sample.steps=1001", "sample.steps: expected from 1 to process.timesteps = 1000"),
            ("train", "expected key=value"),
            ("train.checkpoint_blocks=2", "expected a boolean"),
            ("train.steps.x=1", "\"steps\" is a value"),
        ] {
            let message = refusal(DIGITS, &[change]);
            assert!(message.contains(expected), "{change}: {message}");
        }
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let changes = ["train.warmup_steps=4", "train.schedule=cosine", "train.learning_rate=1.0"];
        let changes = changes.map(String::from);
        let config = RunConfig::parse(DIGITS, "run.toml", &changes).unwrap();
        assert_eq!(config.learning_rate(1), 0.25);
        assert_eq!(config.learning_rate(4), 1.0);
        assert_eq!(config.learning_rate(5), 1.0);
        assert_eq!(config.learning_rate(8), 0.5);
        assert!(config.learning_rate(10) < 0.1);
    }
}
