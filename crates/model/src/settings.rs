//! What a `scheduler_config.json` says about the settings of a sampler.
//!
//! A key that the sampler's class in diffusers does not have says nothing, and what no key says is that
//! class's default, as under `from_config`.

use crate::{ModelError, SchedulerConfig};
use sumi_process::{Parameterisation, Prediction};
use sumi_sampler::{
    Algorithm, BFunction, CATALOG, Convention, End, PndmStart, Sampler, SamplerKind, SecondOrder,
};

/// The sampler that the folder's own class stands for.
pub(crate) fn own(config: &SchedulerConfig) -> Option<SamplerKind> {
    let name = match (config.class_name.as_str(), algorithm(config)) {
        ("DPMSolverMultistepScheduler", Some(Algorithm::DpmSolver)) => {
            match config.whole("solver_order") {
                Some(1) => "dpm_solver_1",
                Some(3) => "dpm_solver_3",
                _ => "dpm_solver_2",
            }
        }
        ("DPMSolverMultistepScheduler", _) => "dpmpp_2m",
        ("EDMEulerScheduler", _) => "euler",
        ("EDMDPMSolverMultistepScheduler", _) => "dpmpp_2m",
        (class, _) => CATALOG.iter().find(|entry| entry.scheduler == Some(class))?.name,
    };
    SamplerKind::named(name).ok()
}

/// Refuses what no class of diffusers reads so, and what is not known here, instead of passing over it.
///
/// # Errors
/// A sentence with field, expected and found.
pub(crate) fn check(config: &SchedulerConfig) -> Result<(), String> {
    let words: [(&str, &[&str]); 4] = [
        (
            "algorithm_type",
            &["dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver", "deis"],
        ),
        ("solver_type", &["midpoint", "heun", "logrho", "bh1", "bh2"]),
        ("final_sigmas_type", &["zero", "sigma_min"]),
        ("interpolation_type", &["linear"]),
    ];
    let given = |field: &str| config.other.get(field).filter(|value| !value.is_null());
    for (field, known) in words {
        if let Some(found) = given(field)
            && !found.as_str().is_some_and(|word| known.contains(&word))
        {
            let known = known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>();
            return Err(format!("{field}: expected {}, found {found}", known.join(", ")));
        }
    }
    const SWITCHES: [&str; 10] = [
        "use_karras_sigmas",
        "use_exponential_sigmas",
        "use_beta_sigmas",
        "lower_order_final",
        "euler_at_final",
        "predict_x0",
        "skip_prk_steps",
        "use_flow_sigmas",
        "use_lu_lambdas",
        "use_dynamic_shifting",
    ];
    for field in SWITCHES {
        if let Some(found) = given(field).filter(|found| !found.is_boolean()) {
            return Err(format!("{field}: expected true or false, found {found}"));
        }
    }
    for field in ["use_flow_sigmas", "use_lu_lambdas", "use_dynamic_shifting"] {
        if config.flag(field) {
            return Err(format!("{field}: expected false, found true, which is not known here"));
        }
    }
    match given("solver_order") {
        Some(found) if !found.as_u64().is_some_and(|order| (1..=3).contains(&order)) => {
            Err(format!("solver_order: expected 1, 2 or 3, found {found}"))
        }
        _ => Ok(()),
    }
}

/// The sampler with what the folder says about it.
///
/// # Errors
/// A setting that it cannot have.
pub(crate) fn of(
    kind: SamplerKind,
    config: &SchedulerConfig,
    parameterisation: &Parameterisation,
) -> Result<Sampler, ModelError> {
    // A sampler that the user names by its order keeps it; the usual one takes the folder's.
    let order = |usual: u32| config.whole("solver_order").map_or(usual, |order| order as u32);
    let lower_order_final = config.switch("lower_order_final").unwrap_or(true);
    Ok(match kind.sampler {
        Sampler::Ddpm { .. } => {
            Sampler::Ddpm { variance: config.reverse_variance().map_err(ModelError::scheduler)? }
        }
        Sampler::Pndm { .. } => Sampler::Pndm {
            // Only a folder of PNDM's own speaks of it by leaving it out.
            start: match config.switch("skip_prk_steps") {
                Some(false) => PndmStart::RungeKutta,
                None if config.class_name == "PNDMScheduler" => PndmStart::RungeKutta,
                _ => PndmStart::Twice,
            },
            sums_v: parameterisation.prediction == Prediction::V,
        },
        Sampler::DpmSolver(mut settings) => {
            settings.lower_order_final = lower_order_final;
            settings.euler_at_final = config.flag("euler_at_final");
            if config.text("solver_type") == Some("heun") {
                settings.solver = SecondOrder::Heun;
            }
            if kind.name == "dpmpp_2m" {
                settings.order = order(settings.order);
                let own = config.class_name.ends_with("DPMSolverMultistepScheduler");
                if let Some(algorithm) = algorithm(config).filter(|_| own) {
                    settings.algorithm = algorithm;
                }
            }
            Sampler::DpmSolver(settings)
        }
        Sampler::UniPc(mut settings) => {
            settings.order = order(settings.order);
            settings.lower_order_final = lower_order_final;
            settings.predict_x0 = config.switch("predict_x0").unwrap_or(true);
            if config.text("solver_type") == Some("bh1") {
                settings.solver = BFunction::Bh1;
            }
            Sampler::UniPc(settings)
        }
        Sampler::Deis { order: usual, .. } => {
            Sampler::Deis { order: order(usual), lower_order_final }
        }
        other => other,
    })
}

/// Where the sampler's walk ends.
pub(crate) fn end(sampler: Sampler, config: &SchedulerConfig) -> End {
    let clean = |clean: bool| if clean { End::Clean } else { End::FirstTimestep };
    match (sampler, sampler.entry().convention) {
        (Sampler::DpmSolver(_) | Sampler::UniPc(_), _) => match config.text("final_sigmas_type") {
            Some("sigma_min") => End::FirstTimestep,
            // Only the solvers that go by the data can end without noise.
            _ => sampler.end(),
        },
        (Sampler::Deis { .. }, _) => End::FirstTimestep,
        (_, Convention::Ratios { .. }) => {
            clean(config.text("final_sigmas_type") != Some("sigma_min"))
        }
        (_, Convention::Strided) => match config.set_alpha_to_one {
            Some(to_one) => clean(to_one),
            None => sampler.end(),
        },
        _ => sampler.end(),
    }
}

/// The equation of a DPM-Solver.
fn algorithm(config: &SchedulerConfig) -> Option<Algorithm> {
    match config.text("algorithm_type")? {
        "dpmsolver" => Some(Algorithm::DpmSolver),
        "sde-dpmsolver" => Some(Algorithm::SdeDpmSolver),
        "sde-dpmsolver++" => Some(Algorithm::SdeDpmSolverPp),
        _ => Some(Algorithm::DpmSolverPp),
    }
}
