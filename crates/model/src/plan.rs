//! How a model will be sampled.

use crate::{ModelError, SchedulerConfig};
use serde::{Deserialize, Serialize};
use sumi_process::{NoiseLevel, Prediction, Schedule};
use sumi_sampler::{Grid, GridError, Limit, Sampler};

/// A sampler by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// Ancestral sampling.
    Ddpm,
    /// Denoising diffusion implicit model.
    Ddim,
}

impl SamplerKind {
    /// Every sampler with the name that users know it by and its scheduler in diffusers.
    pub const ALL: [(Self, &'static str, &'static str); 2] =
        [(Self::Ddpm, "ddpm", "DDPMScheduler"), (Self::Ddim, "ddim", "DDIMScheduler")];

    /// The name that users know it by.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// What the user says about sampling; what is not said is the model folder's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SamplerChoice {
    /// Which sampler.
    pub kind: Option<SamplerKind>,
    /// How many steps: `T` for DDPM and 50 for DDIM where nothing is said.
    pub steps: Option<usize>,
    /// DDIM's eta, 0 where nothing is said.
    pub eta: Option<f64>,
}

/// Everything that sampling needs besides the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the network's timesteps mean.
    pub schedule: Schedule,
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the estimate of `x_0` is held in range.
    pub limit: Limit,
    /// The steps.
    pub grid: Grid,
    /// The sampler with its settings.
    pub sampler: Sampler,
}

impl Plan {
    /// Joins the folder's configuration with the user's choice.
    ///
    /// Another sampler than the folder's takes over everything else that the folder says, with
    /// diffusers' defaults for what it does not, as `from_config` does.
    ///
    /// # Errors
    /// A configuration or a choice that cannot be served.
    pub fn new(config: &SchedulerConfig, choice: SamplerChoice) -> Result<Self, ModelError> {
        let kind = match choice.kind {
            Some(kind) => kind,
            None => SamplerKind::ALL
                .iter()
                .find(|(_, _, class)| *class == config.class_name)
                .map(|(kind, _, _)| *kind)
                .ok_or_else(|| {
                    let known = SamplerKind::ALL.map(|(_, _, class)| class).join(" or ");
                    let expected = format!("{known}, or a sampler named with --sampler");
                    ModelError::request(
                        "scheduler_config.json: _class_name",
                        expected,
                        &config.class_name,
                    )
                })?,
        };
        let invalid =
            |message: String| ModelError::Config { path: "scheduler_config.json".into(), message };
        let schedule = config.schedule().map_err(invalid)?;
        let total = schedule.timesteps();
        let steps = choice.steps.unwrap_or(match kind {
            SamplerKind::Ddpm => total,
            SamplerKind::Ddim => 50.min(total),
        });
        let timesteps = Grid::timesteps(config.timestep_spacing, total, steps, config.steps_offset)
            .map_err(|error| match error {
                GridError::Steps { steps, timesteps } => {
                    let expected = format!("1 to {timesteps}, the model's training timesteps");
                    ModelError::request("steps", expected, steps)
                }
                GridError::Offset { .. } => invalid(error.to_string()),
            })?;
        let (grid, sampler) = match kind {
            SamplerKind::Ddpm => {
                if let Some(eta) = choice.eta {
                    return Err(ModelError::request("eta", "nothing (only ddim has an eta)", eta));
                }
                let variance = config.reverse_variance().map_err(invalid)?;
                (Grid::consecutive(&schedule, &timesteps), Sampler::Ddpm { variance })
            }
            SamplerKind::Ddim => {
                let eta = choice.eta.unwrap_or(0.0);
                if !(0.0..=1.0).contains(&eta) {
                    return Err(ModelError::request("eta", "a number from 0 to 1", eta));
                }
                let end = match config.set_alpha_to_one {
                    true => NoiseLevel::CLEAN,
                    false => schedule.level(0),
                };
                (Grid::strided(&schedule, &timesteps, end), Sampler::Ddim { eta })
            }
        };
        let (prediction, limit) = (config.prediction_type, config.limit());
        Ok(Self { schedule, prediction, limit, grid, sampler })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VarianceType;

    #[test]
    fn the_folder_decides_what_the_user_does_not() {
        let config = SchedulerConfig::default();
        let plan = Plan::new(&config, SamplerChoice::default()).unwrap();
        assert_eq!(plan.grid.len(), 1000);
        assert!(matches!(plan.sampler, Sampler::Ddpm { .. }));
        let ddim = SamplerChoice { kind: Some(SamplerKind::Ddim), ..SamplerChoice::default() };
        let plan = Plan::new(&config, ddim).unwrap();
        assert_eq!((plan.grid.len(), plan.sampler), (50, Sampler::Ddim { eta: 0.0 }));
        let folder = SchedulerConfig { class_name: "DDIMScheduler".into(), ..config.clone() };
        assert_eq!(Plan::new(&folder, SamplerChoice::default()).unwrap(), plan);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let config = SchedulerConfig::default();
        let refusal =
            |config: &SchedulerConfig, choice| Plan::new(config, choice).unwrap_err().to_string();
        let steps = |n| SamplerChoice { steps: Some(n), ..SamplerChoice::default() };
        assert!(refusal(&config, steps(0)).contains("steps: expected 1 to 1000"));
        assert!(refusal(&config, steps(1001)).contains("found 1001"));
        let eta = SamplerChoice { eta: Some(0.5), ..SamplerChoice::default() };
        assert!(refusal(&config, eta).contains("only ddim has an eta"));
        let pndm = SchedulerConfig { class_name: "PNDMScheduler".into(), ..config.clone() };
        assert!(refusal(&pndm, SamplerChoice::default()).contains("PNDMScheduler"));
        let learned = SchedulerConfig { variance_type: VarianceType::Learned, ..config };
        assert!(refusal(&learned, SamplerChoice::default()).contains("variance_type"));
    }
}
