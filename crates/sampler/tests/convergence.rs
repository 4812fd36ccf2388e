//! Where every sampler goes as its steps grow smaller, on mixtures of Gaussians whose denoiser is exact. The
//! suite runs over [`Sampler::all`]: a new sampler is held to it by being there.

mod support;

use sumi_process::{BetaSchedule, NoiseLevel, Path, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{Convention, Denoised, Denoiser, DpmSolver, Sampler, SamplerError};
use sumi_testkit::{GaussianMixture, relative_error};
use support::{
    Batch, Exact, FIRST_RATIO, OneStream, cases, even_cube_roots, first_cases, normals, sample,
    walk,
};

/// What a sampler promises: without fresh noise it follows the probability flow through its start, with an
/// error that falls as a power of the number of steps.
fn order(sampler: Sampler) -> Option<u32> {
    match sampler {
        _ if sampler.adds_noise() => None,
        // Its error falls with its tolerance: tests/likelihood.rs.
        _ if sampler.is_adaptive() => None,
        // Without their noise these are deterministic methods of an order of their own, while the catalog
        // speaks of them as they usually are.
        Sampler::EulerA { .. } => Some(1),
        Sampler::Dpm2A { .. }
        | Sampler::Dpmpp2sA { .. }
        | Sampler::DpmppSde { .. }
        | Sampler::Dpmpp2mSde { .. }
        | Sampler::Dpmpp3mSde { .. } => Some(2),
        // UniPC's corrector gains an order (UniPC, Theorem 3.1).
        Sampler::UniPc(settings) => Some(settings.order + 1),
        Sampler::Deis { order, .. } => Some(order),
        _ => sampler.entry().order,
    }
}

/// How much faster than with its order the error may fall: these have an error of the next order, too, with
/// a factor so much greater that the lower order shows late.
fn ahead(sampler: Sampler) -> f64 {
    match sampler {
        Sampler::Deis { .. } | Sampler::DpmSolver(DpmSolver { order: 3, .. }) => 0.8,
        _ => 0.3,
    }
}

/// Two modes that are not quite apart, in `dimensions` dimensions.
fn mixture(dimensions: usize) -> GaussianMixture {
    let reach = 0.8 / (dimensions as f64).sqrt();
    let side = |sign: f64| (0..dimensions).map(|i| sign * reach + 0.1 * (i % 3) as f64).collect();
    GaussianMixture {
        weights: vec![1.0, 2.0],
        means: vec![side(-1.0), side(1.0)],
        variances: vec![0.3, 0.3],
    }
}

/// Where the probability flow leads from `x`, the state divided by `alpha` at [`FIRST_RATIO`]: Runge and
/// Kutta's classical method against the cube root of the ratio, in so many steps that its error is below
/// everything that is measured here.
fn probability_flow(data: &GaussianMixture, x: &[f64]) -> Vec<f64> {
    const STEPS: usize = 4000;
    let velocity = |x: &[f64], u: f64| -> Vec<f64> {
        if u <= 0.0 {
            return vec![0.0; x.len()];
        }
        let (ratio, speed) = (FIRST_RATIO * u.powi(3), 3.0 / u);
        let x0 = data.posterior_mean(x, 1.0, ratio);
        x.iter().zip(x0).map(|(x, x0)| (x - x0) * speed).collect()
    };
    let moved = |x: &[f64], k: &[f64], h: f64| -> Vec<f64> {
        x.iter().zip(k).map(|(x, k)| x + h * k).collect()
    };
    let h = -1.0 / STEPS as f64;
    (0..STEPS).rev().fold(x.to_vec(), |x, i| {
        let (end, middle) = (i as f64 / STEPS as f64, (i as f64 + 0.5) / STEPS as f64);
        let k1 = velocity(&x, (i + 1) as f64 / STEPS as f64);
        let k2 = velocity(&moved(&x, &k1, 0.5 * h), middle);
        let k3 = velocity(&moved(&x, &k2, 0.5 * h), middle);
        let k4 = velocity(&moved(&x, &k3, h), end);
        let x = moved(&moved(&x, &k1, h / 6.0), &k2, h / 3.0);
        moved(&moved(&x, &k3, h / 3.0), &k4, h / 6.0)
    })
}

/// The ratios are a smooth function of the step down to 0, so that the error has an asymptotic order for
/// solvers in any of the ratio, its logarithm and a flow's time. They start where almost all is noise:
/// there the first steps of multistep methods, which are of lower order, do little harm.
#[test]
fn deterministic_samplers_converge_with_their_order() {
    for dimensions in [1, 2, 64] {
        let data = mixture(dimensions);
        let mut start = Batch { width: dimensions, values: vec![0.0; 3 * dimensions] };
        start.values = normals(&mut TorchCpu::new(2), start.values.len());
        start.values.iter_mut().for_each(|z| *z *= FIRST_RATIO);
        let expected = start.rows(|row| probability_flow(&data, row)).values;
        for (sampler, path) in cases() {
            let Some(order) = order(sampler) else { continue };
            let error = |steps| {
                let grid = even_cube_roots(path, steps);
                let mut x = start.clone();
                x.values.iter_mut().for_each(|x| *x *= grid.intervals[0].from.alpha);
                let mut exact = Exact(data.clone());
                let noise = &mut OneStream(TorchCpu::new(1));
                let end = sample(sampler, x, &mut exact, &grid, noise, &mut ()).unwrap();
                relative_error(&end.values, &expected)
            };
            let measured: Vec<f64> =
                [512, 1024].map(|steps| (error(steps) / error(2 * steps)).log2()).into();
            for measured in measured {
                let beyond = measured - f64::from(order);
                assert!(
                    beyond > -0.3 && beyond < ahead(sampler),
                    "{sampler:?} on {path:?} in {dimensions} dimensions: order {measured}"
                );
            }
        }
    }
}

fn mean_and_covariance(samples: &Batch) -> (Vec<f64>, Vec<f64>) {
    let (width, n) = (samples.width, (samples.values.len() / samples.width) as f64);
    let mut mean = vec![0.0; width];
    for row in samples.values.chunks(width) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / n);
    }
    let mut covariance = vec![0.0; width * width];
    for row in samples.values.chunks(width) {
        let centred: Vec<f64> = row.iter().zip(&mean).map(|(x, m)| x - m).collect();
        for (i, a) in centred.iter().enumerate() {
            let entries = covariance[i * width..][..width].iter_mut();
            entries.zip(&centred).for_each(|(c, b)| *c += a * b / n);
        }
    }
    (mean, covariance)
}

/// The mean and the covariance of a mixture of isotropic Gaussians.
fn exact_moments(data: &GaussianMixture) -> (Vec<f64>, Vec<f64>) {
    let (width, total) = (data.means[0].len(), data.weights.iter().sum::<f64>());
    let over = |of: &dyn Fn(usize) -> f64| -> f64 {
        (0..data.weights.len()).map(|k| data.weights[k] / total * of(k)).sum()
    };
    let mean: Vec<f64> = (0..width).map(|i| over(&|k| data.means[k][i])).collect();
    let entry = |i: usize, j: usize| {
        let apart = over(&|k| (data.means[k][i] - mean[i]) * (data.means[k][j] - mean[j]));
        apart + if i == j { over(&|k| data.variances[k]) } else { 0.0 }
    };
    let covariance = (0..width * width).map(|at| entry(at / width, at % width)).collect();
    (mean, covariance)
}

/// How fine the grid must be for the discretisation to count for little, or `None` where no grid is.
///
/// The norms that a corrector divides by have no bound from below in a few dimensions.
fn enough_steps(sampler: Sampler, dimensions: usize) -> Option<usize> {
    match sampler {
        // These are for networks that were distilled to them (`tests/orders.rs`).
        Sampler::Lcm | Sampler::Tcd { .. } => None,
        Sampler::PredictorCorrector { .. } if dimensions < 64 => None,
        Sampler::Langevin { .. } => Some(100),
        Sampler::Edm { .. }
        | Sampler::DpmSolver(_)
        | Sampler::Dpm2A { .. }
        | Sampler::Dpmpp2sA { .. }
        | Sampler::DpmppSde { .. }
        | Sampler::Dpmpp2mSde { .. }
        | Sampler::Dpmpp3mSde { .. } => Some(100),
        _ => Some(300),
    }
}

/// A sampler with settings under which its samples follow the data: the few steps of a level that are usual
/// for Langevin dynamics leave its samples far too wide.
fn settled(sampler: Sampler) -> Sampler {
    match sampler {
        Sampler::Langevin { .. } => Sampler::Langevin { steps: 12, size: 1.0 },
        other => other,
    }
}

/// Mean and covariance of `n` samples are those of the data, within five standard errors and what the
/// steps leave of the discretisation: 3 per cent of a variance, 5 of their sum.
fn follows_the_data(sampler: Sampler, path: Path, dimensions: usize, n: usize) {
    let Some(steps) = enough_steps(sampler, dimensions) else { return };
    let data = mixture(dimensions);
    let grid = even_cube_roots(path, steps);
    let mut noise = OneStream(TorchCpu::new(5));
    let mut start = Batch { width: dimensions, values: normals(&mut noise.0, n * dimensions) };
    start.values.iter_mut().for_each(|z| *z *= grid.start_std);
    let mut exact = Exact(data.clone());
    let end = sample(settled(sampler), start, &mut exact, &grid, &mut noise, &mut ()).unwrap();
    let ((found_mean, found), (mean, covariance)) =
        (mean_and_covariance(&end), exact_moments(&data));
    let variance = |i: usize| covariance[i * dimensions + i];
    for i in 0..dimensions {
        let bound = 5.0 * (variance(i) / n as f64).sqrt();
        let error = (found_mean[i] - mean[i]).abs();
        assert!(error < bound, "{sampler:?}: mean {} of {i}, expected {}", found_mean[i], mean[i]);
    }
    // All variances together say more than each by itself where dimensions are many.
    let trace = |c: &[f64]| c.iter().step_by(dimensions + 1).sum::<f64>();
    let bound = 5.0 * (2.0 / (n * dimensions) as f64).sqrt() + 0.05;
    let error = (trace(&found) / trace(&covariance) - 1.0).abs();
    assert!(error < bound, "{sampler:?} in {dimensions} dimensions: variance wrong by {error}");
    for at in 0..dimensions * dimensions {
        let (i, j) = (at / dimensions, at % dimensions);
        let product = variance(i) * variance(j);
        let bound =
            5.0 * ((product + covariance[at].powi(2)) / n as f64).sqrt() + 0.03 * product.sqrt();
        let error = (found[at] - covariance[at]).abs();
        assert!(
            error < bound,
            "{sampler:?}: covariance {} of {i} and {j}, expected {}",
            found[at],
            covariance[at]
        );
    }
}

#[test]
fn samples_have_the_mean_and_covariance_of_the_data() {
    std::thread::scope(|scope| {
        for (sampler, path) in first_cases().into_iter().filter(|(sampler, _)| sampler.adds_noise())
        {
            scope.spawn(move || {
                follows_the_data(sampler, path, 1, 20_000);
                follows_the_data(sampler, path, 2, 20_000);
                // Their 32,000 numbers show the variance as well; 20,000 samples would take minutes.
                follows_the_data(sampler, path, 64, 500);
            });
        }
    });
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
            let data = self.0.at(level.alpha, level.sigma);
            let of = |x: &f64| data.posterior_mean(&[*x])[0];
            Ok(Denoised::from_x0(x_t, level, x_t.iter().map(of).collect()))
        }
    }
    let data = GaussianMixture {
        weights: vec![1.0, 3.0],
        means: vec![vec![-1.0], vec![1.0]],
        variances: vec![0.01, 0.01],
    };
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let learned = |sampler: Sampler| sampler.entry().convention == Convention::Distilled;
    for (sampler, path) in first_cases().into_iter().filter(|(sampler, _)| !learned(*sampler)) {
        let grid = walk(path, &schedule, 250);
        let mut noise = OneStream(TorchCpu::new(6));
        let start = normals(&mut noise.0, N);
        let denoiser = &mut Elementwise(data.clone());
        let end = sample(settled(sampler), start, denoiser, &grid, &mut noise, &mut ()).unwrap();
        let left = end.iter().filter(|&&x| x < 0.0).count() as f64 / N as f64;
        // Four standard errors of a share of 1/4.
        let bound = 4.0 * (0.25 * 0.75 / N as f64).sqrt();
        let between = end.iter().filter(|x| (x.abs() - 1.0).abs() > 0.6).count();
        assert!((left - 0.25).abs() < bound, "{sampler:?}: {left} in the mode of weight 1/4");
        assert!(between <= N / 200, "{sampler:?}: {between} samples outside both modes");
    }
}
