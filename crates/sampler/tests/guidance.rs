//! Guidance on Gaussian mixtures, whose classes have exact densities.

mod support;

use std::cell::Cell;
use sumi_process::{
    BetaSchedule, NoiseLevel, Parameterisation, Path, Prediction, Process, Schedule,
};
use sumi_random::TorchCpu;
use sumi_sampler::{
    ClassifierGuided, Clip, Denoised, Denoiser, GuidanceInterval, Guided, Limit, Linked, Rescale,
    Sampler, SamplerError, State,
};
use sumi_testkit::{GaussianMixture, assert_close, relative_error};
use support::{Exact, OneStream, even_angles, sample, serving};

/// Data of two classes, the first of which is component 0.
struct Classes {
    all: GaussianMixture,
    first: GaussianMixture,
}

fn classes(means: Vec<Vec<f64>>) -> Classes {
    let (weights, variances) = (vec![0.3, 0.5, 0.2], vec![0.04, 0.09, 0.25]);
    let first = GaussianMixture::single(means[0].clone(), variances[0]);
    Classes { all: GaussianMixture { weights, means, variances }, first }
}

fn one_and_two_dimensional() -> [Classes; 2] {
    [
        classes(vec![vec![-1.0], vec![0.4], vec![1.5]]),
        classes(vec![vec![-1.0, 0.5], vec![0.4, -0.3], vec![1.5, 1.0]]),
    ]
}

impl Classes {
    fn pair(&self) -> (Exact, Exact) {
        (Exact(self.first.clone()), Exact(self.all.clone()))
    }

    /// `grad log p(class 0 | x_t)` by differences of the exact log densities (Bayes' rule).
    fn gradient(&self, x_t: &[f64], level: NoiseLevel) -> Vec<f64> {
        let log_p = |x: &[f64]| {
            self.first.log_density(x, level.alpha, level.sigma)
                - self.all.log_density(x, level.alpha, level.sigma)
        };
        let h = 1e-5;
        let along = |d: usize| {
            let at = |by: f64| {
                let mut x = x_t.to_vec();
                x[d] += by;
                log_p(&x)
            };
            (at(h) - at(-h)) / (2.0 * h)
        };
        (0..x_t.len()).map(along).collect()
    }
}

fn guided(pair: (Exact, Exact), scale: f64) -> Guided<'static, (Exact, Exact)> {
    Guided { pair, scale, rescale: None, interval: None }
}

/// A few points in a row of `dims` dimensions each.
fn starts(dims: usize) -> Vec<Vec<f64>> {
    [-1.8, -0.4, 0.3, 1.1].map(|x| (0..dims).map(|d| x * (1.0 - 0.7 * d as f64)).collect()).into()
}

fn run(denoiser: &mut dyn Denoiser<Vec<f64>>, sampler: Sampler, start: Vec<f64>) -> Vec<f64> {
    let noise = &mut OneStream(TorchCpu::new(3));
    sample(sampler, start, denoiser, &even_angles(Path::VariancePreserving, 40), noise, &mut ())
        .unwrap()
}

#[test]
fn scale_1_is_the_class_and_scale_0_everything() {
    for data in one_and_two_dimensional() {
        for sampler in serving(Path::VariancePreserving) {
            for start in starts(data.first.means[0].len()) {
                let of =
                    |data: &GaussianMixture| run(&mut Exact(data.clone()), sampler, start.clone());
                let by = |scale| run(&mut guided(data.pair(), scale), sampler, start.clone());
                assert_eq!(by(1.0), of(&data.first), "{sampler:?}");
                assert_eq!(by(0.0), of(&data.all), "{sampler:?}");
                assert_ne!(by(3.0), of(&data.first), "{sampler:?}");
            }
        }
    }
}

/// Of two Gaussians `N(m_c, v)` and `N(m_u, v)` of one variance, guidance with scale `s` is exactly
/// `N(m_u + s (m_c - m_u), v)`: the means of scores that are linear with one slope.
#[test]
fn guidance_between_equal_gaussians_moves_the_mean() {
    let of = |mean: f64| GaussianMixture::single(vec![mean, -mean], 0.2);
    let expected = run(&mut Exact(of(0.1 + 2.5 * 0.4)), Sampler::Ddim { eta: 0.0 }, vec![0.3, 1.2]);
    let mut both = guided((Exact(of(0.5)), Exact(of(0.1))), 2.5);
    let found = run(&mut both, Sampler::Ddim { eta: 0.0 }, vec![0.3, 1.2]);
    assert_close(&found, &expected, 1e-12);
}

/// Bayes' rule: with the exact posterior's gradient and scale 1, everything becomes the class.
#[test]
fn the_exact_classifier_at_scale_1_draws_the_class() {
    for data in one_and_two_dimensional() {
        for sampler in serving(Path::VariancePreserving) {
            for start in starts(data.first.means[0].len()) {
                let gradient = |x: &Vec<f64>, level| Ok(data.gradient(x, level));
                let inner = Exact(data.all.clone());
                let mut by_classifier = ClassifierGuided { inner, gradient, scale: 1.0 };
                let found = run(&mut by_classifier, sampler, start.clone());
                let expected = run(&mut Exact(data.first.clone()), sampler, start);
                // What differences of step 1e-5 leave, summed over the steps.
                let error = relative_error(&found, &expected);
                assert!(error < 1e-5, "{sampler:?}: {error:e}");
            }
        }
    }
}

/// Far guidance, held in range, leads to the class's end of the range and not to the other.
#[test]
fn strong_guidance_in_range_leads_to_the_class() {
    let data = || {
        let of = |mean: f64| GaussianMixture::single(vec![mean], 0.05);
        (Exact(of(0.6)), Exact(of(0.2)))
    };
    let limit = Limit::Clip { range: 1.0 };
    // Forty levels are far too few for annealed Langevin dynamics to settle.
    let settles = |sampler: &Sampler| !matches!(sampler, Sampler::Langevin { .. });
    for sampler in serving(Path::VariancePreserving).filter(settles) {
        let mut denoiser = Linked(Clip { inner: guided(data(), 8.0), limit });
        let end = run(&mut denoiser, sampler, vec![-0.3]);
        // Methods that extrapolate round beyond the range, and noise leads away from its end.
        let least = if sampler.adds_noise() { 0.8 } else { 0.9 };
        assert!(end[0] > least && end[0] <= 1.0 + 1e-9, "{sampler:?}: {end:?}");
    }
    // Without the link DDIM goes the other way.
    let mut raw = Clip { inner: guided(data(), 8.0), limit };
    let end = run(&mut raw, Sampler::Ddim { eta: 0.0 }, vec![-0.3]);
    assert!(end[0] < 0.9, "{end:?}");
}

#[test]
fn data_and_noise_stay_linked() {
    let data = &one_and_two_dimensional()[1];
    let x_t = vec![0.3, -0.8];
    let level = NoiseLevel::variance_preserving(0.4);
    let linked = |found: &Denoised<Vec<f64>>| {
        assert_close(&found.x0.combine(level.alpha, &found.eps, level.sigma), &x_t, 1e-12);
    };
    linked(&guided(data.pair(), 4.0).denoise(&x_t, level).unwrap());
    let gradient = |x: &Vec<f64>, level| Ok(data.gradient(x, level));
    let inner = Exact(data.all.clone());
    let mut by_classifier = ClassifierGuided { inner, gradient, scale: 4.0 };
    linked(&by_classifier.denoise(&x_t, level).unwrap());
}

/// Counts how often it is asked, and puts out a variance of its own.
struct Counting<'a>(Exact, &'a Cell<usize>, f64);

impl Denoiser<Vec<f64>> for Counting<'_> {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        self.1.set(self.1.get() + 1);
        let said = self.0.denoise(x_t, level)?;
        Ok(Denoised { variance: Some(vec![self.2]), ..said })
    }
}

#[test]
fn outside_of_its_interval_only_the_strong_one_is_asked() {
    let data = &one_and_two_dimensional()[0];
    let (strong, weak) = (Cell::new(0), Cell::new(0));
    let (first, all) = data.pair();
    let pair = (Counting(first, &strong, 0.25), Counting(all, &weak, 0.75));
    let interval = Some(GuidanceInterval { low: 0.5, high: 2.0 });
    let mut limited = Guided { pair, scale: 3.0, rescale: None, interval };
    let x_t = vec![0.2];
    let level = |sigma| NoiseLevel { alpha: 1.0, sigma };
    for (sigma, asked) in [(0.5, [1, 0]), (0.51, [2, 1]), (2.0, [3, 2]), (2.01, [4, 2])] {
        let found = limited.denoise(&x_t, level(sigma)).unwrap();
        assert_eq!([strong.get(), weak.get()], asked, "{sigma}");
        assert_eq!(found.variance, Some(vec![0.25]));
        let plain = guided(data.pair(), 3.0).denoise(&x_t, level(sigma)).unwrap();
        let alone = Exact(data.first.clone()).denoise(&x_t, level(sigma)).unwrap();
        let inside = sigma > 0.5 && sigma <= 2.0;
        assert_eq!(found.eps, if inside { plain.eps } else { alone.eps }, "{sigma}");
    }
}

/// With share 1 the network's output has the strong one's standard deviation, whatever it predicts;
/// with share 0 nothing changes.
#[test]
fn rescaling_keeps_the_standard_deviation() {
    let data = &one_and_two_dimensional()[1];
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let x_t = vec![0.3, -0.8];
    for prediction in [Prediction::Epsilon, Prediction::V, Prediction::X0] {
        let process = Process::Discrete(schedule.clone());
        let parameterisation = Parameterisation { prediction, process };
        let level = schedule.level(400);
        let target = parameterisation.target(level);
        let output = |d: &Denoised<Vec<f64>>| d.x0.combine(target.first, &d.eps, target.second);
        let by = |phi| {
            let rescale = Some(Rescale { phi, parameterisation: &parameterisation });
            let mut guided = Guided { pair: data.pair(), scale: 6.0, rescale, interval: None };
            guided.denoise(&x_t, level).unwrap()
        };
        let strong = output(&Exact(data.first.clone()).denoise(&x_t, level).unwrap());
        let plain = guided(data.pair(), 6.0).denoise(&x_t, level).unwrap();
        let [none, half, whole] = [0.0, 0.5, 1.0].map(|phi| output(&by(phi)));
        assert!((output(&plain).deviations()[0] / strong.deviations()[0] - 1.0).abs() > 0.1);
        assert_close(&none, &output(&plain), 1e-12);
        assert_close(&whole.deviations(), &strong.deviations(), 1e-12);
        // Half the share is half the way.
        assert_close(&half, &whole.combine(0.5, &none, 0.5), 1e-12);
        let linked = by(0.7);
        assert_close(&linked.x0.combine(level.alpha, &linked.eps, level.sigma), &x_t, 1e-12);
    }
}
