//! DPM-Solver-2 as k-diffusion has it.

use crate::denoiser::slope;
use crate::{Denoised, Interval, Run, SamplerError, State};

/// The midpoint method on the probability flow, with the middle in `log r` (after Lu et al., DPM-Solver,
/// Algorithm 1, in the variables of Karras et al.).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn dpm2<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    run.walk(x, |run, step| midpoint(run, step.x, step.interval, step.denoised))
}

/// One step along the slope in the middle, `x' / alpha' = x / alpha + (r' - r) d_m` with
/// `r_m = sqrt(r r')`, where Euler's step leads. Where no noise is left there is no such middle, and
/// Euler's step is taken to the end.
pub(crate) fn midpoint<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    interval: Interval,
    here: &Denoised<S>,
) -> Result<S, SamplerError> {
    if interval.to.is_clean() {
        return Ok(interval.holding(x, &here.x0));
    }
    interval.has_signal("dpm2 and dpm2_a")?;
    let level = interval.middle(run.grid.path);
    let middle = Interval { from: interval.from, to: level }.holding(x, &here.x0);
    let there = run.denoise(&middle, level)?;
    Ok(interval.along(x, &slope(&middle, level, &there.x0)))
}
