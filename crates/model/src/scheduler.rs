//! `scheduler/scheduler_config.json`.

use crate::settings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sumi_process::{
    BetaSchedule, Parameterisation, Prediction, Process, ReverseVariance, Schedule,
};
use sumi_sampler::{Entry, GridKind, Limit, Spacing};

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
/// with the defaults of diffusers' schedulers.
///
/// The class says which process it is: `FlowMatch..`, `EDM..`, `ScoreSdeVe..` and `ScoreSdeVp..` are
/// continuous, all others are tables of betas. What belongs to one scheduler alone is kept in `other`
/// and written back.
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
    /// Whether the estimate of `x_0` is clamped; where nothing is said, the sampler decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_sample: Option<bool>,
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
    /// How timesteps are picked; where nothing is said, the sampler decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestep_spacing: Option<Spacing>,
    /// What is added to them.
    pub steps_offset: usize,
    /// Whether the betas are rescaled to end without signal.
    pub rescale_betas_zero_snr: bool,
    /// Whether the last step of DDIM and PNDM ends without noise, or at timestep 0's level; where nothing is
    /// said, the sampler decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_alpha_to_one: Option<bool>,
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
            clip_sample: None,
            clip_sample_range: 1.0,
            prediction_type: Prediction::Epsilon,
            thresholding: false,
            dynamic_thresholding_ratio: 0.995,
            sample_max_value: 1.0,
            timestep_spacing: None,
            steps_offset: 0,
            rescale_betas_zero_snr: false,
            set_alpha_to_one: None,
            other: BTreeMap::new(),
        }
    }
}

/// diffusers' name of each shape.
const BETA_SCHEDULES: [(&str, BetaSchedule); 4] = [
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::Cosine),
    ("sigmoid", BetaSchedule::Sigmoid),
];

/// diffusers' name of each prediction; it has none for the last three.
const PREDICTIONS: [(&str, Prediction); 7] = [
    ("epsilon", Prediction::Epsilon),
    ("sample", Prediction::X0),
    ("v_prediction", Prediction::V),
    ("flow_prediction", Prediction::Velocity),
    ("score", Prediction::Score),
    ("mean", Prediction::Mean),
    ("edm", Prediction::Edm),
];

/// Says that "epsilon" means the noise where diffusers' class means something else by it.
const LITERAL: &str = "sumi_literal_prediction";

impl SchedulerConfig {
    /// Of a `scheduler_config.json`, where null says as much as nothing.
    ///
    /// # Errors
    /// A field of another type, a value that cannot be served: field, expected and found.
    pub fn read(mut json: serde_json::Value) -> Result<Self, String> {
        if let Some(fields) = json.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let config: Self = serde_json::from_value(json).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// The name under which diffusers knows a shape of beta; `None` for one that it does not know, which
    /// is written as a table.
    pub fn beta_schedule_name(shape: BetaSchedule) -> Option<&'static str> {
        BETA_SCHEDULES.iter().find(|(_, s)| *s == shape).map(|(name, _)| *name)
    }

    /// What the network sees and says.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub fn parameterisation(&self) -> Result<Parameterisation, String> {
        let process = self.process()?;
        // These classes have no field for it in diffusers, or call EDM's F "epsilon".
        let prediction = match (&process, self.prediction_type) {
            (_, prediction) if self.flag(LITERAL) => prediction,
            (Process::Flow, Prediction::Epsilon) => Prediction::Velocity,
            (Process::Edm { .. }, Prediction::Epsilon) => Prediction::Edm,
            (_, prediction) => prediction,
        };
        if matches!(prediction, Prediction::Epsilon | Prediction::Score)
            && process.noisiest().alpha == 0.0
        {
            let why = match process {
                Process::Discrete(_) => "rescale_betas_zero_snr leaves no signal",
                _ => "a flow starts without signal",
            };
            return Err(format!(
                "prediction_type: expected \"v_prediction\", \"flow_prediction\" or \"sample\" where \
                 {why}, found \"{}\"",
                prediction_names::name(prediction)
            ));
        }
        Ok(Parameterisation { prediction, process })
    }

    /// The same with what the network predicts, which [`Self::parameterisation`] reads back.
    pub fn with_prediction(mut self, prediction: Prediction) -> Self {
        self.prediction_type = prediction;
        let flow_or_edm =
            self.class_name.starts_with("FlowMatch") || self.class_name.starts_with("EDM");
        if flow_or_edm && prediction == Prediction::Epsilon {
            self.other.insert(LITERAL.into(), true.into());
        }
        self
    }

    /// How noise is added.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub fn process(&self) -> Result<Process, String> {
        let ordered = |low: (&str, f64), high: (&str, f64)| match low.1 < high.1 {
            true => Ok(()),
            false => Err(format!(
                "{}: expected less than {} = {}, found {}",
                low.0, high.0, high.1, low.1
            )),
        };
        let sigmas = |min: f64, max: f64| {
            let (min, max) = (self.number("sigma_min", min)?, self.number("sigma_max", max)?);
            ordered(("sigma_min", min), ("sigma_max", max)).map(|()| (min, max))
        };
        match self.class_name.as_str() {
            name if name.starts_with("FlowMatch") => Ok(Process::Flow),
            name if name.starts_with("EDM") => {
                let data = self.number("sigma_data", sumi_process::SIGMA_DATA)?;
                if data != sumi_process::SIGMA_DATA {
                    return Err(format!("sigma_data: expected 0.5, found {data}"));
                }
                sigmas(0.002, 80.0)
                    .map(|(sigma_min, sigma_max)| Process::Edm { sigma_min, sigma_max })
            }
            "ScoreSdeVeScheduler" => sigmas(0.01, 1348.0)
                .map(|(sigma_min, sigma_max)| Process::Ve { sigma_min, sigma_max }),
            "ScoreSdeVpScheduler" => {
                let (beta_min, beta_max) =
                    (self.number("beta_min", 0.1)?, self.number("beta_max", 20.0)?);
                ordered(("beta_min", beta_min), ("beta_max", beta_max))?;
                Ok(match self.flag("sub_vp") {
                    true => Process::SubVp { beta_min, beta_max },
                    false => Process::Vp { beta_min, beta_max },
                })
            }
            _ => self.schedule().map(Process::Discrete),
        }
    }

    /// The placement of levels that the folder asks for besides timesteps.
    pub fn grid_kind(&self) -> Option<GridKind> {
        [
            ("use_karras_sigmas", GridKind::Karras),
            ("use_exponential_sigmas", GridKind::Exponential),
            ("use_beta_sigmas", GridKind::Beta),
        ]
        .into_iter()
        .find(|(field, _)| self.flag(field))
        .map(|(_, kind)| kind)
    }

    /// A switch that some schedulers have; `None` where nothing is said.
    pub(crate) fn switch(&self, field: &str) -> Option<bool> {
        self.other.get(field)?.as_bool()
    }

    /// The same, off where nothing is said.
    pub(crate) fn flag(&self, field: &str) -> bool {
        self.switch(field).unwrap_or(false)
    }

    /// A word that some schedulers have.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.other.get(field)?.as_str()
    }

    /// A whole number that some schedulers have.
    pub(crate) fn whole(&self, field: &str) -> Option<u64> {
        self.other.get(field)?.as_u64()
    }

    /// A number above 0 that some schedulers have.
    ///
    /// # Errors
    /// A sentence with field, expected and found.
    pub(crate) fn number(&self, field: &str, usual: f64) -> Result<f64, String> {
        match self.other.get(field) {
            None | Some(serde_json::Value::Null) => Ok(usual),
            Some(value) => match value.as_f64() {
                Some(x) if x.is_finite() && x > 0.0 => Ok(x),
                _ => Err(format!("{field}: expected a number above 0, found {value}")),
            },
        }
    }

    /// The table of betas, as numbers.
    fn schedule(&self) -> Result<Schedule, String> {
        let schedule = self.schedule_as_trained()?;
        Ok(match self.rescale_betas_zero_snr {
            true => schedule.with_zero_terminal_snr(),
            false => schedule,
        })
    }

    fn schedule_as_trained(&self) -> Result<Schedule, String> {
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
                "beta_schedule: expected \"linear\", \"scaled_linear\", \"squaredcos_cap_v2\" or \
                 \"sigmoid\", found \"{}\"",
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
        self.parameterisation()?;
        settings::check(self)?;
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
            VarianceType::LearnedRange => Ok(ReverseVariance::LearnedRange),
            other => Err(format!(
                "variance_type: expected \"fixed_small\", \"fixed_small_log\", \"fixed_large\" or \
                 \"learned_range\", found {other:?}"
            )),
        }
    }

    /// How the estimate of `x_0` is held in range under a sampler.
    pub fn limit(&self, sampler: &Entry) -> Limit {
        if self.thresholding && sampler.thresholds {
            let (quantile, max) = (self.dynamic_thresholding_ratio, self.sample_max_value);
            return Limit::Threshold { quantile, max };
        }
        match sampler.clips.map(|usual| self.clip_sample.unwrap_or(usual)) {
            Some(true) => Limit::Clip { range: self.clip_sample_range },
            Some(false) | None => Limit::None,
        }
    }
}

/// Predictions under diffusers' names.
pub(crate) mod prediction_names {
    use super::{PREDICTIONS, Prediction};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &Prediction, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(*value))
    }

    pub fn name(value: Prediction) -> &'static str {
        PREDICTIONS.iter().find(|(_, p)| *p == value).map_or("epsilon", |(name, _)| name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Prediction, D::Error> {
        let found = String::deserialize(deserializer)?;
        PREDICTIONS.iter().find(|(name, _)| *name == found).map(|(_, p)| *p).ok_or_else(|| {
            D::Error::custom(format!(
                "prediction_type: expected one of {}, found \"{found}\"",
                PREDICTIONS.map(|(name, _)| format!("\"{name}\"")).join(", ")
            ))
        })
    }
}
