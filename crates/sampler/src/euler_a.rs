//! Euler's method with ancestral noise.

use crate::{Run, SamplerError, State};

/// Euler's step to less noise than the next level has, and fresh noise up to it (Song, Meng and Ermon,
/// Denoising Diffusion Implicit Models, Eq. 12 and 16, as k-diffusion writes it):
/// `x' = alpha' x_0 + sqrt(sigma'^2 - up^2) d + up z` with
/// `up = eta sigma' sqrt(1 - (r' / r)^2)`.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn euler_a<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (down, up) = step.interval.ancestral(eta);
        let x = down.holding(step.x, &step.denoised.x0);
        Ok(run.stirred(x, up))
    })
}
