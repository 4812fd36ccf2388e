//! `[process]`: how noise is added and what is predicted.

use serde::{Deserialize, Serialize};
use sumi_model::{SchedulerConfig, VarianceType};
use sumi_process::{BetaSchedule, Prediction, ReverseVariance, SIGMA_DATA, Schedule};
use sumi_sampler::Spacing;

/// How noise is added and what is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct ProcessConfig {
    /// How noise is added.
    pub kind: ProcessKind,
    /// What the network predicts.
    pub prediction: Prediction,
    /// The variance that ancestral sampling adds.
    pub variance: ReverseVariance,
    /// Whether sampling clamps its estimate of the picture to the range of pixels.
    pub clip_sample: bool,
}

/// How noise is added, with what belongs to each way alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ProcessKind {
    /// See [`sumi_process::Process::Discrete`].
    Discrete {
        /// `T`.
        timesteps: usize,
        /// The shape of `beta`.
        schedule: BetaSchedule,
        /// The first `beta`.
        beta_start: f64,
        /// The last `beta`.
        beta_end: f64,
        /// Whether it is stretched to end without signal, see
        /// [`Schedule::with_zero_terminal_snr`].
        zero_terminal_snr: bool,
    },
    /// See [`sumi_process::Process::Vp`].
    Vp {
        /// `beta(0)`.
        beta_min: f64,
        /// `beta(1)`.
        beta_max: f64,
    },
    /// See [`sumi_process::Process::SubVp`].
    SubVp {
        /// `beta(0)`.
        beta_min: f64,
        /// `beta(1)`.
        beta_max: f64,
    },
    /// See [`sumi_process::Process::Ve`].
    Ve {
        /// The smallest level.
        sigma_min: f64,
        /// The largest level.
        sigma_max: f64,
    },
    /// See [`sumi_process::Process::Edm`].
    Edm {
        /// The smallest level.
        sigma_min: f64,
        /// The largest level.
        sigma_max: f64,
    },
    /// See [`sumi_process::Process::Flow`].
    Flow,
}

impl ProcessKind {
    /// What its networks were first published to predict.
    fn usual_prediction(self) -> Prediction {
        match self {
            Self::Discrete { .. } | Self::Vp { .. } | Self::SubVp { .. } => Prediction::Epsilon,
            Self::Ve { .. } => Prediction::Score,
            Self::Edm { .. } => Prediction::Edm,
            Self::Flow => Prediction::Velocity,
        }
    }

    /// `config` with the table of betas, where there is one.
    fn with_table(self, mut config: SchedulerConfig) -> SchedulerConfig {
        let Self::Discrete { timesteps, schedule, beta_start, beta_end, zero_terminal_snr } = self
        else {
            return config;
        };
        config.num_train_timesteps = timesteps;
        (config.beta_start, config.beta_end) = (beta_start, beta_end);
        match SchedulerConfig::beta_schedule_name(schedule) {
            Some(name) => config.beta_schedule = name.into(),
            None => {
                // diffusers has no such name; a table that cannot be is refused by its reader.
                config.beta_schedule = "sqrt".into();
                let table = Schedule::new(schedule, timesteps, beta_start, beta_end);
                config.trained_betas = table.ok().map(|table| table.betas().to_vec());
            }
        }
        config.rescale_betas_zero_snr = zero_terminal_snr;
        // Leading steps would never see the last timestep, where it matters that there is no signal
        // (Lin et al., section 3.3).
        config.timestep_spacing = Some(match zero_terminal_snr {
            true => Spacing::Trailing,
            false => Spacing::Leading,
        });
        config
    }

    /// `T`, where it has timesteps.
    pub fn timesteps(self) -> Option<usize> {
        match self {
            Self::Discrete { timesteps, .. } => Some(timesteps),
            _ => None,
        }
    }
}

impl Default for ProcessConfig {
    fn default() -> Self {
        let kind = ProcessKind::Discrete {
            timesteps: 1000,
            schedule: BetaSchedule::Linear,
            beta_start: 1e-4,
            beta_end: 0.02,
            zero_terminal_snr: false,
        };
        Self {
            kind,
            prediction: kind.usual_prediction(),
            variance: ReverseVariance::FixedLarge,
            clip_sample: true,
        }
    }
}

/// [`ProcessKind`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    #[default]
    Discrete,
    Vp,
    SubVp,
    Ve,
    Edm,
    Flow,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Vp => "vp",
            Self::SubVp => "sub-vp",
            Self::Ve => "ve",
            Self::Edm => "edm",
            Self::Flow => "flow",
        }
    }
}

/// The section as it is written: every key of every kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    kind: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    timesteps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<BetaSchedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_end: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_terminal_snr: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma_min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma_max: Option<f64>,
    prediction: Option<Prediction>,
    variance: Option<ReverseVariance>,
    clip_sample: Option<bool>,
}

impl Keys {
    /// Which keys are there, and to which kinds each belongs.
    fn owners(&self) -> [(&'static str, bool, &'static [Name]); 9] {
        const TABLE: &[Name] = &[Name::Discrete];
        const BETAS: &[Name] = &[Name::Vp, Name::SubVp];
        const SIGMAS: &[Name] = &[Name::Ve, Name::Edm];
        [
            ("timesteps", self.timesteps.is_some(), TABLE),
            ("schedule", self.schedule.is_some(), TABLE),
            ("beta_start", self.beta_start.is_some(), TABLE),
            ("beta_end", self.beta_end.is_some(), TABLE),
            ("zero_terminal_snr", self.zero_terminal_snr.is_some(), TABLE),
            ("beta_min", self.beta_min.is_some(), BETAS),
            ("beta_max", self.beta_max.is_some(), BETAS),
            ("sigma_min", self.sigma_min.is_some(), SIGMAS),
            ("sigma_max", self.sigma_max.is_some(), SIGMAS),
        ]
    }
}

impl TryFrom<Keys> for ProcessConfig {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let stranger =
            |&(_, there, kinds): &(_, bool, &[Name])| there && !kinds.contains(&keys.kind);
        if let Some((key, _, kinds)) = keys.owners().into_iter().find(stranger) {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("\"{}\"", kind.text())).collect();
            return Err(format!(
                "`{key}` belongs to process.kind = {}, found process.kind = \"{}\"",
                kinds.join(" or "),
                keys.kind.text()
            ));
        }
        let betas = (keys.beta_min.unwrap_or(0.1), keys.beta_max.unwrap_or(20.0));
        let sigmas = |min, max| (keys.sigma_min.unwrap_or(min), keys.sigma_max.unwrap_or(max));
        let usual = Self::default();
        let kind = match keys.kind {
            Name::Discrete => ProcessKind::Discrete {
                timesteps: keys.timesteps.unwrap_or(1000),
                schedule: keys.schedule.unwrap_or_default(),
                beta_start: keys.beta_start.unwrap_or(1e-4),
                beta_end: keys.beta_end.unwrap_or(0.02),
                zero_terminal_snr: keys.zero_terminal_snr.unwrap_or(false),
            },
            Name::Vp => ProcessKind::Vp { beta_min: betas.0, beta_max: betas.1 },
            Name::SubVp => ProcessKind::SubVp { beta_min: betas.0, beta_max: betas.1 },
            Name::Ve => {
                let (sigma_min, sigma_max) = sigmas(0.01, 50.0);
                ProcessKind::Ve { sigma_min, sigma_max }
            }
            Name::Edm => {
                let (sigma_min, sigma_max) = sigmas(0.002, 80.0);
                ProcessKind::Edm { sigma_min, sigma_max }
            }
            Name::Flow => ProcessKind::Flow,
        };
        Ok(Self {
            kind,
            prediction: keys.prediction.unwrap_or(kind.usual_prediction()),
            variance: keys.variance.unwrap_or(usual.variance),
            clip_sample: keys.clip_sample.unwrap_or(usual.clip_sample),
        })
    }
}

impl From<ProcessConfig> for Keys {
    fn from(config: ProcessConfig) -> Self {
        let keys = Self {
            prediction: Some(config.prediction),
            variance: Some(config.variance),
            clip_sample: Some(config.clip_sample),
            ..Self::default()
        };
        match config.kind {
            ProcessKind::Discrete {
                timesteps,
                schedule,
                beta_start,
                beta_end,
                zero_terminal_snr,
            } => Self {
                timesteps: Some(timesteps),
                schedule: Some(schedule),
                beta_start: Some(beta_start),
                beta_end: Some(beta_end),
                zero_terminal_snr: Some(zero_terminal_snr),
                ..keys
            },
            ProcessKind::Vp { beta_min, beta_max } => {
                Self { kind: Name::Vp, beta_min: Some(beta_min), beta_max: Some(beta_max), ..keys }
            }
            ProcessKind::SubVp { beta_min, beta_max } => Self {
                kind: Name::SubVp,
                beta_min: Some(beta_min),
                beta_max: Some(beta_max),
                ..keys
            },
            ProcessKind::Ve { sigma_min, sigma_max } => Self {
                kind: Name::Ve,
                sigma_min: Some(sigma_min),
                sigma_max: Some(sigma_max),
                ..keys
            },
            ProcessKind::Edm { sigma_min, sigma_max } => Self {
                kind: Name::Edm,
                sigma_min: Some(sigma_min),
                sigma_max: Some(sigma_max),
                ..keys
            },
            ProcessKind::Flow => Self { kind: Name::Flow, ..keys },
        }
    }
}

impl ProcessConfig {
    /// The process as the diffusers scheduler that stands for it.
    pub fn scheduler(&self) -> SchedulerConfig {
        let config = SchedulerConfig {
            variance_type: match self.variance {
                ReverseVariance::FixedSmall => VarianceType::FixedSmall,
                ReverseVariance::FixedLarge => VarianceType::FixedLarge,
                ReverseVariance::LearnedRange => VarianceType::LearnedRange,
            },
            clip_sample: Some(self.clip_sample),
            ..SchedulerConfig::default()
        };
        let betas = |min: f64, max: f64| vec![("beta_min", min.into()), ("beta_max", max.into())];
        let sigmas =
            |min: f64, max: f64| vec![("sigma_min", min.into()), ("sigma_max", max.into())];
        let (class, other): (_, Vec<(&str, serde_json::Value)>) = match self.kind {
            ProcessKind::Discrete { .. } => ("DDPMScheduler", Vec::new()),
            ProcessKind::Vp { beta_min, beta_max } => {
                ("ScoreSdeVpScheduler", betas(beta_min, beta_max))
            }
            ProcessKind::SubVp { beta_min, beta_max } => {
                let sub_vp = ("sub_vp", true.into());
                ("ScoreSdeVpScheduler", [betas(beta_min, beta_max), vec![sub_vp]].concat())
            }
            ProcessKind::Ve { sigma_min, sigma_max } => {
                ("ScoreSdeVeScheduler", sigmas(sigma_min, sigma_max))
            }
            ProcessKind::Edm { sigma_min, sigma_max } => {
                let sigma_data = ("sigma_data", SIGMA_DATA.into());
                ("EDMEulerScheduler", [sigmas(sigma_min, sigma_max), vec![sigma_data]].concat())
            }
            ProcessKind::Flow => ("FlowMatchEulerDiscreteScheduler", Vec::new()),
        };
        let mut config = self.kind.with_table(config);
        config.class_name = class.into();
        config.other.extend(other.into_iter().map(|(key, value)| (key.to_string(), value)));
        config.with_prediction(self.prediction)
    }
}
