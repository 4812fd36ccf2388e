//! Whole loops of diffusers' own scheduler tests: `testdata/diffusers_loops.py` made the goldens.

mod support;

use sumi_process::{BetaSchedule, NoiseLevel, Parameterisation, Prediction, Process};
use sumi_process::{ReverseVariance, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{Clip, Grid, Limit, Sampler, Spacing};
use sumi_testkit::{golden, relative_error};
use support::{Dummy, OneStream, dummy_start, sample};

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
