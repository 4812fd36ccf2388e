//! Euler's method.

use crate::{Run, SamplerError, State};

/// Euler's method on the probability flow (Karras et al., Elucidating the Design Space, Algorithm 1,
/// lines 4 and 5): with `r = sigma / alpha` and `d = (x - alpha x_0) / sigma`,
/// `x' / alpha' = x / alpha + (r' - r) d`.
///
/// It is DDIM with `eta = 0` as long as nothing is clipped; where the estimate of `x_0` is, `d` goes by
/// the clipped one.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn euler<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    run.walk(x, |_, step| Ok(step.interval.holding(step.x, &step.denoised.x0)))
}
