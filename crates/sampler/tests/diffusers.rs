//! Whole loops of diffusers' own scheduler tests, and of its flow, EDM and score schedulers on exact data:
//! `testdata/diffusers_loops.py` and `diffusers_flow_score.py` made the goldens.

mod support;

use sumi_process::{BetaSchedule, NoiseLevel, Parameterisation, Prediction, Process};
use sumi_process::{ReverseVariance, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{
    Algorithm, Clip, Convention, Denoiser, DpmSolver, End, Grid, GridKind, GridRequest, Limit,
    PndmStart, Sampler, SamplerKind, Spacing,
};
use sumi_testkit::{GaussianMixture, golden, relative_error};
use support::{Dummy, Exact, OneStream, dummy_start, sample};

fn agrees(name: &str, sampler: Sampler, steps: usize, prediction: Prediction) {
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let timesteps = Grid::timesteps(Spacing::Leading, 1000, steps, 0).unwrap();
    let grid = Grid::strided(&schedule, &timesteps, NoiseLevel::CLEAN);
    let process = Process::Discrete(schedule);
    let inner = Dummy { parameterisation: Parameterisation { prediction, process }, grid: &grid };
    let mut denoiser = Clip { inner, limit: Limit::Clip { range: 1.0 } };
    let noise = &mut OneStream(TorchCpu::new(0));
    let end = sample(sampler, dummy_start(), &mut denoiser, &grid, noise, &mut ()).unwrap();

    let golden = &golden::load("testdata/diffusers_loops.json")[name];
    let error = relative_error(&end, &golden::numbers(&golden["result"]));
    // diffusers keeps betas, alpha_bar and the state in f32, over 1,000 steps.
    assert!(error < 1e-4, "{name}: {error:e}");
    let sum: f64 = end.iter().map(|x| x.abs()).sum();
    let published = |key: &str| golden::numbers(&golden[key])[0];
    assert!((sum - published("sum")).abs() < 1e-2, "{name}: sum {sum}");
    assert!((sum / 768.0 - published("mean")).abs() < 1e-3, "{name}: mean {}", sum / 768.0);
}

#[test]
fn ddim_loops_agree() {
    let ddim = Sampler::Ddim { eta: 0.0 };
    agrees("ddim-epsilon", ddim, 10, Prediction::Epsilon);
    agrees("ddim-v", ddim, 10, Prediction::V);
}

#[test]
fn ddpm_loops_agree() {
    let ddpm = Sampler::Ddpm { variance: ReverseVariance::FixedSmall };
    agrees("ddpm-epsilon", ddpm, 1000, Prediction::Epsilon);
    agrees("ddpm-v", ddpm, 1000, Prediction::V);
}

/// What comes out of a loop against every 16th element and the sum of a golden: the greater error.
fn error_of(
    case: &str,
    file: &str,
    denoiser: &mut dyn Denoiser<Vec<f64>>,
    grid: &Grid,
    x: Vec<f64>,
) -> f64 {
    let sampler = SamplerKind::named(case.split(' ').next().unwrap()).unwrap().sampler;
    let noise = &mut OneStream(TorchCpu::new(0));
    let end = sample(sampler, x, denoiser, grid, noise, &mut ()).unwrap();
    let golden = golden::numbers(&golden::load(file)[case]);
    let (expected, sum) = golden.split_at(golden.len() - 1);
    let found: Vec<f64> = end.iter().copied().step_by(16).collect();
    let magnitude: f64 = end.iter().map(|x| x.abs()).sum();
    let sum_error = (end.iter().sum::<f64>() - sum[0]).abs() / magnitude;
    relative_error(&found, expected).max(sum_error)
}

fn agrees_with_case(case: &str, denoiser: &mut dyn Denoiser<Vec<f64>>, grid: &Grid, x: Vec<f64>) {
    let error = error_of(case, "testdata/diffusers_flow_score.json", denoiser, grid, x);
    // diffusers computes in f32; one step of a flow takes away all but a thousandth of the state.
    let bound = if case.ends_with(" 1") { 1e-4 } else { 1e-5 };
    assert!(error < bound, "{case}: {error:e}");
}

#[test]
fn flow_loops_agree() {
    for steps in [1, 5, 10, 25] {
        let request = GridRequest::new(Convention::Ratios { rounded: false }, steps);
        let grid = request.build(&Process::Flow).unwrap();
        for name in ["flow_euler", "flow_heun"] {
            let parameterisation =
                Parameterisation { prediction: Prediction::Velocity, process: Process::Flow };
            let mut denoiser = Dummy { parameterisation, grid: &grid };
            agrees_with_case(&format!("{name} {steps}"), &mut denoiser, &grid, dummy_start());
        }
    }
}

/// The exact denoiser of the script's data.
fn gaussian(dimensions: usize) -> Exact {
    Exact(GaussianMixture::single(vec![0.0; dimensions], 0.25))
}

#[test]
fn edm_loops_agree() {
    for steps in [5, 18] {
        let request = GridRequest::new(Convention::Ratios { rounded: false }, steps);
        let grid = request.build(&Process::Edm { sigma_min: 0.002, sigma_max: 80.0 }).unwrap();
        let start = dummy_start().iter().map(|x| 80.0 * x).collect();
        agrees_with_case(&format!("euler {steps}"), &mut gaussian(768), &grid, start);
    }
}

#[test]
fn score_loops_agree() {
    for steps in [10, 50] {
        let process = Process::Ve { sigma_min: 0.01, sigma_max: 50.0 };
        let time = |i: usize| i as f64 / (steps - 1) as f64;
        let levels: Vec<_> = (0..steps).rev().map(|i| process.level(time(i))).collect();
        let grid = Grid::through(process.path(), &levels);
        let start = dummy_start()[..192].iter().map(|x| 50.0 * x).collect();
        let case = format!("predictor_corrector {steps}");
        agrees_with_case(&case, &mut gaussian(192), &grid, start);
    }
}

/// The sums of absolute values that diffusers' own scheduler tests publish (tests/schedulers,
/// `test_full_loop_no_noise` and its variants), each with the configuration of its file: 10 steps, betas
/// linear from 1e-4 to 0.02, eps.
///
/// Those of Euler and its relatives are left out: those tests step from the state that was scaled for the
/// network, so that their loops are not the samplers'. `diffusers_samplers.rs` has those loops as users
/// write them.
#[test]
fn published_sums_are_found() {
    let sum = |name: &str, change: &dyn Fn(&mut GridRequest), sampler| {
        let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        let process = Process::Discrete(schedule);
        let sampler =
            Option::<Sampler>::unwrap_or(sampler, SamplerKind::named(name).unwrap().sampler);
        let mut request = GridRequest::usual(sampler, 10);
        change(&mut request);
        // The files of unipc and the DPM-Solvers end at "sigma_min".
        if name != "pndm" {
            request.end = End::FirstTimestep;
        }
        let grid = request.build(&process).unwrap();
        let parameterisation = Parameterisation { prediction: Prediction::Epsilon, process };
        let mut dummy = Dummy { parameterisation, grid: &grid };
        let start: Vec<f64> = dummy_start().iter().map(|x| x * grid.start_std).collect();
        let noise = &mut OneStream(TorchCpu::new(0));
        let end = sample(sampler, start, &mut dummy, &grid, noise, &mut ()).unwrap();
        end.iter().map(|x| x.abs()).sum::<f64>()
    };
    let karras = |request: &mut GridRequest| request.kind = Some(GridKind::Karras);
    let runge_kutta = Sampler::Pndm { start: PndmStart::RungeKutta, sums_v: false };
    let full_order = Sampler::DpmSolver(DpmSolver {
        lower_order_final: false,
        ..DpmSolver::new(Algorithm::DpmSolverPp, 2)
    });
    let cases = [
        ("pndm", false, Some(runge_kutta), 198.1318, 1e-2),
        // Of these the means are published, to four digits.
        ("unipc", false, None, 0.2464 * 768.0, 1e-3 * 768.0),
        ("unipc", true, None, 0.2925 * 768.0, 1e-3 * 768.0),
        ("dpmpp_2m", false, Some(full_order), 0.3301 * 768.0, 1e-3 * 768.0),
        ("deis", false, None, 0.23916 * 768.0, 1e-3 * 768.0),
    ];
    for (name, by_karras, sampler, published, bound) in cases {
        let change: &dyn Fn(&mut GridRequest) = if by_karras { &karras } else { &|_| () };
        let found = sum(name, change, sampler);
        assert!((found - published).abs() < bound, "{name}: {found}, published {published}");
    }
}
