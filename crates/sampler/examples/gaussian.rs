//! Samples a mixture of two Gaussians on a line with its exact denoiser, and prints a histogram.
//!
//! ```text
//! cargo run -p sumi-sampler --example gaussian
//! ```

use sumi_process::{BetaSchedule, NoiseLevel, Schedule};
use sumi_random::{NormalSource, TorchCpu};
use sumi_sampler::{Denoised, Denoiser, Grid, Noise, Run, Sampler, SamplerError, Spacing};
use sumi_testkit::GaussianMixture;

/// `E[x_0 | x_t]` of every element by itself: each is a sample of its own.
struct Exact(GaussianMixture);

impl Denoiser<Vec<f64>> for Exact {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let of = |x: &f64| self.0.posterior_mean(&[*x], level.alpha, level.sigma)[0];
        Ok(Denoised::from_x0(x_t, level, x_t.iter().map(of).collect()))
    }
}

struct Normals(TorchCpu);

impl Noise<Vec<f64>> for Normals {
    fn standard_normal(&mut self, like: &Vec<f64>) -> Vec<f64> {
        let mut z = vec![0.0; like.len()];
        self.0.fill_normal(&mut z);
        z.into_iter().map(f64::from).collect()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = GaussianMixture {
        weights: vec![1.0, 3.0],
        means: vec![vec![-1.0], vec![1.0]],
        variances: vec![0.02, 0.1],
    };
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02)?;
    let timesteps = Grid::timesteps(Spacing::Trailing, 1000, 100, 0)?;
    let grid = Grid::consecutive(&schedule, &timesteps);

    for sampler in Sampler::all() {
        if !sampler.entry().serves.contains(&grid.path) {
            continue;
        }
        let mut noise = Normals(TorchCpu::new(0));
        let start = noise.standard_normal(&vec![0.0; 4_000]);
        let mut run = Run {
            denoiser: &mut Exact(data.clone()),
            grid: &grid,
            noise: &mut noise,
            observer: &mut (),
        };
        let samples = sampler.sample(start, &mut run)?;
        println!("{sampler:?}");
        histogram(&samples, &data);
    }
    Ok(())
}

/// Bars for the samples, with a dot where the density of the data has them end.
fn histogram(samples: &[f64], data: &GaussianMixture) {
    const WIDTH: f64 = 0.2;
    // How many characters one unit of density is long.
    const SCALE: f64 = 60.0;
    for bin in -10..12 {
        let low = f64::from(bin) * WIDTH;
        let inside = samples.iter().filter(|&&x| (low..low + WIDTH).contains(&x)).count();
        let found = inside as f64 / samples.len() as f64 / WIDTH;
        let exact = data.log_density(&[low + WIDTH / 2.0], 1.0, 0.0).exp();
        let (found, exact) = ((found * SCALE) as usize, (exact * SCALE) as usize);
        let bar: String = (0..=found.max(exact))
            .map(|i| {
                if i == exact {
                    '.'
                } else if i < found {
                    '#'
                } else {
                    ' '
                }
            })
            .collect();
        println!("{low:5.1} {bar}");
    }
}
