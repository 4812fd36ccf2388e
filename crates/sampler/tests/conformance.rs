//! What every sampler has to hold. The suite runs over [`Sampler::all`], and takes from the catalog what
//! each promises: a new sampler is held to it by being there.

mod support;

use std::f64::consts::FRAC_PI_4;
use std::ops::ControlFlow;
use sumi_process::{BetaSchedule, NoiseLevel, Path, Schedule};
use sumi_random::{PerSample, TorchCpu};
use sumi_sampler::{
    Clip, Convention, Denoised, Denoiser, Grid, Limit, Moment, Noise, Sampler, SamplerError, State,
};
use sumi_testkit::{GaussianMixture, assert_close, relative_error};
use support::{
    Exact, OneStream, Streams, error_on_a_gaussian, even_angles, even_log_snr, normals, sample,
    walk,
};

/// The samplers that serve the grids below.
fn served() -> Vec<Sampler> {
    let serves = |s: &Sampler| s.entry().serves.contains(&Path::VariancePreserving);
    Sampler::all().into_iter().filter(serves).collect()
}

/// What a sampler promises about where it ends.
enum Nature {
    /// It follows the probability-flow curve through its start, with an error that falls as a power
    /// of the number of steps.
    Deterministic { order: f64 },
    /// It adds noise, so that only its distribution is known.
    Stochastic,
}

fn nature(sampler: Sampler) -> Nature {
    match (sampler.adds_noise(), sampler.entry().order) {
        (false, Some(order)) => Nature::Deterministic { order: f64::from(order) },
        _ => Nature::Stochastic,
    }
}

fn ddpm_schedule() -> Schedule {
    Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap()
}

fn one_stream(seed: u64) -> OneStream {
    OneStream(TorchCpu::new(seed))
}

/// Data that is one point: whatever the grid, the samples are that point, so the last step leaves
/// no noise behind.
#[test]
fn every_grid_ends_on_the_point_that_the_data_is() {
    let point = vec![0.7, -1.3, 0.0];
    let schedule = ddpm_schedule();
    for sampler in served() {
        for steps in [1, 2, 7, 1000] {
            for grid in [even_angles(steps), walk(&schedule, steps)] {
                let mut exact = Exact(GaussianMixture::single(point.clone(), 0.0));
                let start = vec![2.0, 0.1, -0.4];
                let (noise, all) = (&mut one_stream(1), &mut ());
                let end = sample(sampler, start, &mut exact, &grid, noise, all).unwrap();
                let error = relative_error(&end, &point);
                // A step of higher order multiplies the rounding of its later calls by the ratio of
                // the first level, 637.
                assert!(error < 1e-10, "{sampler:?}, {steps} steps: {error:e}");
            }
        }
    }
}

/// A grid of one step asks the denoiser once, at the first level, and takes its word.
#[test]
fn one_step_takes_the_denoisers_word() {
    let data = GaussianMixture::single(vec![0.5; 4], 0.3);
    let start = vec![1.0, -0.2, 0.4, -2.0];
    for sampler in served() {
        let grid = walk(&ddpm_schedule(), 1);
        let NoiseLevel { alpha, sigma } = grid.intervals[0].from;
        let expected = data.posterior_mean(&start, alpha, sigma);
        let (noise, all) = (&mut one_stream(1), &mut ());
        let mut exact = Exact(data.clone());
        let end = sample(sampler, start.clone(), &mut exact, &grid, noise, all).unwrap();
        assert_close(&end, &expected, 1e-12);
    }
}

/// Orders above the first are measured away from the ends, see [`even_log_snr`].
#[test]
fn deterministic_samplers_converge_with_their_order() {
    for sampler in served() {
        let Nature::Deterministic { order } = nature(sampler) else { continue };
        // Its error falls with its tolerance: tests/likelihood.rs.
        if sampler.is_adaptive() {
            continue;
        }
        let grid = if order > 1.0 { even_log_snr } else { even_angles };
        for steps in [64, 128, 256] {
            let coarse = error_on_a_gaussian(sampler, &grid(steps));
            let measured = (coarse / error_on_a_gaussian(sampler, &grid(2 * steps))).log2();
            assert!(
                (measured - order).abs() < 0.3,
                "{sampler:?}: order {measured} from {steps} steps, expected {order}"
            );
        }
    }
}

/// Whether it samples from what the exact denoiser says; the others are for networks that were distilled
/// to them (`tests/orders.rs`).
fn samples_by_the_posterior_mean(sampler: &Sampler) -> bool {
    sampler.entry().convention != Convention::Distilled
}

/// Mean and variance of the samples are those of the data, within four standard errors of 20,000
/// samples and what 1,000 steps leave of the discretisation.
#[test]
fn samples_have_the_mean_and_variance_of_the_data() {
    const N: usize = 20_000;
    let (mean, v) = (0.4, 0.25);
    let grid = walk(&ddpm_schedule(), 1000);
    for sampler in served().into_iter().filter(samples_by_the_posterior_mean) {
        let mut noise = one_stream(5);
        let start = normals(&mut noise.0, N);
        let mut exact = Exact(GaussianMixture::single(vec![mean; N], v));
        let end = sample(sampler, start, &mut exact, &grid, &mut noise, &mut ()).unwrap();
        let found_mean = end.iter().sum::<f64>() / N as f64;
        let found_v = end.iter().map(|x| (x - found_mean).powi(2)).sum::<f64>() / N as f64;
        let errors = 4.0 / (N as f64).sqrt();
        let close = |found: f64, expected: f64, bound: f64| (found - expected).abs() < bound;
        assert!(close(found_mean, mean, errors * v.sqrt()), "{sampler:?}: mean {found_mean}");
        let bound = v * (errors * 2f64.sqrt() + 0.01);
        assert!(close(found_v, v, bound), "{sampler:?}: variance {found_v}, expected {v}");
    }
}

/// Two far modes of weights 1 and 3: the samples fall into them so, and nowhere between.
#[test]
fn samples_fall_into_the_modes_by_their_weights() {
    const N: usize = 4_000;
    struct Elementwise(GaussianMixture);
    impl Denoiser<Vec<f64>> for Elementwise {
        fn denoise(
            &mut self,
            x_t: &Vec<f64>,
            level: NoiseLevel,
        ) -> Result<Denoised<Vec<f64>>, SamplerError> {
            let of = |x: &f64| self.0.posterior_mean(&[*x], level.alpha, level.sigma)[0];
            Ok(Denoised::from_x0(x_t, level, x_t.iter().map(of).collect()))
        }
    }
    let data = GaussianMixture {
        weights: vec![1.0, 3.0],
        means: vec![vec![-1.0], vec![1.0]],
        variances: vec![0.01, 0.01],
    };
    let grid = walk(&ddpm_schedule(), 250);
    for sampler in served().into_iter().filter(samples_by_the_posterior_mean) {
        let mut noise = one_stream(6);
        let start = normals(&mut noise.0, N);
        let denoiser = &mut Elementwise(data.clone());
        let end = sample(sampler, start, denoiser, &grid, &mut noise, &mut ()).unwrap();
        let left = end.iter().filter(|&&x| x < 0.0).count() as f64 / N as f64;
        // Four standard errors of a share of 1/4.
        let bound = 4.0 * (0.25 * 0.75 / N as f64).sqrt();
        assert!((left - 0.25).abs() < bound, "{sampler:?}: {left} in the mode of weight 1/4");
        let between = end.iter().filter(|x| (x.abs() - 1.0).abs() > 0.6).count();
        assert!(between <= N / 200, "{sampler:?}: {between} samples outside both modes");
    }
}

/// The same seed gives the same sample, alone and at any place in any batch.
#[test]
fn a_sample_depends_on_its_seed_alone() {
    let draw = |sampler, seed: u64, n: usize| {
        let mut noise = Streams(PerSample::new(seed, n));
        let start = normals(&mut noise.0, n);
        let mut exact = Exact(GaussianMixture::single(vec![0.4; n], 0.25));
        sample(sampler, start, &mut exact, &even_angles(20), &mut noise, &mut ()).unwrap()
    };
    for sampler in served() {
        let together = draw(sampler, 40, 7);
        assert_eq!(together, draw(sampler, 40, 7), "{sampler:?}");
        let alone: Vec<f64> = (0..7).flat_map(|i| draw(sampler, 40 + i, 1)).collect();
        match sampler {
            // A batch takes the steps that its worst sample needs.
            Sampler::Ode { tolerance } => assert_close(&together, &alone, 10.0 * tolerance),
            _ => assert_eq!(together, alone, "{sampler:?}"),
        }
        assert_ne!(together, draw(sampler, 41, 7), "{sampler:?}");
    }
}

#[test]
fn the_observer_sees_every_step() {
    let grid = even_angles(9);
    for sampler in served() {
        let mut seen = Vec::new();
        let mut last = Vec::new();
        let mut watch = |moment: Moment<'_, Vec<f64>>| {
            assert_eq!((moment.steps, moment.x.len(), moment.x0.len()), (9, 2, 2));
            seen.push((moment.step, moment.level));
            last.clone_from(moment.x);
            ControlFlow::Continue(())
        };
        let mut exact = Exact(GaussianMixture::single(vec![0.4; 2], 0.25));
        let noise = &mut one_stream(1);
        let end = sample(sampler, vec![0.3, 1.0], &mut exact, &grid, noise, &mut watch).unwrap();
        let expected: Vec<_> = grid.intervals.iter().map(|i| i.to).enumerate().collect();
        assert_eq!(seen, expected, "{sampler:?}");
        assert_eq!(last, end, "{sampler:?}");
    }
}

#[test]
fn the_observer_can_cancel() {
    for sampler in served() {
        let mut steps = 0;
        let mut watch = |_: Moment<'_, Vec<f64>>| {
            steps += 1;
            if steps == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut exact = Exact(GaussianMixture::single(vec![0.4], 0.25));
        let noise = &mut one_stream(1);
        let result = sample(sampler, vec![0.3], &mut exact, &even_angles(9), noise, &mut watch);
        assert!(matches!(result, Err(SamplerError::Cancelled)), "{sampler:?}: {result:?}");
        assert_eq!(steps, 3, "{sampler:?}");
    }
}

/// A network that fails at its second call.
struct Failing(usize);

impl Denoiser<Vec<f64>> for Failing {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        self.0 += 1;
        match self.0 {
            1 => Ok(Denoised::from_x0(x_t, level, x_t.clone())),
            _ => Err(SamplerError::Denoiser("out of memory".into())),
        }
    }
}

#[test]
fn the_denoisers_error_is_the_samplers() {
    for sampler in served() {
        let mut failing = Failing(0);
        let (noise, all) = (&mut one_stream(1), &mut ());
        let error = sample(sampler, vec![0.3], &mut failing, &even_angles(9), noise, all);
        assert_eq!(error.unwrap_err().to_string(), "out of memory", "{sampler:?}");
        assert_eq!(failing.0, 2, "{sampler:?}");
    }
}

/// Whatever a network says, no estimate that a sampler goes by is out of range.
#[test]
fn samplers_go_by_the_clipped_estimate() {
    // The noise that the network says is not clipped: where diffusers' class clips nothing, nothing is.
    let clipped = |s: &Sampler| s.entry().clips.is_some() || s.entry().thresholds;
    for sampler in served().into_iter().filter(clipped) {
        let inner = Exact(GaussianMixture::single(vec![5.0, -5.0], 0.1));
        let mut clipped = Clip { inner, limit: Limit::Clip { range: 1.0 } };
        let mut inside = true;
        let mut watch = |moment: Moment<'_, Vec<f64>>| {
            inside &= moment.x0.iter().all(|x| x.abs() <= 1.0);
            ControlFlow::Continue(())
        };
        let (grid, noise) = (even_angles(20), &mut one_stream(1));
        let end = sample(sampler, vec![0.3, 0.1], &mut clipped, &grid, noise, &mut watch).unwrap();
        assert!(inside && end.iter().all(|x| x.abs() <= 1.0), "{sampler:?}: {end:?}");
    }
}

#[test]
fn clipping_limits_x0_and_leaves_eps_alone() {
    let level = NoiseLevel { alpha: FRAC_PI_4.cos(), sigma: FRAC_PI_4.sin() };
    let x_t = vec![3.0, -0.2, -4.0];
    let data = || Exact(GaussianMixture::single(vec![0.0; 3], 1.0));
    let plain = data().denoise(&x_t, level).unwrap();
    assert!(plain.x0[0] > 2.0 && plain.x0[2] < -2.0);
    for limit in [
        Limit::None,
        Limit::Clip { range: 1.0 },
        Limit::Clip { range: 2.5 },
        Limit::Threshold { quantile: 0.9, max: 2.0 },
    ] {
        let limited = Clip { inner: data(), limit }.denoise(&x_t, level).unwrap();
        assert_eq!(limited.eps, plain.eps, "{limit:?}");
        let expected = match limit {
            Limit::None => plain.x0.clone(),
            Limit::Clip { range } => plain.x0.iter().map(|x| x.clamp(-range, range)).collect(),
            Limit::Threshold { quantile, max } => plain.x0.threshold(quantile, max),
        };
        assert_eq!(limited.x0, expected, "{limit:?}");
    }
}

/// `eta = 1` on neighbouring timesteps is ancestral sampling with the posterior's variance.
#[test]
fn ddim_with_eta_1_is_ancestral_sampling() {
    use sumi_process::ReverseVariance::FixedSmall;
    let run = |sampler, grid: &Grid| {
        let mut exact = Exact(GaussianMixture::single(vec![0.4; 3], 0.25));
        let (noise, all) = (&mut one_stream(3), &mut ());
        sample(sampler, vec![0.3, 1.0, -2.0], &mut exact, grid, noise, all).unwrap()
    };
    let grid = walk(&ddpm_schedule(), 50);
    let ddim = run(Sampler::Ddim { eta: 1.0 }, &grid);
    let ddpm = run(Sampler::Ddpm { variance: FixedSmall }, &grid);
    assert_close(&ddim, &ddpm, 1e-9);
}

/// The noise of an ancestral step keeps the marginal exact where its variance is the right one.
#[test]
fn fixed_large_is_exact_on_standard_normal_data() {
    use sumi_process::ReverseVariance::FixedLarge;
    // x_s given x_t is then N(a x_t, 1 - a^2) with a = alpha_t / alpha_s, on a grid as coarse as
    // this one. Feeding 1 as the noise shows mean and standard deviation at once.
    struct Ones;
    impl Noise<Vec<f64>> for Ones {
        fn standard_normal(&mut self, like: &Vec<f64>) -> Vec<f64> {
            vec![1.0; like.len()]
        }
    }
    let (from, to) = (NoiseLevel::variance_preserving(0.2), NoiseLevel::variance_preserving(0.7));
    let grid = Grid::from_levels(Path::VariancePreserving, &[from], to);
    let mut exact = Exact(GaussianMixture::single(vec![0.0], 1.0));
    let sampler = Sampler::Ddpm { variance: FixedLarge };
    let end = sample(sampler, vec![0.9], &mut exact, &grid, &mut Ones, &mut ()).unwrap();
    let a = from.alpha / to.alpha;
    assert_close(&end, &[a * 0.9 + (1.0 - a * a).sqrt()], 1e-12);
}
