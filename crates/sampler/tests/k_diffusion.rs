//! Whole loops of k-diffusion's samplers: `testdata/k_diffusion.py` made the goldens.

mod support;

use sumi_process::{BetaSchedule, Parameterisation, Prediction, Process, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{Churn, Convention, Grid, GridKind, GridRequest, Sampler, SamplerKind, Spacing};
use sumi_testkit::golden;
use support::{Dummy, OneStream, dummy_start, sample};

/// The levels of the script: evenly spaced timesteps or Karras levels between the same ends.
fn grid(process: &Process, karras: bool, steps: usize) -> Grid {
    let mut request = GridRequest::new(Convention::Ratios { rounded: false }, steps);
    request.spacing = if steps == 1 { Spacing::Trailing } else { Spacing::Linspace };
    request.kind = karras.then_some(GridKind::Karras);
    let mut grid = request.build(process).unwrap();
    // k-diffusion asks for the time of every level anew.
    grid.told.clear();
    grid
}

/// The sampler, as a case like "euler_a v karras 10 eta=0.5" names it, with its prediction, its grid and
/// its steps.
fn parse(case: &str) -> (Sampler, Prediction, bool, usize) {
    let words: Vec<&str> = case.split(' ').collect();
    let mut sampler = match words[0] {
        "edm" => Sampler::Edm {
            churn: Churn { s_churn: 4.0, s_tmin: 0.3, s_noise: 1.007, ..Churn::NONE },
        },
        name => SamplerKind::named(name).unwrap().sampler,
    };
    if let Some(eta) = words.get(4) {
        let eta = eta.trim_start_matches("eta=").parse().unwrap();
        sampler = sampler.with_eta(eta).unwrap();
    }
    let prediction = match words[1] {
        "v" => Prediction::V,
        _ => Prediction::Epsilon,
    };
    (sampler, prediction, words[2] == "karras", words[3].parse().unwrap())
}

#[test]
fn whole_loops_agree() {
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let process = Process::Discrete(schedule);
    let goldens = golden::load("testdata/k_diffusion.json");
    let cases = goldens.as_object().unwrap();
    assert_eq!(cases.len(), 182);
    for (case, values) in cases {
        let (sampler, prediction, karras, steps) = parse(case);
        let grid = grid(&process, karras, steps);
        let parameterisation = Parameterisation { prediction, process: process.clone() };
        let mut denoiser = Dummy { parameterisation, grid: &grid };
        let noise = &mut OneStream(TorchCpu::new(0));
        let end = sample(sampler, dummy_start(), &mut denoiser, &grid, noise, &mut ()).unwrap();

        let mut found: Vec<f64> = end.iter().copied().step_by(16).collect();
        found.push(end.iter().sum());
        let expected = golden::numbers(values);
        // Elements by the greatest of them, the sum by itself.
        let (scale, last) = (expected[..48].iter().fold(0.0, |s: f64, x| s.max(x.abs())), 48);
        let errors = found
            .iter()
            .zip(&expected)
            .enumerate()
            .map(|(i, (f, e))| (f - e).abs() / if i == last { e.abs() } else { scale });
        let error = errors.fold(0.0, f64::max);
        // Both compute in f64 what the goldens have 10 digits of.
        assert!(error < 1e-8, "{case}: {error:e}");
    }
}
