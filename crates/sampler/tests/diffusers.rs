//! Whole loops of diffusers' own scheduler tests: `testdata/diffusers_loops.py` made the goldens.

mod support;

use sumi_process::{BetaSchedule, Linear, NoiseLevel, Prediction, ReverseVariance, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{Clip, Denoised, Denoiser, Grid, Limit, Sampler, SamplerError, Spacing, State};
use sumi_testkit::{golden, relative_error};
use support::{OneStream, sample};

/// A network that says `x t / (t + 1)`, whatever that is taken to mean.
struct Dummy {
    schedule: Schedule,
    prediction: Prediction,
}

impl Denoiser<Vec<f64>> for Dummy {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let t = self.schedule.timestep_of(level);
        let output = x_t.combine(t / (t + 1.0), x_t, 0.0);
        let of = |Linear { first, second }| x_t.combine(first, &output, second);
        Ok(Denoised { x0: of(self.prediction.x0(level)), eps: of(self.prediction.eps(level)) })
    }
}

/// 0, 1, .. 767 over 768, shaped (3, 8, 8, 4) and permuted to (4, 3, 8, 8).
fn start() -> Vec<f64> {
    (0..768).map(|i| (i % 192 * 4 + i / 192) as f64 / 768.0).collect()
}

fn agrees(name: &str, sampler: Sampler, steps: usize, prediction: Prediction) {
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let timesteps = Grid::timesteps(Spacing::Leading, 1000, steps, 0).unwrap();
    let grid = Grid::strided(&schedule, &timesteps, NoiseLevel::CLEAN);
    let inner = Dummy { schedule, prediction };
    let mut denoiser = Clip { inner, limit: Limit::Clip { range: 1.0 } };
    let noise = &mut OneStream(TorchCpu::new(0));
    let end = sample(sampler, start(), &mut denoiser, &grid, noise, &mut ()).unwrap();

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
