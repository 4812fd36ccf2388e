//! `scheduler/scheduler_config.json`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sumi_process::{BetaSchedule, Prediction, ReverseVariance, Schedule};
use sumi_sampler::{Limit, Spacing};

/// Which variance an ancestral step adds, by diffusers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarianceType {
    /// `beta_tilde`.
    #[default]
    FixedSmall,
    /// The same, held above 1e-20 by way of its logarithm.
    FixedSmallLog,
    /// `beta`.
    FixedLarge,
    /// The logarithm of `beta`; no published model uses it.
    FixedLargeLog,
    /// Put out by the network.
    Learned,
    /// Interpolated by the network.
    LearnedRange,
}

/// How a model was noised, what it predicts and how it likes to be sampled, under the names and
/// with the defaults of diffusers' `DDPMScheduler` and `DDIMScheduler`.
///
/// What belongs to other schedulers is kept in `other` and written back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Which scheduler wrote it.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Which version of diffusers it follows.
    #[serde(rename = "_diffusers_version")]
    pub diffusers_version: String,
    /// `T`.
    pub num_train_timesteps: usize,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// "linear", "scaled_linear" or "squaredcos_cap_v2".
    pub beta_schedule: String,
    /// A table of betas that goes before all of these.
    pub trained_betas: Option<Vec<f64>>,
    /// Which variance an ancestral step adds.
    pub variance_type: VarianceType,
    /// Whether the estimate of `x_0` is clamped.
    pub clip_sample: bool,
    /// To what.
    pub clip_sample_range: f64,
    /// "epsilon", "sample" or "v_prediction".
    #[serde(with = "prediction_names")]
    pub prediction_type: Prediction,
    /// Whether dynamic thresholding goes before clamping.
    pub thresholding: bool,
    /// Its quantile.
    pub dynamic_thresholding_ratio: f64,
    /// The most that its quantile may be.
    pub sample_max_value: f64,
    /// How timesteps are picked.
    pub timestep_spacing: Spacing,
    /// What is added to them.
    pub steps_offset: usize,
    /// Whether the betas are rescaled to end without signal.
    pub rescale_betas_zero_snr: bool,
    /// Whether DDIM's last step ends without noise, or at timestep 0's level.
    pub set_alpha_to_one: bool,
    /// What belongs to other schedulers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: "DDPMScheduler".into(),
            diffusers_version: crate::folder::DIFFUSERS_VERSION.into(),
            num_train_timesteps: 1000,
            beta_start: 1e-4,
            beta_end: 0.02,
            beta_schedule: "linear".into(),
            trained_betas: None,
            variance_type: VarianceType::FixedSmall,
            clip_sample: true,
            clip_sample_range: 1.0,
            prediction_type: Prediction::Epsilon,
            thresholding: false,
            dynamic_thresholding_ratio: 0.995,
            sample_max_value: 1.0,
            timestep_spacing: Spacing::Leading,
            steps_offset: 0,
            rescale_betas_zero_snr: false,
            set_alpha_to_one: true,
            other: BTreeMap::new(),
        }
    }
}

/// diffusers' name of each shape.
const BETA_SCHEDULES: [(&str, BetaSchedule); 3] = [
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::Cosine),
];

/// diffusers' name of each prediction.
const PREDICTIONS: [(&str, Prediction); 3] =
    [("epsilon", Prediction::Epsilon), ("sample", Prediction::X0), ("v_prediction", Prediction::V)];

impl SchedulerConfig {
    /// The name under which diffusers knows a shape of beta.
    pub fn beta_schedule_name(shape: BetaSchedule) -> &'static str {
        BETA_SCHEDULES.iter().find(|(_, s)| *s == shape).map_or("linear", |(name, _)| name)
    }

    /// The process, as numbers.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub fn schedule(&self) -> Result<Schedule, String> {
        if self.rescale_betas_zero_snr {
            return Err("rescale_betas_zero_snr: expected false, found true, which Sumi cannot \
                        sample yet"
                .into());
        }
        // A table is allocated by this number.
        if !(1..=1_000_000).contains(&self.num_train_timesteps) {
            return Err(format!(
                "num_train_timesteps: expected 1 to 1000000, found {}",
                self.num_train_timesteps
            ));
        }
        if let Some(betas) = &self.trained_betas {
            if betas.len() != self.num_train_timesteps {
                return Err(format!(
                    "trained_betas: expected {} betas, as many as num_train_timesteps, found {}",
                    self.num_train_timesteps,
                    betas.len()
                ));
            }
            return Schedule::from_betas(betas.clone()).map_err(|e| e.to_string());
        }
        let Some((_, shape)) = BETA_SCHEDULES.iter().find(|(n, _)| *n == self.beta_schedule) else {
            return Err(format!(
                "beta_schedule: expected \"linear\", \"scaled_linear\" or \"squaredcos_cap_v2\", \
                 found \"{}\"",
                self.beta_schedule
            ));
        };
        Schedule::new(*shape, self.num_train_timesteps, self.beta_start, self.beta_end)
            .map_err(|e| e.to_string())
    }

    /// Whether a model can be sampled by it.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub fn check(&self) -> Result<(), String> {
        self.schedule()?;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let range = [
            (
                "clip_sample_range",
                self.clip_sample_range,
                positive(self.clip_sample_range),
                "a number above 0",
            ),
            (
                "sample_max_value",
                self.sample_max_value,
                positive(self.sample_max_value),
                "a number above 0",
            ),
            (
                "dynamic_thresholding_ratio",
                self.dynamic_thresholding_ratio,
                (0.0..=1.0).contains(&self.dynamic_thresholding_ratio),
                "a number from 0 to 1",
            ),
        ];
        match range.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, found, _, expected)) => {
                Err(format!("{field}: expected {expected}, found {found}"))
            }
            None => Ok(()),
        }
    }

    /// The variance of ancestral sampling.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub fn reverse_variance(&self) -> Result<ReverseVariance, String> {
        match self.variance_type {
            VarianceType::FixedSmall | VarianceType::FixedSmallLog => {
                Ok(ReverseVariance::FixedSmall)
            }
            VarianceType::FixedLarge => Ok(ReverseVariance::FixedLarge),
            other => Err(format!(
                "variance_type: expected \"fixed_small\", \"fixed_small_log\" or \"fixed_large\", \
                 found {other:?}"
            )),
        }
    }

    /// How the estimate of `x_0` is held in range.
    pub fn limit(&self) -> Limit {
        if self.thresholding {
            let (quantile, max) = (self.dynamic_thresholding_ratio, self.sample_max_value);
            return Limit::Threshold { quantile, max };
        }
        match self.clip_sample {
            true => Limit::Clip { range: self.clip_sample_range },
            false => Limit::None,
        }
    }
}

/// Predictions under diffusers' names.
pub(crate) mod prediction_names {
    use super::{PREDICTIONS, Prediction};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &Prediction, serializer: S) -> Result<S::Ok, S::Error> {
        let name = PREDICTIONS.iter().find(|(_, p)| p == value).map_or("epsilon", |(name, _)| name);
        serializer.serialize_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Prediction, D::Error> {
        let found = String::deserialize(deserializer)?;
        PREDICTIONS.iter().find(|(name, _)| *name == found).map(|(_, p)| *p).ok_or_else(|| {
            D::Error::custom(format!(
                "prediction_type: expected \"epsilon\", \"sample\" or \"v_prediction\", found \
                 \"{found}\""
            ))
        })
    }
}
