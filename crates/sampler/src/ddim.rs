//! Denoising diffusion implicit models.

use crate::{Run, SamplerError, State};
use sumi_process::Posterior;

/// DDIM (Song, Meng and Ermon, Denoising Diffusion Implicit Models, Eq. 12):
/// `x_s = alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps + std z` with
/// `std = eta sqrt(beta_tilde)` (Eq. 16).
///
/// `eta = 0` is deterministic and of first order; `eta = 1` adds as much noise as ancestral
/// sampling.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn ddim<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        let std = eta * Posterior::between(from, to).variance.sqrt();
        // Rounding must not make the remainder negative where std is all of sigma.
        let direction = (to.sigma * to.sigma - std * std).max(0.0).sqrt();
        let mean = step.denoised.x0.combine(to.alpha, &step.denoised.eps, direction);
        if eta == 0.0 {
            return Ok(mean);
        }
        Ok(mean.combine(1.0, &run.fresh_noise(step.x), std))
    })
}
