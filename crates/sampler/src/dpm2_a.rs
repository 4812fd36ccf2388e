//! DPM-Solver-2 with ancestral noise.

use crate::dpm2::midpoint;
use crate::{Run, SamplerError, State};

/// The midpoint step of [`dpm2`](crate::dpm2()) to less noise than the next level has, and fresh noise up
/// to it, `x' = x_down + up z` with `up = eta sigma' sqrt(1 - (r' / r)^2)` (k-diffusion's
/// `sample_dpm_2_ancestral`; the noise is that of Song, Meng and Ermon, Denoising Diffusion Implicit
/// Models, Eq. 16).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn dpm2_a<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (down, up) = step.interval.ancestral(eta);
        let x = midpoint(run, step.x, down, step.denoised)?;
        Ok(run.stirred(x, up))
    })
}
