//! Heun's method.

use crate::denoiser::slope;
use crate::{Denoised, Interval, Run, SamplerError, State};

/// Heun's method on the probability flow (Karras et al., Elucidating the Design Space, Algorithm 1).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn heun<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    run.walk(x, |run, step| trapezoid(run, step.x, step.interval, step.denoised))
}

/// One step along the mean of the slopes at both ends: `x' / alpha' = x / alpha + (r' - r) (d + d') / 2`,
/// with `d'` at the place where Euler's step along `d` ends. Where no noise is left there is no `d'`, and
/// Euler's step is taken.
pub(crate) fn trapezoid<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    interval: Interval,
    here: &Denoised<S>,
) -> Result<S, SamplerError> {
    let euler = interval.holding(x, &here.x0);
    if interval.to.is_clean() {
        return Ok(euler);
    }
    interval.has_signal("heun and edm")?;
    let there = run.denoise(&euler, interval.to)?;
    let (first, second) =
        (slope(x, interval.from, &here.x0), slope(&euler, interval.to, &there.x0));
    Ok(interval.along(x, &first.combine(0.5, &second, 0.5)))
}
