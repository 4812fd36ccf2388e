//! How a model will be sampled.

use crate::{ModelError, SchedulerConfig, settings};
use sumi_process::{Parameterisation, Prediction, Process};
use sumi_sampler::{
    CATALOG, Convention, Grid, GridError, GridKind, GridRequest, Limit, Sampler, SamplerKind,
};

/// What the user says about sampling; what is not said is the model folder's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SamplerChoice {
    /// Which sampler.
    pub kind: Option<SamplerKind>,
    /// How many steps; the sampler's usual number where nothing is said.
    pub steps: Option<usize>,
    /// The share of ancestral noise.
    pub eta: Option<f64>,
    /// How much noise EDM's sampler adds and takes away again over the whole run.
    pub churn: Option<f64>,
    /// The error of a step of the probability-flow ODE, relative and absolute.
    pub tolerance: Option<f64>,
    /// How the levels are placed.
    pub grid: Option<GridKind>,
    /// The exponent of that placement.
    pub rho: Option<f64>,
}

/// Everything that sampling needs besides the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the network sees and says.
    pub parameterisation: Parameterisation,
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
            None => own_sampler(config)?,
        };
        let parameterisation = config.parameterisation().map_err(ModelError::scheduler)?;
        let path = parameterisation.process.path();
        if !kind.serves.contains(&path) {
            let others = CATALOG.iter().filter(|entry| entry.serves.contains(&path));
            let others: Vec<_> = others.map(|entry| entry.name).collect();
            let expected = format!("one that serves this model's process: {}", others.join(", "));
            return Err(ModelError::request("sampler", expected, kind.name));
        }
        check_prediction(&parameterisation, kind)?;
        check_rho(&choice, config)?;
        let sampler = settings::of(kind, config, &parameterisation)?;
        let sampler = ETA.apply(sampler, choice.eta)?;
        let sampler = CHURN.apply(sampler, choice.churn)?;
        let sampler = TOLERANCE.apply(sampler, choice.tolerance)?;
        let grid = grid(config, &choice, sampler, &parameterisation.process)?;
        Ok(Self { parameterisation, limit: config.limit(&kind), grid, sampler })
    }
}

/// The sampler that a folder's class stands for.
fn own_sampler(config: &SchedulerConfig) -> Result<SamplerKind, ModelError> {
    settings::own(config).ok_or_else(|| {
        let known: Vec<&str> = CATALOG.iter().filter_map(|entry| entry.scheduler).collect();
        let expected = format!("one of {}, or a sampler named with --sampler", known.join(", "));
        ModelError::request("scheduler_config.json: _class_name", expected, &config.class_name)
    })
}

/// A network that predicts the mean of a step tells the data only by way of that step's small coefficient
/// (DDPM, Eq. 7): ancestral sampling multiplies by it again, and every other sampler drowns.
fn check_prediction(
    parameterisation: &Parameterisation,
    kind: SamplerKind,
) -> Result<(), ModelError> {
    let ancestral = matches!(kind.sampler, Sampler::Ddpm { .. });
    match parameterisation.prediction == Prediction::Mean && !ancestral {
        true => Err(ModelError::request(
            "sampler",
            "ddpm, the only one for a model that predicts the mean",
            kind.name,
        )),
        false => Ok(()),
    }
}

/// Whether the exponent of the grid makes sense.
fn check_rho(choice: &SamplerChoice, config: &SchedulerConfig) -> Result<(), ModelError> {
    let Some(rho) = choice.rho else { return Ok(()) };
    let kind = choice.grid.or(config.grid_kind());
    if !matches!(kind, Some(GridKind::Karras | GridKind::Polyexponential)) {
        let expected = "nothing (only karras and polyexponential grids have an exponent)";
        return Err(ModelError::request("grid-rho", expected, rho));
    }
    match (1e-2..=100.0).contains(&rho) {
        true => Ok(()),
        false => Err(ModelError::request("grid-rho", "a number from 0.01 to 100", rho)),
    }
}

/// A number that some samplers have.
struct Setting {
    /// Its name in [`SamplerChoice`].
    field: &'static str,
    /// The same in a sentence.
    words: &'static str,
    /// What it can be.
    expected: &'static str,
    /// Whether it is that.
    holds: fn(f64) -> bool,
    /// Whoever has it, with another.
    with: fn(Sampler, f64) -> Option<Sampler>,
}

const ETA: Setting = Setting {
    field: "eta",
    words: "an eta",
    expected: "a number from 0 to 1",
    holds: |eta| (0.0..=1.0).contains(&eta),
    with: Sampler::with_eta,
};

const CHURN: Setting = Setting {
    field: "churn",
    words: "churn",
    expected: "a finite number of at least 0",
    holds: |churn| churn.is_finite() && churn >= 0.0,
    with: Sampler::with_churn,
};

const TOLERANCE: Setting = Setting {
    field: "tolerance",
    words: "a tolerance",
    expected: "a finite number above 0",
    holds: |tolerance| tolerance.is_finite() && tolerance > 0.0,
    with: Sampler::with_tolerance,
};

impl Setting {
    /// The sampler with what the user says.
    fn apply(&self, sampler: Sampler, value: Option<f64>) -> Result<Sampler, ModelError> {
        let Some(value) = value else { return Ok(sampler) };
        if !(self.holds)(value) {
            return Err(ModelError::request(self.field, self.expected, value));
        }
        (self.with)(sampler, value).ok_or_else(|| {
            let has = |entry: &&sumi_sampler::Entry| (self.with)(entry.sampler, value).is_some();
            let names: Vec<_> = CATALOG.iter().filter(has).map(|entry| entry.name).collect();
            let have = if names.len() == 1 { "has" } else { "have" };
            let expected = format!("nothing (only {} {have} {})", names.join(", "), self.words);
            ModelError::request(self.field, expected, value)
        })
    }
}

fn grid(
    config: &SchedulerConfig,
    choice: &SamplerChoice,
    sampler: Sampler,
    process: &Process,
) -> Result<Grid, ModelError> {
    let total = match process {
        Process::Discrete(schedule) => schedule.timesteps(),
        _ => 1000,
    };
    let usual = sampler.entry().usual_steps.unwrap_or(total).min(total);
    let usual = GridRequest::usual(sampler, choice.steps.unwrap_or(usual));
    let request = GridRequest {
        spacing: config.timestep_spacing.unwrap_or(usual.spacing),
        kind: choice.grid.or(config.grid_kind()),
        rho: choice.rho,
        offset: config.steps_offset,
        end: settings::end(sampler, config),
        shift: config.number("shift", 1.0).map_err(ModelError::scheduler)?,
        ..usual
    };
    // Where no signal is left at the end, these divide by what diffusers puts in its place.
    let lifted = match (process, usual.convention) {
        (Process::Discrete(schedule), Convention::Ratios { .. } | Convention::Multistep)
            if config.rescale_betas_zero_snr =>
        {
            Some(Process::Discrete(schedule.clone().with_last_alpha_bar(LEAST_ALPHA_BAR)))
        }
        _ => None,
    };
    request.build(lifted.as_ref().unwrap_or(process)).map_err(|error| match error {
        GridError::Steps { steps, most, of } => {
            ModelError::request("steps", format!("1 to {most}, {of}"), steps)
        }
        GridError::Offset { .. } => ModelError::scheduler(error.to_string()),
        GridError::Kind { kind, why } => {
            ModelError::request("grid-kind", format!("one that this model can take ({why})"), kind)
        }
    })
}

/// What diffusers takes for `alpha_bar` where no signal is left: 2^-24.
const LEAST_ALPHA_BAR: f64 = 1.0 / 16_777_216.0;

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
        let kind = SamplerKind::named("ddim").ok();
        let ddim = SamplerChoice { kind, ..SamplerChoice::default() };
        let plan = Plan::new(&config, ddim).unwrap();
        assert_eq!((plan.grid.len(), plan.sampler), (50, Sampler::Ddim { eta: 0.0 }));
        let folder = SchedulerConfig { class_name: "DDIMScheduler".into(), ..config.clone() };
        assert_eq!(Plan::new(&folder, SamplerChoice::default()).unwrap(), plan);
    }

    fn named(kind: &str, churn: Option<f64>, tolerance: Option<f64>) -> SamplerChoice {
        let kind = SamplerKind::named(kind).ok();
        SamplerChoice { kind, churn, tolerance, ..SamplerChoice::default() }
    }

    #[test]
    fn churn_and_tolerance_reach_their_samplers() {
        let config = SchedulerConfig::default();
        let sampler = |choice| Plan::new(&config, choice).unwrap().sampler;
        match sampler(named("edm", Some(40.0), None)) {
            Sampler::Edm { churn } => assert_eq!(churn.s_churn, 40.0),
            other => panic!("{other:?}"),
        }
        let tolerance = 1e-3;
        assert_eq!(sampler(named("ode", None, Some(tolerance))), Sampler::Ode { tolerance });
        // Without churn, edm is what it was.
        let quiet = sampler(named("edm", Some(0.0), None));
        assert!(!quiet.adds_noise());
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
        assert!(refusal(&config, eta).contains("have an eta"));
        for (choice, expected) in [
            (named("edm", Some(-1.0), None), "churn: expected a finite number of at least 0"),
            (named("edm", Some(f64::INFINITY), None), "churn: expected a finite number"),
            (named("heun", Some(1.0), None), "churn: expected nothing (only edm has churn)"),
            (named("ode", None, Some(0.0)), "tolerance: expected a finite number above 0"),
            (named("ode", None, Some(f64::NAN)), "tolerance: expected a finite number above 0"),
            (named("edm", None, Some(1e-3)), "tolerance: expected nothing (only ode has a"),
        ] {
            let message = refusal(&config, choice);
            assert!(message.starts_with(expected), "{message}");
        }
        let other = SchedulerConfig { class_name: "SCMScheduler".into(), ..config.clone() };
        assert!(refusal(&other, SamplerChoice::default()).contains("SCMScheduler"));
        let rho = |rho| SamplerChoice {
            kind: SamplerKind::named("euler").ok(),
            grid: Some(GridKind::Karras),
            rho: Some(rho),
            ..SamplerChoice::default()
        };
        for bad in [f64::NAN, 0.0, -3.0, f64::INFINITY] {
            assert!(refusal(&config, rho(bad)).contains("grid-rho: expected a number from 0.01"));
        }
        assert!(Plan::new(&config, rho(5.0)).is_ok());
        let without = SamplerChoice { grid: None, ..rho(5.0) };
        assert!(refusal(&config, without).contains("only karras and polyexponential"));
        let mean = SchedulerConfig { prediction_type: Prediction::Mean, ..config.clone() };
        assert!(Plan::new(&mean, SamplerChoice::default()).is_ok());
        assert!(refusal(&mean, rho(5.0)).contains("sampler: expected ddpm"));
        let learned = SchedulerConfig { variance_type: VarianceType::Learned, ..config };
        assert!(refusal(&learned, SamplerChoice::default()).contains("variance_type"));
    }
}
