//! Rectified flow, solved in its own time.

use crate::denoiser::slope;
use crate::{Run, SamplerError, State};
use sumi_process::{NoiseLevel, Path};

/// Euler's method on a rectified flow (Liu et al., Flow Straight and Fast, Eq. 1):
/// `x' = x + (sigma' - sigma) v` with the velocity `v = eps - x_0`.
///
/// # Errors
/// The denoiser's, another path than a flow's, or the observer's wish to stop.
pub fn flow_euler<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    is_flow(run, "flow_euler")?;
    run.walk(x, |_, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        let v = velocity(step.x, from, &step.denoised.x0);
        Ok(step.x.combine(1.0, &v, to.sigma - from.sigma))
    })
}

/// Heun's method on a rectified flow: `x' = x + (sigma' - sigma) (v + v') / 2`, with `v'` at the place
/// where Euler's step leads (Liu et al., Flow Straight and Fast, Eq. 1; Karras et al., Elucidating the
/// Design Space, Algorithm 1). The step that ends without noise is Euler's.
///
/// # Errors
/// The denoiser's, another path than a flow's, or the observer's wish to stop.
pub fn flow_heun<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    is_flow(run, "flow_heun")?;
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        let time = to.sigma - from.sigma;
        let v = velocity(step.x, from, &step.denoised.x0);
        let euler = step.x.combine(1.0, &v, time);
        if to.is_clean() {
            return Ok(euler);
        }
        let there = run.denoise(&euler, to)?;
        let mean = v.combine(0.5, &velocity(&euler, to, &there.x0), 0.5);
        Ok(step.x.combine(1.0, &mean, time))
    })
}

/// `dx/dsigma = eps - x_0`, by `x_0`.
fn velocity<S: State>(x: &S, level: NoiseLevel, x0: &S) -> S {
    slope(x, level, x0).combine(1.0, x0, -1.0)
}

/// # Errors
/// A grid on another path, with the samplers that serve it.
fn is_flow<S>(run: &Run<'_, S>, sampler: &str) -> Result<(), SamplerError> {
    match run.grid.path {
        Path::Flow => Ok(()),
        other => Err(SamplerError::Unsuitable(format!(
            "{sampler}: expected the path of a rectified flow, found {other:?}; euler and heun serve it"
        ))),
    }
}
