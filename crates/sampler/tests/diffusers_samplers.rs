//! Every sampler that diffusers has too, against its loops in float64: `testdata/diffusers_samplers.py` made
//! the goldens.

mod support;

use serde::Deserialize;
use sumi_process::{
    BetaSchedule, Parameterisation, Prediction, Process, ReverseVariance, Schedule,
};
use sumi_random::TorchCpu;
use sumi_sampler::{
    Algorithm, BFunction, Clip, End, Grid, GridKind, GridRequest, Limit, PndmStart, Run, Sampler,
    SamplerKind, SecondOrder, Spacing, ddim_inversion,
};
use sumi_testkit::{golden, relative_error};
use support::{Dummy, OneStream, dummy_start, sample};

/// The tables have 9 significant digits and the sums 10; what is left is float64's rounding, in steps by
/// ratios of up to 157, and differences of logarithms.
const BOUND: f64 = 1e-5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    sampler: String,
    scheduler: String,
    process: String,
    steps: usize,
    prediction: String,
    offset: Option<usize>,
    shift: Option<f64>,
    clip: Option<bool>,
    start: Option<f64>,
    spacing: Option<Spacing>,
    kind: Option<GridKind>,
    end: Option<String>,
    variance: Option<ReverseVariance>,
    eta: Option<f64>,
    gamma: Option<f64>,
    order: Option<u32>,
    solver: Option<String>,
    algorithm: Option<String>,
    lower_order_final: Option<bool>,
    euler_at_final: Option<bool>,
    predict_x0: Option<bool>,
    runge_kutta_start: Option<bool>,
    sum: f64,
    values: Vec<f64>,
}

impl Case {
    /// The sampler with the settings that the case names.
    fn sampler(&self) -> Option<Sampler> {
        let usual = match self.sampler.as_str() {
            "ddim_inversion" => Sampler::Ddim { eta: 0.0 },
            name => SamplerKind::named(name).ok().filter(|kind| kind.name == name)?.sampler,
        };
        Some(match usual {
            Sampler::Ddpm { variance } => {
                Sampler::Ddpm { variance: self.variance.unwrap_or(variance) }
            }
            Sampler::Ddim { eta } => Sampler::Ddim { eta: self.eta.unwrap_or(eta) },
            Sampler::Tcd { gamma } => Sampler::Tcd { gamma: self.gamma.unwrap_or(gamma) },
            Sampler::Pndm { .. } => Sampler::Pndm {
                start: match self.runge_kutta_start {
                    Some(true) => PndmStart::RungeKutta,
                    _ => PndmStart::Twice,
                },
                sums_v: self.prediction == "v_prediction",
            },
            Sampler::DpmSolver(mut settings) => {
                settings.order = self.order.unwrap_or(settings.order);
                settings.lower_order_final = self.lower_order_final.unwrap_or(true);
                settings.euler_at_final = self.euler_at_final.unwrap_or(false);
                if self.solver.as_deref() == Some("heun") {
                    settings.solver = SecondOrder::Heun;
                }
                settings.algorithm = match self.algorithm.as_deref() {
                    Some("dpmsolver") => Algorithm::DpmSolver,
                    Some("sde-dpmsolver") => Algorithm::SdeDpmSolver,
                    Some("sde-dpmsolver++") => Algorithm::SdeDpmSolverPp,
                    _ => settings.algorithm,
                };
                Sampler::DpmSolver(settings)
            }
            Sampler::UniPc(mut settings) => {
                settings.order = self.order.unwrap_or(settings.order);
                settings.lower_order_final = self.lower_order_final.unwrap_or(true);
                settings.predict_x0 = self.predict_x0.unwrap_or(true);
                if self.solver.as_deref() == Some("bh1") {
                    settings.solver = BFunction::Bh1;
                }
                Sampler::UniPc(settings)
            }
            Sampler::Deis { order, lower_order_final } => {
                Sampler::Deis { order: self.order.unwrap_or(order), lower_order_final }
            }
            other => other,
        })
    }

    fn parameterisation(&self) -> Parameterisation {
        let table = |shape, first, last| {
            Process::Discrete(Schedule::new(shape, 1000, first, last).unwrap())
        };
        let process = match self.process.as_str() {
            "linear" => table(BetaSchedule::Linear, 1e-4, 0.02),
            "scaled-linear" => table(BetaSchedule::ScaledLinear, 0.00085, 0.012),
            "edm" => Process::Edm { sigma_min: 0.002, sigma_max: 80.0 },
            "flo" => Process::Flow,
            other => panic!("process {other}"),
        };
        let prediction = match self.prediction.as_str() {
            "epsilon" => Prediction::Epsilon,
            "v_prediction" => Prediction::V,
            "velocity" => Prediction::Velocity,
            "edm" => Prediction::Edm,
            other => panic!("prediction {other}"),
        };
        Parameterisation { prediction, process }
    }

    fn grid(&self, sampler: Sampler, process: &Process) -> Grid {
        let mut request = GridRequest::usual(sampler, self.steps);
        request.spacing = self.spacing.unwrap_or(request.spacing);
        request.offset = self.offset.unwrap_or(0);
        request.shift = self.shift.unwrap_or(1.0);
        request.kind = self.kind;
        if self.end.is_some() {
            request.end = End::FirstTimestep;
        }
        request.build(process).unwrap()
    }

    /// The relative error of the result and of its sum.
    fn error(&self, sampler: Sampler) -> f64 {
        let parameterisation = self.parameterisation();
        let grid = self.grid(sampler, &parameterisation.process);
        let inner = Dummy { parameterisation, grid: &grid };
        let range = if self.clip == Some(true) { 1.0 } else { f64::INFINITY };
        let mut denoiser = Clip { inner, limit: Limit::Clip { range } };
        // diffusers starts EDM's grids a little above their first level, at sqrt(sigma^2 + 1).
        let std = self.start.unwrap_or(grid.start_std);
        let start: Vec<f64> = dummy_start().iter().map(|x| x * std).collect();
        let noise = &mut OneStream(TorchCpu::new(0));
        let end = match self.sampler.as_str() {
            "ddim_inversion" => {
                let observer = &mut ();
                let mut run = Run { denoiser: &mut denoiser, grid: &grid, noise, observer };
                ddim_inversion(start, &mut run).unwrap()
            }
            _ => sample(sampler, start, &mut denoiser, &grid, noise, &mut ()).unwrap(),
        };
        let sum: f64 = end.iter().map(|x| x.abs()).sum();
        let kept: Vec<f64> = end.into_iter().step_by(16).collect();
        relative_error(&kept, &self.values).max((sum / self.sum - 1.0).abs())
    }
}

#[test]
fn every_loop_of_diffusers_agrees() {
    let cases: Vec<Case> =
        serde_json::from_value(golden::load("testdata/diffusers_samplers.json")).unwrap();
    assert!(cases.len() > 300);
    let (mut far, mut unknown) = (Vec::new(), Vec::new());
    for case in &cases {
        let told = format!("{case:?}");
        let what = format!("{}: {}", case.scheduler, told.split(", sum").next().unwrap_or(""));
        match case.sampler() {
            Some(sampler) => {
                let error = case.error(sampler);
                if error.is_nan() || error > BOUND {
                    far.push(format!("{error:.1e} {what}"));
                }
            }
            None => unknown.push(what),
        }
    }
    assert!(unknown.is_empty(), "the catalog lacks: {}", unknown.join("\n"));
    assert!(far.is_empty(), "{} of {}:\n{}", far.len(), cases.len(), far.join("\n"));
}
