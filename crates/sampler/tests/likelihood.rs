//! Likelihoods and the probability-flow ODE, against data whose density is known.

mod support;

use std::ops::ControlFlow;
use sumi_process::{
    BetaSchedule, Gaussian, Linear, NoiseLevel, Path, Process, ReverseVariance, Schedule,
    bits_per_dim, dequantised_bits_per_dim,
};
use sumi_random::TorchCpu;
use sumi_sampler::likelihood::{Bound, OdeLikelihood, VariationalBound};
use sumi_sampler::{
    Denoised, Denoiser, DifferentiableDenoiser, Grid, Sampler, SamplerError, State,
};
use sumi_testkit::{GaussianMixture, relative_error};
use support::{Exact, OneStream, normals, sample};

/// The exact denoiser of every group of as many elements as the data has dimensions.
struct Oracle(GaussianMixture);

impl Oracle {
    fn dims(&self) -> usize {
        self.0.means[0].len()
    }
}

impl Denoiser<Vec<f64>> for Oracle {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let groups = x_t.chunks(self.dims());
        let x0 = groups.flat_map(|x| self.0.posterior_mean(x, level.alpha, level.sigma));
        Ok(Denoised::from_x0(x_t, level, x0.collect()))
    }
}

impl DifferentiableDenoiser<Vec<f64>> for Oracle {
    /// A posterior mean's Jacobian is symmetric, so that its product from the left is the one from the
    /// right: a central difference.
    fn denoise_vjp(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
        of: Linear,
        cotangent: &Vec<f64>,
    ) -> Result<(Denoised<Vec<f64>>, Vec<f64>), SamplerError> {
        const H: f64 = 1e-5;
        let ahead = self.denoise(&x_t.combine(1.0, cotangent, H), level)?.x0;
        let behind = self.denoise(&x_t.combine(1.0, cotangent, -H), level)?.x0;
        let x0 = ahead.combine(0.5 / H, &behind, -0.5 / H);
        let eps = cotangent.combine(1.0 / level.sigma, &x0, -level.alpha / level.sigma);
        Ok((self.denoise(x_t, level)?, x0.combine(of.first, &eps, of.second)))
    }
}

fn ddpm() -> Schedule {
    Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap()
}

/// One of every path, with a prior that differs from the data's own last level by less than 1e-4
/// bits/dim.
fn processes() -> [Process; 5] {
    [
        Process::Discrete(ddpm()),
        Process::Vp { beta_min: 0.1, beta_max: 20.0 },
        Process::SubVp { beta_min: 0.1, beta_max: 20.0 },
        Process::Ve { sigma_min: 0.005, sigma_max: 100.0 },
        Process::Flow,
    ]
}

fn mixture(dims: usize) -> GaussianMixture {
    let mean = |a: f64| (0..dims).map(|d| a * (1.0 + d as f64).cos()).collect();
    GaussianMixture {
        weights: vec![1.0, 2.0, 0.5],
        means: vec![mean(0.8), mean(-0.5), mean(0.1)],
        variances: vec![0.04, 0.09, 0.3],
    }
}

fn draw(data: &GaussianMixture, seed: u64) -> Vec<f64> {
    let mut source = TorchCpu::new(seed);
    let uniform = f64::from(source.uniform_f32());
    data.sample(uniform, &normals(&mut source, data.means[0].len()))
}

fn go_on(_: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Bits/dim of one sample by the ODE, and how many evaluations it took.
fn ode_bits(data: &GaussianMixture, process: &Process, x: &Vec<f64>, seed: u64) -> (f64, usize) {
    let mut noise = OneStream(TorchCpu::new(seed));
    let found = OdeLikelihood::new(process, 1e-5)
        .measure(x, &mut Oracle(data.clone()), &mut noise, &mut go_on)
        .unwrap();
    (bits_per_dim(-found.nats[0], x.len()), found.evaluations)
}

fn exact_bits(data: &GaussianMixture, x: &[f64]) -> f64 {
    bits_per_dim(-data.log_density(x, 1.0, 0.0), x.len())
}

/// The density that the ODE gives to `x` under the exact denoiser of `N(mean, v)`: the curves are
/// straight in standard deviations, so that the prior's samples are a Gaussian too.
fn pushed_forward(mean: &[f64], v: f64, process: &Process, x: &[f64]) -> f64 {
    let (least, noisiest) = (process.level(process.times().0), process.noisiest());
    let spread = |level: NoiseLevel| (level.alpha.powi(2) * v + level.sigma.powi(2)).sqrt();
    let prior_std = if process.path() == Path::VarianceExploding { noisiest.sigma } else { 1.0 };
    let shrink = spread(least) / least.alpha / spread(noisiest);
    let element = |(&x, &mean): (&f64, &f64)| {
        let of = Gaussian {
            mean: mean - shrink * noisiest.alpha * mean,
            log_variance: 2.0 * (shrink * prior_std).ln(),
        };
        of.log_density(x)
    };
    x.iter().zip(mean).map(element).sum()
}

#[test]
fn a_gaussians_bits_are_exact_on_every_path() {
    const COUNT: u64 = 64;
    for process in processes() {
        for dims in [1, 2, 64] {
            let mean: Vec<f64> = (0..dims).map(|d| 0.3 * (1.0 + d as f64).sin()).collect();
            let data = GaussianMixture::single(mean.clone(), 0.25);
            let (mut worst, mut sum, mut most) = (0.0f64, 0.0, 0);
            for seed in 0..COUNT {
                let x = draw(&data, seed);
                let (found, evaluations) = ode_bits(&data, &process, &x, 100 + seed);
                let own = bits_per_dim(-pushed_forward(&mean, 0.25, &process, &x), dims);
                worst = worst.max((found - own).abs());
                sum += found - exact_bits(&data, &x);
                most = most.max(evaluations);
            }
            let (path, off) = (process.path(), sum / COUNT as f64);
            println!(
                "{path:?}, {dims} dims: {worst:e} from its own, {off:e} from the data's, {most}"
            );
            // A few times the tolerance of a step.
            assert!(worst < 1e-4, "{path:?}, {dims} dims: off by {worst:e}");
            // The prior's mean is not the data's, and the least level is not quite the data.
            assert!(off.abs() < 1e-3, "{path:?}, {dims} dims: off by {off:e}");
            assert!((20..400).contains(&most), "{path:?}: {most}");
        }
    }
}

/// In one dimension Hutchinson's estimate is exact, in more it is right on average.
#[test]
fn a_mixtures_bits_are_exact_on_average_over_the_signs() {
    for (dims, seeds) in [(1, 1), (2, 200), (64, 40)] {
        let data = mixture(dims);
        let process = Process::Discrete(ddpm());
        for of in 0..4 {
            let x = draw(&data, of);
            let bits: Vec<f64> =
                (0..seeds).map(|seed| ode_bits(&data, &process, &x, seed).0).collect();
            let mean = bits.iter().sum::<f64>() / seeds as f64;
            let square = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>();
            let error = 4.0 * square.sqrt() / seeds as f64;
            let exact = exact_bits(&data, &x);
            let off = (mean - exact).abs();
            // What the least level's noise takes from a variance of 0.04 is 1.8e-3 bits/dim.
            println!("{dims} dims: {mean} by the ODE, {exact} exact, 4 standard errors {error:e}");
            assert!(off < error + 2.5e-3, "{dims} dims: off by {off:e} at {error:e}");
        }
    }
}

#[test]
fn a_finer_tolerance_costs_more_and_the_latent_is_on_the_curve() {
    let x = vec![0.3];
    let data = GaussianMixture::single(vec![0.4], 0.25);
    let coarse = OdeLikelihood::new(&Process::Discrete(ddpm()), 1e-3);
    let fine = OdeLikelihood::new(&Process::Discrete(ddpm()), 1e-7);
    let measure = |ode: &OdeLikelihood| {
        let mut noise = OneStream(TorchCpu::new(1));
        ode.measure(&x, &mut Oracle(data.clone()), &mut noise, &mut go_on).unwrap()
    };
    let (a, b) = (measure(&coarse), measure(&fine));
    assert!((a.nats[0] - b.nats[0]).abs() < 1e-2 && a.evaluations < b.evaluations);
    // The latent is where the curve through the data starts: as many deviations from the mean.
    let NoiseLevel { alpha, sigma } = ddpm().level(999);
    let spread = (alpha * alpha * 0.25 + sigma * sigma).sqrt();
    let expected = alpha * 0.4 + spread * (x[0] - 0.4) / (0.25f64 + 1e-4).sqrt();
    assert!((b.latent[0] - expected).abs() < 1e-5, "{} is not {expected}", b.latent[0]);
}

#[test]
fn the_wish_to_stop_ends_both() {
    let data = GaussianMixture::single(vec![0.4], 0.25);
    let x = vec![0.3];
    let mut stop = |_: f64| ControlFlow::Break(());
    let mut noise = OneStream(TorchCpu::new(1));
    let ode = OdeLikelihood::new(&Process::Flow, 1e-5);
    let found = ode.measure(&x, &mut Oracle(data.clone()), &mut noise, &mut stop);
    assert!(matches!(found, Err(SamplerError::Cancelled)));
    let schedule = ddpm();
    let bound =
        VariationalBound { schedule: &schedule, variance: ReverseVariance::FixedSmall, levels: 17 };
    let found = bound.measure(&x, &mut Exact(data), &mut noise, &mut stop);
    assert!(matches!(found, Err(SamplerError::Cancelled)));
}

/// The exact denoiser of `N(mean, v)`, every element by itself, with the variance that makes the reverse
/// step exact where it lies between the bounds.
struct Reverse<'a> {
    mean: f64,
    v: f64,
    schedule: &'a Schedule,
}

impl Reverse<'_> {
    /// The variance of `x_0` given `x_t`.
    fn rest(&self, NoiseLevel { alpha, sigma }: NoiseLevel) -> f64 {
        self.v * sigma * sigma / (alpha * alpha * self.v + sigma * sigma)
    }

    /// The variance of `x_{t-1}` given `x_t`.
    fn variance(&self, timestep: usize) -> f64 {
        let q = self.schedule.posterior(timestep);
        q.variance + q.coef_x0.powi(2) * self.rest(self.schedule.level(timestep))
    }
}

impl Denoiser<Vec<f64>> for Reverse<'_> {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let gain = level.alpha * self.rest(level) / level.sigma.powi(2);
        let x0 = x_t.iter().map(|x| self.mean + gain * (x - level.alpha * self.mean)).collect();
        let timestep = self.schedule.timestep_of(level) as usize;
        let (least, most) = self
            .schedule
            .posterior(timestep)
            .log_variance_range(self.schedule.posterior(1).variance);
        let fraction = (self.variance(timestep).ln() - least) / (most - least);
        let variance = Some(vec![fraction; x_t.len()]);
        Ok(Denoised { variance, ..Denoised::from_x0(x_t, level, x0) })
    }
}

/// The data's cross entropy in bits/dim, bins and all: what no bound is below.
fn entropy(v: f64, levels: usize) -> f64 {
    let nats = 0.5 * (std::f64::consts::TAU * std::f64::consts::E * v).ln();
    dequantised_bits_per_dim(-nats, 1, levels)
}

/// The bound's expectation under the exact denoiser of `N(mean, v)`, term by term: every `L_t` is a
/// divergence whose only random part is the denoiser's squared error, and its mean is known.
fn expected_terms(reverse: &Reverse<'_>, variance: ReverseVariance, levels: usize) -> Vec<f64> {
    let schedule = reverse.schedule;
    let first = schedule.posterior(1).variance;
    let term = |timestep: usize| {
        let q = schedule.posterior(timestep);
        let rest = reverse.rest(schedule.level(timestep));
        let variance = match variance {
            ReverseVariance::LearnedRange => reverse.variance(timestep),
            _ if timestep == 0 => first,
            ReverseVariance::FixedSmall => q.variance,
            ReverseVariance::FixedLarge => q.forward_variance,
        };
        if timestep > 0 {
            let ratio = q.variance / variance;
            let gap = q.coef_x0 * q.coef_x0 * rest / variance;
            return bits_per_dim(0.5 * (ratio - 1.0 - ratio.ln() + gap), 1);
        }
        // The mean over the error, by the trapezium rule.
        let (errors, p) = (
            Gaussian { mean: 0.0, log_variance: rest.ln() },
            Gaussian { mean: 0.0, log_variance: variance.ln() },
        );
        let h = rest.sqrt() / 200.0;
        let at = |i: i32| {
            let x = h * f64::from(i);
            errors.log_density(x).exp() * -p.log_bin_probability(x, levels) * h
        };
        bits_per_dim((-2000..=2000).map(at).sum(), 1)
    };
    (0..schedule.timesteps()).map(term).collect()
}

/// `N` elements of `N(0.1, v)` as one sample of `N` dimensions.
fn measured_bound(reverse: &mut Reverse<'_>, variance: ReverseVariance, levels: usize) -> Bound {
    const N: usize = 20_000;
    let mut source = TorchCpu::new(3);
    let (mean, std) = (reverse.mean, reverse.v.sqrt());
    let x0: Vec<f64> = normals(&mut source, N).iter().map(|z| mean + std * z).collect();
    let schedule = reverse.schedule;
    let bound = VariationalBound { schedule, variance, levels };
    bound.measure(&x0, reverse, &mut OneStream(source), &mut go_on).unwrap()
}

/// The relative standard error of a mean of 20,000 squares of normals.
const SQUARE: f64 = 0.01;

#[test]
fn the_bound_of_a_gaussian_lies_above_its_entropy_by_the_known_gap() {
    let schedule = ddpm();
    // So fine a scale that a bin is far narrower than the last step's noise.
    const LEVELS: usize = 4001;
    for v in [0.01, 0.04] {
        let mut reverse = Reverse { mean: 0.1, v, schedule: &schedule };
        let entropy = entropy(v, LEVELS);
        let mut gaps = Vec::new();
        for variance in [
            ReverseVariance::FixedSmall,
            ReverseVariance::FixedLarge,
            ReverseVariance::LearnedRange,
        ] {
            let expected = expected_terms(&reverse, variance, LEVELS);
            let found = measured_bound(&mut reverse, variance, LEVELS);
            let sum = expected.iter().sum::<f64>() + found.prior[0];
            let total = found.totals()[0];
            println!("{v} {variance:?}: {total} measured, {sum} expected, {entropy} the entropy");
            // Every term by itself, within five standard errors of a mean of 20,000 squares, and their
            // sum, whose errors are independent.
            for (t, (found, expected)) in found.terms.iter().zip(&expected).enumerate() {
                let bound = 5.0 * SQUARE * expected.abs() + 1e-9;
                assert!((found[0] - expected).abs() < bound, "{variance:?} L_{t}: {found:?}");
            }
            let errors = expected.iter().map(|e| (SQUARE * e).powi(2)).sum::<f64>().sqrt();
            assert!((total - sum).abs() < 4.0 * errors, "{variance:?}: {total} is not {sum}");
            assert!(sum > entropy - 2e-4, "{variance:?}: {sum} is below {entropy}");
            gaps.push(sum - entropy);
        }
        // With the variance of the true reverse step nothing is lost but the bins' approximation.
        let [small, large, learned]: [f64; 3] = gaps.try_into().unwrap();
        assert!(learned.abs() < 2e-3 && small > learned && large > learned, "{v}: {learned:e}");
    }
}

#[test]
fn errors_of_eps_and_x0_are_those_of_the_posterior() {
    let schedule = ddpm();
    let mut reverse = Reverse { mean: 0.1, v: 0.04, schedule: &schedule };
    let found = measured_bound(&mut reverse, ReverseVariance::FixedSmall, 256);
    for t in [0, 10, 500, 999] {
        let level = schedule.level(t);
        let (x0, eps) = (found.x0_error[t][0], found.eps_error[t][0]);
        let rest = reverse.rest(level);
        assert!((x0 / rest - 1.0).abs() < 4.0 * SQUARE, "{t}: {x0}");
        assert!((eps * level.ratio().powi(2) / rest - 1.0).abs() < 4.0 * SQUARE, "{t}: {eps}");
    }
}

#[test]
fn the_bound_of_a_mixture_lies_above_its_bits_by_the_ode() {
    let schedule = ddpm();
    for dims in [1, 2, 64] {
        let data = mixture(dims);
        let process = Process::Discrete(schedule.clone());
        let count = 2048 / dims;
        let samples: Vec<Vec<f64>> = (0..count as u64).map(|i| draw(&data, i)).collect();
        let mean = |bits: &mut dyn Iterator<Item = f64>| bits.sum::<f64>() / count as f64;
        // One draw of signs a sample, so that only the mean is right, within its standard errors.
        let off: Vec<f64> = samples
            .iter()
            .zip(0..)
            .take(128)
            .map(|(x, seed)| ode_bits(&data, &process, x, seed).0 - exact_bits(&data, x))
            .collect();
        let ode = off.iter().sum::<f64>() / off.len() as f64;
        let square = off.iter().map(|o| (o - ode).powi(2)).sum::<f64>();
        let error = 4.0 * square.sqrt() / off.len() as f64;
        assert!(ode.abs() < error + 2.5e-3, "{dims} dims: off by {ode}, 4 standard errors {error}");
        let exact = mean(&mut samples.iter().map(|x| exact_bits(&data, x)));
        let bound = VariationalBound {
            schedule: &schedule,
            variance: ReverseVariance::FixedLarge,
            levels: 4001,
        };
        let mut noise = OneStream(TorchCpu::new(9));
        let x0: Vec<f64> = samples.concat();
        let found = bound.measure(&x0, &mut Oracle(data.clone()), &mut noise, &mut go_on).unwrap();
        let total = found.totals()[0] - 2000f64.log2();
        println!("{dims} dims: {total} by the bound, {exact} exact, the ODE {ode:e} off");
        assert!(total > exact && total < exact + 0.3, "{dims} dims: {total} and {exact}");
    }
}

#[test]
fn a_missing_variance_is_refused() {
    let schedule = ddpm();
    let variance = ReverseVariance::LearnedRange;
    let bound = VariationalBound { schedule: &schedule, variance, levels: 256 };
    let mut noise = OneStream(TorchCpu::new(1));
    let mut exact = Exact(GaussianMixture::single(vec![0.4], 0.25));
    let error = bound.measure(&vec![0.3], &mut exact, &mut noise, &mut go_on).unwrap_err();
    assert!(error.to_string().contains("expected a network that puts one out"));
}

/// The probability-flow curve of `N(mean, v)` through `start`, followed down every path.
#[test]
fn the_ode_samplers_error_follows_its_tolerance() {
    let (mean, v) = (0.4, 0.25);
    for path in
        [Path::VariancePreserving, Path::SubVariancePreserving, Path::VarianceExploding, Path::Flow]
    {
        let levels = [path.at_ratio(120.0), path.at_ratio(0.7), path.at_ratio(1e-4)];
        let grid = Grid::through(path, &levels);
        let start: Vec<f64> = [-1.7, -0.3, 0.2, 2.1].iter().map(|z| z * levels[0].sigma).collect();
        let NoiseLevel { alpha, sigma } = levels[0];
        let spread = (alpha * alpha * v + sigma * sigma).sqrt();
        let to_data = |x: &f64| mean + v.sqrt() * (x - alpha * mean) / spread;
        let expected: Vec<f64> = start.iter().map(to_data).collect();
        let error = |tolerance| {
            let mut exact = Exact(GaussianMixture::single(vec![mean; 4], v));
            let mut noise = OneStream(TorchCpu::new(1));
            let sampler = Sampler::Ode { tolerance };
            let end = sample(sampler, start.clone(), &mut exact, &grid, &mut noise, &mut ());
            relative_error(&end.unwrap(), &expected)
        };
        let (coarse, fine) = (error(1e-3), error(1e-6));
        assert!(coarse < 5e-3 && fine < 5e-6, "{path:?}: {coarse:e} and {fine:e}");
        assert!(coarse / fine > 30.0, "{path:?}: {coarse:e} and {fine:e}");
    }
}
