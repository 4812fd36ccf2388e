//! What every sampler has to hold. The suite runs over [`Sampler::all`], and takes from the catalog what
//! each promises: a new sampler is held to it by being there.

mod support;

use std::f64::consts::FRAC_PI_4;
use std::ops::ControlFlow;
use sumi_process::{BetaSchedule, NoiseLevel, Path, Schedule};
use sumi_random::{PerSample, TorchCpu};
use sumi_sampler::{
    BFunction, Clip, Convention, Denoised, Denoiser, Grid, Limit, Moment, Noise, PndmStart,
    Sampler, SamplerError, SamplerKind, State, UniPc, names,
};
use sumi_testkit::{GaussianMixture, assert_close, relative_error};
use support::{Batch, Exact, OneStream, Streams, cases, even_angles, normals, sample, walk};

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
    for (sampler, path) in cases() {
        for steps in [1, 2, 7, 1000] {
            for grid in [even_angles(path, steps), walk(path, &schedule, steps)] {
                let mut exact = Exact(GaussianMixture::single(point.clone(), 0.0));
                let start = vec![2.0, 0.1, -0.4];
                let (noise, all) = (&mut one_stream(1), &mut ());
                let end = sample(sampler, start, &mut exact, &grid, noise, all).unwrap();
                let error = relative_error(&end, &point);
                // Its steps multiply the rounding of their later calls by the ratio that they start from,
                // up to 637.
                let bound = if matches!(sampler, Sampler::Pndm { .. }) { 1e-6 } else { 1e-12 };
                assert!(error < bound, "{sampler:?}, {steps} steps: {error:e}");
            }
        }
    }
}

/// The last thing that a denoiser was asked and said, and how often it was asked.
struct Recorded {
    inner: Exact,
    calls: usize,
    said: Vec<f64>,
}

impl Denoiser<Vec<f64>> for Recorded {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let denoised = self.inner.denoise(x_t, level)?;
        self.calls += 1;
        self.said.clone_from(&denoised.x0);
        Ok(denoised)
    }
}

fn recorded() -> Recorded {
    let inner = Exact(GaussianMixture::single(vec![0.5; 4], 0.3));
    Recorded { inner, calls: 0, said: Vec::new() }
}

/// A grid of one step asks the denoiser once, at the first level, and takes its word, even where that
/// level has no signal.
#[test]
fn one_step_takes_the_denoisers_word() {
    let start = vec![1.0, -0.2, 0.4, -2.0];
    for (sampler, path) in cases() {
        let without_signal = Grid::through(path, &[NoiseLevel { alpha: 0.0, sigma: 1.0 }]);
        let signal = path == Path::VarianceExploding;
        for grid in
            [walk(path, &ddpm_schedule(), 1), without_signal].iter().take(2 - usize::from(signal))
        {
            let (noise, all) = (&mut one_stream(1), &mut ());
            let mut exact = recorded();
            let end = sample(sampler, start.clone(), &mut exact, grid, noise, all).unwrap();
            assert_eq!(exact.calls, 1, "{sampler:?}");
            assert_close(&end, &exact.said, 1e-12);
            let NoiseLevel { alpha, sigma } = grid.intervals[0].from;
            // Churn asks from a place of its own choice.
            if !matches!(sampler, Sampler::Edm { churn } if churn.s_churn > 0.0) {
                assert_close(&end, &exact.inner.0.posterior_mean(&start, alpha, sigma), 1e-12);
            }
        }
    }
}

/// The catalog says how often a sampler asks at each step but the last; one that takes steps of its own
/// asks as often as its tolerance wants.
#[test]
fn calls_are_as_many_as_the_catalog_says() {
    for (sampler, path) in cases().filter(|(sampler, _)| !sampler.is_adaptive()) {
        let mut exact = recorded();
        let (noise, all) = (&mut one_stream(1), &mut ());
        let start = vec![1.0, -0.2, 0.4, -2.0];
        sample(sampler, start, &mut exact, &even_angles(path, 9), noise, all).unwrap();
        let first_steps = match sampler {
            Sampler::Pndm { start: PndmStart::RungeKutta, .. } => 9,
            Sampler::Pndm { .. } => 1,
            _ => 0,
        };
        let expected = 8 * sampler.entry().calls_per_step as usize + 1 + first_steps;
        assert_eq!(exact.calls, expected, "{sampler:?}");
    }
}

/// A start without signal is the limit of starts with ever less, or is refused with the names of samplers
/// that can.
#[test]
fn a_start_without_signal_is_a_limit_or_refused() {
    let paths = [Path::VariancePreserving, Path::Flow];
    let end = |sampler, path: Path, first: f64| {
        let levels: Vec<_> = [first, 3.0, 1.0, 0.4, 0.1].map(|r| path.at_ratio(r)).into();
        let mut exact = Exact(GaussianMixture::single(vec![0.5; 3], 0.3));
        let (noise, all) = (&mut one_stream(1), &mut ());
        let grid = Grid::through(path, &levels);
        sample(sampler, vec![1.0, -0.2, -2.0], &mut exact, &grid, noise, all)
    };
    for (sampler, path) in cases().filter(|(_, path)| paths.contains(path)) {
        match end(sampler, path, f64::INFINITY) {
            Ok(found) => {
                // A start without signal is simply left behind; the middle of a long step to almost no
                // noise, before the noise is added, is of no use.
                // An infinitely long step has no middle for a singlestep solver, and no weight for bh1's
                // correction, which is the length of the step.
                let bh1 =
                    |s: Sampler| matches!(s, Sampler::UniPc(UniPc { solver: BFunction::Bh1, .. }));
                let long = matches!(sampler, Sampler::DpmSolverSinglestep { .. }) || bh1(sampler);
                if long || matches!(sampler, Sampler::Dpm2A { .. } | Sampler::Dpmpp2sA { .. }) {
                    assert!(found.iter().all(|x| x.abs() < 3.0), "{sampler:?}: {found:?}");
                    continue;
                }
                let near = end(sampler, path, 1e7).unwrap();
                // Multistep methods in log r forget their first estimate no faster than 1 / log r.
                let bound = match sampler {
                    Sampler::Dpmpp2mSde { .. } | Sampler::Dpmpp3mSde { .. } => 3e-2,
                    _ if sampler.entry().convention == Convention::Multistep => 3e-2,
                    _ => 1e-5,
                };
                let error = relative_error(&found, &near);
                assert!(error < bound, "{sampler:?}: {found:?} is not near {near:?}");
            }
            Err(error) => {
                let sentence = error.to_string();
                let (who, others) = sentence.split_once(':').unwrap();
                assert!(matches!(error, SamplerError::Unsuitable(_)), "{who}");
                for name in others.split([' ', ',']).filter(|word| names().contains(word)) {
                    let can = SamplerKind::named(name).unwrap().sampler;
                    assert!(end(can, path, f64::INFINITY).is_ok(), "{sentence}");
                }
                assert!(others.contains("ddim"), "{sentence}");
            }
        }
    }
}

/// A flow's own solvers refuse other paths, and are Euler's and DDIM's method on theirs.
#[test]
fn flows_are_solved_on_their_path_alone() {
    let run = |sampler, path| {
        let mut exact = Exact(GaussianMixture::single(vec![0.5; 3], 0.3));
        let (noise, all) = (&mut one_stream(1), &mut ());
        let start = vec![1.0, -0.2, -2.0];
        sample(sampler, start, &mut exact, &even_angles(path, 9), noise, all)
    };
    for sampler in [Sampler::FlowEuler, Sampler::FlowHeun] {
        let refusal = run(sampler, Path::VariancePreserving).unwrap_err().to_string();
        assert!(refusal.contains("expected the path of a rectified flow"), "{refusal}");
    }
    let euler = run(Sampler::FlowEuler, Path::Flow).unwrap();
    assert_close(&euler, &run(Sampler::Euler, Path::Flow).unwrap(), 1e-11);
    assert_close(&euler, &run(Sampler::Ddim { eta: 0.0 }, Path::Flow).unwrap(), 1e-11);
}

/// The same seed gives the same sample bit for bit, alone and at any place in any batch, whatever other
/// threads do.
#[test]
fn a_sample_depends_on_its_seed_alone() {
    let draw = |sampler, path, seed: u64, n: usize| {
        let mut noise = Streams(PerSample::new(seed, n));
        let start = Batch { width: 3, values: normals(&mut noise.0, 3 * n) };
        let mut exact = Exact(GaussianMixture::single(vec![0.4; 3], 0.25));
        let grid = even_angles(path, 20);
        sample(sampler, start, &mut exact, &grid, &mut noise, &mut ()).unwrap().values
    };
    for (sampler, path) in cases() {
        let together = draw(sampler, path, 40, 7);
        let alone = std::thread::scope(|scope| {
            let one = |i: u64| scope.spawn(move || draw(sampler, path, 40 + i, 1));
            // The last sample first.
            let threads: Vec<_> = (0..7).rev().map(one).collect();
            threads.into_iter().rev().flat_map(|t| t.join().unwrap()).collect::<Vec<f64>>()
        });
        match sampler {
            // A batch takes the steps that its worst sample needs.
            Sampler::Ode { tolerance } => assert_close(&together, &alone, 10.0 * tolerance),
            _ => assert_eq!(together, alone, "{sampler:?}"),
        }
        assert_ne!(together, draw(sampler, path, 41, 7), "{sampler:?}");
    }
}

#[test]
fn the_observer_sees_every_step() {
    for (sampler, path) in cases() {
        let grid = even_angles(path, 9);
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
    for (sampler, path) in cases() {
        let mut steps = 0;
        let mut watch = |_: Moment<'_, Vec<f64>>| {
            steps += 1;
            if steps == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut exact = Exact(GaussianMixture::single(vec![0.4], 0.25));
        let noise = &mut one_stream(1);
        let result =
            sample(sampler, vec![0.3], &mut exact, &even_angles(path, 9), noise, &mut watch);
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
    for (sampler, path) in cases() {
        let mut failing = Failing(0);
        let (noise, all) = (&mut one_stream(1), &mut ());
        let error = sample(sampler, vec![0.3], &mut failing, &even_angles(path, 9), noise, all);
        assert_eq!(error.unwrap_err().to_string(), "out of memory", "{sampler:?}");
        assert_eq!(failing.0, 2, "{sampler:?}");
    }
}

/// Whatever a network says, no estimate that a sampler goes by is out of range.
#[test]
fn samplers_go_by_the_clipped_estimate() {
    // The noise that a network says is not clipped: pndm goes by it, and its class in diffusers clips nothing.
    let clips = |sampler: Sampler| !matches!(sampler, Sampler::Pndm { .. });
    for (sampler, path) in cases().filter(|(sampler, _)| clips(*sampler)) {
        let inner = Exact(GaussianMixture::single(vec![5.0, -5.0], 0.1));
        let mut clipped = Clip { inner, limit: Limit::Clip { range: 1.0 } };
        let mut inside = true;
        let mut watch = |moment: Moment<'_, Vec<f64>>| {
            inside &= moment.x0.iter().all(|x| x.abs() <= 1.0);
            ControlFlow::Continue(())
        };
        let (grid, noise) = (even_angles(path, 20), &mut one_stream(1));
        let end = sample(sampler, vec![0.3, 0.1], &mut clipped, &grid, noise, &mut watch).unwrap();
        assert!(inside && end.iter().all(|x| x.abs() <= 1.0 + 1e-12), "{sampler:?}: {end:?}");
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
    let grid = walk(Path::VariancePreserving, &ddpm_schedule(), 50);
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

/// A walk that begins on the way, with a noised picture, is as near the probability flow as the whole walk
/// on the same levels: no solver reckons with the part that is not taken.
#[test]
fn the_end_of_a_walk_is_walked_as_well() {
    let (mean, v) = (0.4, 0.25);
    let process = sumi_process::Process::Discrete(ddpm_schedule());
    let quiet = |sampler: &Sampler| {
        let entry = sampler.entry();
        !sampler.adds_noise() && entry.convention != Convention::Distilled
    };
    for sampler in support::serving(Path::VariancePreserving).filter(quiet) {
        let whole = sumi_sampler::GridRequest::usual(sampler, 100).build(&process).unwrap();
        let grid = whole.for_strength(0.2);
        let NoiseLevel { alpha, sigma } = grid.intervals[0].from;
        let start: Vec<f64> = [-0.2, 0.3, 0.5].iter().map(|x| alpha * x + 0.3 * sigma).collect();
        let end = grid.intervals[grid.len() - 1].to;
        let spread = |a: f64, s: f64| (a * a * v + s * s).sqrt();
        let shrink = spread(end.alpha, end.sigma) / spread(alpha, sigma);
        let expected: Vec<f64> =
            start.iter().map(|x| end.alpha * mean + shrink * (x - alpha * mean)).collect();
        let mut exact = Exact(GaussianMixture::single(vec![mean; 3], v));
        let (noise, all) = (&mut one_stream(1), &mut ());
        let found = sample(sampler, start, &mut exact, &grid, noise, all).unwrap();
        let error = relative_error(&found, &expected);
        assert!(error < 0.03, "{sampler:?}: {error:e}");
    }
}
