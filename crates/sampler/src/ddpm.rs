//! Ancestral sampling.

use crate::{Run, SamplerError, State};
use sumi_process::{Posterior, ReverseVariance};

/// DDPM's ancestral sampler (Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models,
/// Algorithm 2): each step draws from `q(x_s | x_t, x_0)` with the denoiser's estimate for `x_0`.
///
/// A step that ends without noise draws none. Here diffusers differs: it asks whether the last
/// timestep is 0, so that with "trailing" spacing or an offset and the large variance its pictures
/// keep the noise of that step.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn ddpm<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    variance: ReverseVariance,
) -> Result<S, SamplerError> {
    run.walk(x, |x_t, denoised, interval, noise| {
        let q = Posterior::between(interval.from, interval.to);
        let mean = denoised.x0.combine(q.coef_x0, x_t, q.coef_xt);
        if interval.to.is_clean() {
            return mean;
        }
        let std = q.reverse_variance(variance).sqrt();
        mean.combine(1.0, &noise.standard_normal(x_t), std)
    })
}
