//! What a run is told: `CONFIG.toml`.

mod eval;
mod network;
mod objective;
mod process;

pub use eval::{EvalConfig, EvalSet, Metric};
pub use network::NetworkConfig;
pub use objective::{Loss, ObjectiveConfig, Times};
pub use process::{ProcessConfig, ProcessKind};

use crate::settings::{apply, explain};
use crate::{AdamWConfig, TrainError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use sumi_data::DataConfig;
use sumi_model::{Plan, SamplerChoice, SchedulerConfig};
use sumi_process::Prediction;
use sumi_sampler::{Sampler, SamplerKind};

/// A whole run: where the pictures come from, how noise is added, the network, the training, and
/// what is drawn and measured along the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where the pictures come from.
    pub data: DataConfig,
    /// How noise is added and what is predicted.
    #[serde(default)]
    pub process: ProcessConfig,
    /// What is minimised, and at which noise levels.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// The network.
    pub network: NetworkConfig,
    /// The training.
    pub train: TrainConfig,
    /// Samples along the way.
    #[serde(default)]
    pub sample: SampleConfig,
    /// Measurements along the way.
    #[serde(default)]
    pub eval: EvalConfig,
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
    /// Probability that the network is told no class, so that it learns to do without one
    /// (Ho and Salimans, Classifier-Free Diffusion Guidance, Algorithm 1).
    pub condition_dropout: f64,
    /// Decides the first weights, the order of the data and all noise.
    pub seed: u64,
    /// Steps between two records of the log.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept, the best apart; the oldest go first.
    pub keep_checkpoints: usize,
    /// Steps between two measurements of the averaged weights, as `[eval]` says; 0 makes none.
    pub eval_every: u64,
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
            condition_dropout: 0.0,
            seed: 0,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
            eval_every: 0,
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

impl SampleConfig {
    /// With what the sheets are drawn.
    pub fn choice(&self) -> SamplerChoice {
        choice(self.sampler, self.steps)
    }
}

fn choice(sampler: SamplerKind, steps: usize) -> SamplerChoice {
    SamplerChoice { kind: Some(sampler), steps: Some(steps), ..SamplerChoice::default() }
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

    /// The process as a diffusers scheduler.
    pub fn scheduler(&self) -> SchedulerConfig {
        self.process.scheduler()
    }

    fn checked(self, name: &str) -> Result<Self, TrainError> {
        let train = &self.train;
        let at_least_one = [
            ("train.steps", train.steps),
            ("train.batch_size", train.batch_size as u64),
            ("train.log_every", train.log_every),
            ("train.checkpoint_every", train.checkpoint_every),
            ("train.keep_checkpoints", train.keep_checkpoints as u64),
            ("process.timesteps", self.process.kind.timesteps().unwrap_or(1) as u64),
            ("sample.count", self.sample.count as u64),
            ("eval.count", self.eval.count as u64),
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
            ("train.condition_dropout", train.condition_dropout, 0.0, 0.999_999),
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
        let invalid = |message: String| TrainError::Config(format!("{name}: {message}"));
        if let Some(message) = self.prediction_conflict() {
            return Err(invalid(message));
        }
        let parameterisation = self.scheduler().parameterisation();
        parameterisation.map_err(|message| invalid(format!("process.{message}")))?;
        if let Some(message) = self.objective_conflict().or_else(|| self.task_conflict()) {
            return Err(invalid(message));
        }
        match self.sample_conflict().or_else(|| self.eval_conflict()) {
            Some(message) => Err(invalid(message)),
            None => Ok(self),
        }
    }

    /// What the network cannot predict where its noisiest level has no signal. The scheduler refuses it
    /// too, but in diffusers' words.
    fn prediction_conflict(&self) -> Option<String> {
        let found = match self.process.prediction {
            Prediction::Epsilon => "epsilon",
            Prediction::Score => "score",
            _ => return None,
        };
        // A process that cannot be is its own refusal.
        let process = self.scheduler().process().ok()?;
        let why = match self.process.kind {
            ProcessKind::Flow => "a flow starts without signal",
            _ => "zero_terminal_snr leaves no signal",
        };
        (process.noisiest().alpha == 0.0).then(|| {
            format!(
                "process.prediction: expected \"v\", \"velocity\" or \"x0\" where {why}, found \
                 \"{found}\""
            )
        })
    }

    /// What the sheets of samples cannot be drawn with.
    fn sample_conflict(&self) -> Option<String> {
        let sample = &self.sample;
        if sample.every == 0 {
            return None;
        }
        self.drawing_conflict("sample", sample.steps, sample.choice())
    }

    /// What samples cannot be drawn with, as `section` says.
    fn drawing_conflict(
        &self,
        section: &str,
        steps: usize,
        choice: SamplerChoice,
    ) -> Option<String> {
        let (most, key) = match self.process.kind.timesteps() {
            Some(timesteps) => (timesteps, "process.timesteps = "),
            None => (1 << 20, ""),
        };
        if !(1..=most).contains(&steps) {
            return Some(format!("{section}.steps: expected from 1 to {key}{most}, found {steps}"));
        }
        let refusal = Plan::new(&self.scheduler(), choice).err()?;
        Some(format!("{section}.{refusal}"))
    }

    /// What only a network that draws pictures can be told.
    fn task_conflict(&self) -> Option<String> {
        let classifies = matches!(self.network, NetworkConfig::Classifier { .. });
        let refused = [
            ("condition_dropout", self.train.condition_dropout > 0.0),
            ("checkpoint_blocks", self.train.checkpoint_blocks),
        ];
        let (key, _) = refused.into_iter().find(|(_, set)| classifies && *set)?;
        Some(format!("train.{key} belongs to network.kind = \"unet\", found \"classifier\""))
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
            (
                "process.zero_terminal_snr=true",
                "process.prediction: expected \"v\", \"velocity\" or \"x0\" where zero_terminal_snr \
                 leaves no signal, found \"epsilon\"",
            ),
            ("process.prediction=mean", "sample.sampler: expected ddpm, the only one"),
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
