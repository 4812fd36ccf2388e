//! Annealed Langevin dynamics.

use crate::reverse_sde::score;
use crate::{Run, SamplerError, State};

/// Annealed Langevin dynamics (Song and Ermon, Generative Modeling by Estimating Gradients of the Data
/// Distribution, Algorithm 1): `steps` times at each level, `x + (a / 2) score(x) + sqrt(a) z` with
/// `a = size sigma^2`, and then on to the next level with the state as it is (but for `alpha' / alpha`).
///
/// `size` is the paper's `epsilon / sigma_L^2`. Of a level's steps the last is taken with the estimate that
/// every step of a grid begins with, so that the first level has one and the last `steps - 1`. The step
/// that ends without noise takes the estimate of `x_0` (Song and Ermon, Improved Techniques for Training
/// Score-Based Generative Models, Algorithm 1).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn langevin<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    steps: usize,
    size: f64,
) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        if to.is_clean() {
            return Ok(step.denoised.x0.clone());
        }
        step.interval.has_signal("langevin")?;
        let moved = |run: &mut Run<'_, S>, x: &S, level: sumi_process::NoiseLevel, x0: &S| {
            let square = size * level.sigma * level.sigma;
            let mean = x.combine(1.0, &score(x, level, x0), 0.5 * square);
            run.stirred(mean, square.sqrt())
        };
        let mut x = moved(run, step.x, from, &step.denoised.x0);
        x = x.combine(to.alpha / from.alpha, &x, 0.0);
        for _ in 1..steps {
            let x0 = run.denoise(&x, to)?.x0;
            x = moved(run, &x, to, &x0);
        }
        Ok(x)
    })
}
