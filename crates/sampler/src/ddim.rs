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
    run.walk(x, |x_t, denoised, interval, noise| {
        let to = interval.to;
        let std = eta * Posterior::between(interval.from, to).variance.sqrt();
        // Rounding must not make the remainder negative where std is all of sigma.
        let direction = (to.sigma * to.sigma - std * std).max(0.0).sqrt();
        let mean = denoised.x0.combine(to.alpha, &denoised.eps, direction);
        if eta == 0.0 {
            return mean;
        }
        mean.combine(1.0, &noise.standard_normal(x_t), std)
    })
}
