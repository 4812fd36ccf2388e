//! `[objective]`: what the training minimises, and at which noise levels.

use super::{NetworkConfig, ProcessKind, RunConfig};
use serde::{Deserialize, Serialize};
use sumi_process::{ReverseVariance, Weighting};

/// What the training minimises, and at which noise levels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// Which loss; where nothing is said, [`Loss::Hybrid`] for a learned variance and
    /// [`Loss::Simple`] for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How much each level counts in the mean squared error.
    pub weighting: Weighting,
    /// At which times; where nothing is said, [`Times::LogNormal`] for EDM and [`Times::Uniform`]
    /// for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// The mean of the logarithm of `sigma / alpha`, for [`Times::LogNormal`]; -1.2 where nothing is
    /// said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_mean: Option<f64>,
    /// Its standard deviation; 1.2 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_std: Option<f64>,
}

/// What a network that predicts pictures is trained to minimise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The mean squared error of what it predicts (DDPM, Eq. 14).
    Simple,
    /// The variational bound, in bits a dimension (DDPM, Eq. 5).
    Vlb,
    /// `simple + 0.001 vlb`, where the bound trains the variance alone (Improved DDPM, Eq. 16).
    Hybrid,
}

/// How the times of a batch are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Evenly in the process's time.
    Uniform,
    /// So that `log(sigma / alpha)` is normal (Karras et al., Elucidating the Design Space, Table 1).
    LogNormal,
    /// In proportion to the root mean square of the last losses at each timestep (Improved DDPM,
    /// Eq. 18).
    LossSecondMoment,
}

/// EDM's `P_mean` and `P_std`.
const LOG_NORMAL: (f64, f64) = (-1.2, 1.2);

impl RunConfig {
    /// The loss that is minimised.
    pub fn loss(&self) -> Loss {
        self.objective.loss.unwrap_or(match self.process.variance {
            ReverseVariance::LearnedRange => Loss::Hybrid,
            _ => Loss::Simple,
        })
    }

    /// How times are drawn.
    pub fn times(&self) -> Times {
        self.objective.times.unwrap_or(match self.process.kind {
            ProcessKind::Edm { .. } => Times::LogNormal,
            _ => Times::Uniform,
        })
    }

    /// Mean and standard deviation of [`Times::LogNormal`].
    pub fn log_normal(&self) -> (f64, f64) {
        let (mean, std) = LOG_NORMAL;
        (self.objective.p_mean.unwrap_or(mean), self.objective.p_std.unwrap_or(std))
    }

    /// The first thing that this objective cannot be combined with, in a sentence.
    pub(super) fn objective_conflict(&self) -> Option<String> {
        let objective = &self.objective;
        let (loss, times) = (self.loss(), self.times());
        let learned = self.process.variance == ReverseVariance::LearnedRange;
        let timesteps = self.process.kind.timesteps();
        let classifies = matches!(self.network, NetworkConfig::Classifier { .. });
        let (mean, std) = self.log_normal();
        let shaped = objective.p_mean.is_some() || objective.p_std.is_some();
        let rules = [
            (
                classifies
                    && (objective.loss.is_some() || objective.weighting != Weighting::Uniform),
                "objective: a classifier minimises its cross-entropy; leave out loss and weighting",
            ),
            (
                classifies && learned,
                "process.variance: expected \"fixed_small\" or \"fixed_large\" where \
                 network.kind = \"classifier\", found \"learned_range\"",
            ),
            (
                learned && timesteps.is_none_or(|timesteps| timesteps < 2),
                "process.variance: \"learned_range\" is learned by the variational bound, which \
                 needs process.kind = \"discrete\" with 2 timesteps or more",
            ),
            (
                learned && loss == Loss::Simple,
                "objective.loss: expected \"hybrid\" or \"vlb\" where process.variance = \
                 \"learned_range\", found \"simple\", which teaches no variance",
            ),
            (
                loss != Loss::Simple && timesteps.is_none_or(|timesteps| timesteps < 2),
                "objective.loss: the variational bound needs process.kind = \"discrete\" with 2 \
                 timesteps or more",
            ),
            (
                loss == Loss::Hybrid && !learned,
                "objective.loss: \"hybrid\" needs process.variance = \"learned_range\", which is \
                 all that its bound trains",
            ),
            (
                loss == Loss::Vlb && objective.weighting != Weighting::Uniform,
                "objective.weighting: expected \"uniform\" where objective.loss = \"vlb\", which \
                 says itself how much each timestep counts",
            ),
            (
                times == Times::LossSecondMoment && timesteps.is_none(),
                "objective.times: \"loss-second-moment\" keeps a history for each timestep, which \
                 needs process.kind = \"discrete\"",
            ),
            (
                shaped && times != Times::LogNormal,
                "objective.p_mean and p_std belong to objective.times = \"log-normal\"",
            ),
            (
                !(mean.is_finite() && std.is_finite() && std > 0.0),
                "objective.p_mean, p_std: expected a number, and a number above 0",
            ),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule.to_string())
    }
}
