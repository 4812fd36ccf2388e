//! What the tests of the samplers share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use sumi_process::{NoiseLevel, Parameterisation, Path, Schedule};
use sumi_random::{NormalSource, PerSample, TorchCpu};
use sumi_sampler::{
    Denoised, Denoiser, Grid, Noise, Observer, Run, Sampler, SamplerError, Spacing, State,
};
use sumi_testkit::{GaussianMixture, relative_error};

/// The exact denoiser of `data`, which has as many dimensions as the state has elements.
pub struct Exact(pub GaussianMixture);

impl Denoiser<Vec<f64>> for Exact {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let x0 = self.0.posterior_mean(x_t, level.alpha, level.sigma);
        Ok(Denoised::from_x0(x_t, level, x0))
    }
}

impl Denoiser<Batch> for Exact {
    fn denoise(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        let data = self.0.at(level.alpha, level.sigma);
        let x0 = x_t.rows(|row| data.posterior_mean(row));
        Ok(Denoised::from_x0(x_t, level, x0))
    }
}

/// Samples of `width` elements each, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The elements of a sample.
    pub width: usize,
    /// The elements of all samples.
    pub values: Vec<f64>,
}

impl Batch {
    /// Every sample by itself.
    pub fn rows(&self, of: impl FnMut(&[f64]) -> Vec<f64>) -> Self {
        self.with(self.values.chunks(self.width).flat_map(of).collect())
    }

    fn with(&self, values: Vec<f64>) -> Self {
        Self { width: self.width, values }
    }

    fn row(&self, i: usize) -> Vec<f64> {
        self.values[i * self.width..][..self.width].to_vec()
    }
}

impl State for Batch {
    fn combine(&self, a: f64, other: &Self, b: f64) -> Self {
        self.with(self.values.combine(a, &other.values, b))
    }

    fn times(&self, other: &Self) -> Self {
        self.with(self.values.times(&other.values))
    }

    fn exp(&self) -> Self {
        self.with(State::exp(&self.values))
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        self.with(self.values.map(f))
    }

    fn samples(&self) -> Vec<Vec<f64>> {
        (0..self.values.len() / self.width).map(|i| self.row(i)).collect()
    }

    fn scale_each(&self, factors: &[f64]) -> Self {
        let scaled = factors.iter().enumerate().flat_map(|(i, &f)| self.row(i).scale_each(&[f]));
        self.with(scaled.collect())
    }

    fn clamp(&self, limit: f64) -> Self {
        self.with(State::clamp(&self.values, limit))
    }

    fn threshold(&self, quantile: f64, max: f64) -> Self {
        self.rows(|row| row.to_vec().threshold(quantile, max))
    }
}

/// The network of diffusers' own scheduler tests: it says `x t / (t + 1)`, whatever that is taken to
/// mean.
pub struct Dummy<'a> {
    /// What it is taken to mean.
    pub parameterisation: Parameterisation,
    /// Knows what it is told at the levels of a grid.
    pub grid: &'a Grid,
}

impl Denoiser<Vec<f64>> for Dummy<'_> {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let known = self.grid.told(level);
        let t = known.unwrap_or_else(|| self.parameterisation.network_time(level));
        let scale = self.parameterisation.input_scale(level);
        let output = x_t.combine(scale * t / (t + 1.0), x_t, 0.0);
        Ok(Denoised::from_output(x_t, level, &output, &self.parameterisation))
    }
}

/// What those tests start from: 0, 1, .. 767 over 768, shaped (3, 8, 8, 4) and permuted to
/// (4, 3, 8, 8).
pub fn dummy_start() -> Vec<f64> {
    (0..768).map(|i| (i % 192 * 4 + i / 192) as f64 / 768.0).collect()
}

/// One stream of normals for the whole state.
pub struct OneStream(pub TorchCpu);

impl Noise<Vec<f64>> for OneStream {
    fn standard_normal(&mut self, like: &Vec<f64>) -> Vec<f64> {
        normals(&mut self.0, like.len())
    }
}

impl Noise<Batch> for OneStream {
    fn standard_normal(&mut self, like: &Batch) -> Batch {
        like.with(normals(&mut self.0, like.values.len()))
    }
}

/// One stream of normals for each sample.
pub struct Streams(pub PerSample);

impl Noise<Batch> for Streams {
    fn standard_normal(&mut self, like: &Batch) -> Batch {
        like.with(normals(&mut self.0, like.values.len()))
    }
}

/// The next `n` values of a stream.
pub fn normals(source: &mut impl NormalSource, n: usize) -> Vec<f64> {
    let mut z = vec![0.0; n];
    source.fill_normal(&mut z);
    z.into_iter().map(f64::from).collect()
}

/// A grid on `path` by ratios, from the first to no noise.
fn by_ratios(path: Path, ratios: impl Iterator<Item = f64>) -> Grid {
    Grid::through(path, &ratios.map(|ratio| path.at_ratio(ratio)).collect::<Vec<_>>())
}

/// A grid of `steps` steps whose levels are evenly spaced in the angle `atan(sigma / alpha)`, from
/// almost pure noise to clean.
pub fn even_angles(path: Path, steps: usize) -> Grid {
    const FIRST: f64 = 0.999 * std::f64::consts::FRAC_PI_2;
    by_ratios(path, (1..=steps).rev().map(|i| (FIRST * i as f64 / steps as f64).tan()))
}

/// The first ratio of [`even_cube_roots`].
pub const FIRST_RATIO: f64 = 100.0;

/// A grid of `steps` steps whose ratios are evenly spaced in their cube roots, from almost pure noise to
/// clean.
pub fn even_cube_roots(path: Path, steps: usize) -> Grid {
    let left = move |i| (1.0 - i as f64 / steps as f64).powi(3);
    by_ratios(path, (0..steps).map(move |i| FIRST_RATIO * left(i)))
}

/// A grid of `steps` steps evenly spaced in half the log signal-to-noise ratio, from -2 to 2. A step to no
/// noise is infinitely long in it, so that the solvers that go by it take a first-order step there; that
/// step's error, which falls with the second power, would hide what higher orders do before it.
pub fn even_log_snr(steps: usize) -> Grid {
    let path = Path::VariancePreserving;
    let level = |i: usize| path.at_half_log_snr(-2.0 + 4.0 * i as f64 / steps as f64);
    let levels: Vec<NoiseLevel> = (0..steps).map(level).collect();
    Grid::from_levels(path, &levels, level(steps))
}

/// How far a deterministic sampler ends from the probability-flow curve on data `N(0.4, 0.25)`: there
/// every `x_t` keeps its distance from the mean in standard deviations.
pub fn error_on_a_gaussian(sampler: Sampler, grid: &Grid) -> f64 {
    let (mean, v) = (0.4, 0.25);
    let start = vec![-1.7, -0.3, 0.2, 2.1];
    let (first, last) = (grid.intervals[0].from, grid.intervals[grid.len() - 1].to);
    let spread = |level: NoiseLevel| (level.alpha.powi(2) * v + level.sigma.powi(2)).sqrt();
    let curve =
        |x: &f64| last.alpha * mean + spread(last) * (x - first.alpha * mean) / spread(first);
    let expected: Vec<f64> = start.iter().map(curve).collect();
    let mut exact = Exact(GaussianMixture::single(vec![mean; 4], v));
    let (noise, all) = (&mut OneStream(TorchCpu::new(1)), &mut ());
    let end = sample(sampler, start, &mut exact, grid, noise, all).unwrap();
    relative_error(&end, &expected)
}

/// DDPM's walk over `timesteps` of `schedule`, to no noise, at the same ratios on `path`.
pub fn walk(path: Path, schedule: &Schedule, steps: usize) -> Grid {
    let timesteps = Grid::timesteps(Spacing::Trailing, schedule.timesteps(), steps, 0).unwrap();
    by_ratios(path, timesteps.into_iter().map(|t| schedule.level(t).ratio()))
}

/// Runs a sampler from `x`.
pub fn sample<S: State>(
    sampler: Sampler,
    x: S,
    denoiser: &mut dyn Denoiser<S>,
    grid: &Grid,
    noise: &mut dyn Noise<S>,
    observer: &mut dyn Observer<S>,
) -> Result<S, SamplerError> {
    sampler.sample(x, &mut Run { denoiser, grid, noise, observer })
}

/// Every sampler with every path that it serves.
pub fn cases() -> impl Iterator<Item = (Sampler, Path)> {
    let serves = |sampler: Sampler| sampler.entry().serves.iter().map(move |&path| (sampler, path));
    Sampler::all().into_iter().flat_map(serves)
}

/// Every sampler that serves `path`.
pub fn serving(path: Path) -> impl Iterator<Item = Sampler> {
    cases().filter(move |&(_, served)| served == path).map(|(sampler, _)| sampler)
}

/// Every sampler with the first path that it serves, where all its formulas are at work already and more
/// would take long.
pub fn first_cases() -> Vec<(Sampler, Path)> {
    Sampler::all().into_iter().map(|sampler| (sampler, sampler.entry().serves[0])).collect()
}
