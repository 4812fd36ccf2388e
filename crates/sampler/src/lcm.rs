//! Latent consistency sampling.

use crate::{Run, SamplerError, State};
use sumi_process::SIGMA_DATA;

/// What timesteps are multiplied by in the boundary condition (the published code's
/// `timestep_scaling`).
const TIMESTEP_SCALING: f64 = 10.0;

/// Multistep consistency sampling (Luo et al., Latent Consistency Models, Algorithm 3): each step takes
/// the consistency function's word `f = c_skip x_t + c_out x_0` for the data and noises it afresh,
/// with `c_skip = s^2 / (u^2 + s^2)`, `c_out = u / sqrt(u^2 + s^2)`, `s` = 0.5 and `u` ten times the
/// timestep (section 4.1).
///
/// It is for networks that were distilled to it. On a grid that knows no timesteps `f` is `x_0`.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn lcm<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        let (c_skip, c_out) = match &run.grid.schedule {
            Some(schedule) => {
                let u = TIMESTEP_SCALING * schedule.timestep_of(from);
                let total = u.hypot(SIGMA_DATA);
                ((SIGMA_DATA / total).powi(2), u / total)
            }
            None => (0.0, 1.0),
        };
        let f = step.x.combine(c_skip, &step.denoised.x0, c_out);
        Ok(run.stirred(f.combine(to.alpha, &f, 0.0), to.sigma))
    })
}
