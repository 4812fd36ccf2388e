//! Trajectory consistency sampling.

use crate::{Grid, Run, SamplerError, State};
use sumi_process::{NoiseLevel, Posterior};

/// Strategic stochastic sampling (Zheng et al., Trajectory Consistency Distillation, Algorithm 4): each
/// step goes past the next level, down to the share `1 - gamma` of its time, by `alpha_s x_0 +
/// sigma_s eps`, and from there back up to it by fresh noise.
///
/// `gamma = 0` is DDIM; `gamma = 1` denoises wholly and noises afresh. It is for networks that were
/// distilled to it.
///
/// # Errors
/// The denoiser's, a `gamma` outside \[0, 1\], or the observer's wish to stop.
pub fn tcd<S: State>(x: S, run: &mut Run<'_, S>, gamma: f64) -> Result<S, SamplerError> {
    if !(0.0..=1.0).contains(&gamma) {
        let found = format!("tcd: gamma: expected a number from 0 to 1, found {gamma}");
        return Err(SamplerError::Unsuitable(found));
    }
    run.walk(x, |run, step| {
        let to = step.interval.to;
        let past = earlier(run.grid, to, 1.0 - gamma);
        let x_s = step.denoised.x0.combine(past.alpha, &step.denoised.eps, past.sigma);
        // The way back up: q(x_to | x_past) scales by alpha and adds the forward variance.
        let std = Posterior::between(to, past).forward_variance.max(0.0).sqrt();
        let mean = x_s.combine(to.alpha / past.alpha, &x_s, 0.0);
        Ok(run.stirred(mean, std))
    })
}

/// The level at the share `part` of the time of `level`, in whole timesteps; on a grid that knows none,
/// of its angle `atan(sigma / alpha)`.
fn earlier(grid: &Grid, level: NoiseLevel, part: f64) -> NoiseLevel {
    match &grid.schedule {
        _ if part == 1.0 || level.is_clean() => level,
        Some(schedule) => schedule.level((part * schedule.timestep_of(level)).floor() as usize),
        None => grid.path.at_ratio((part * level.ratio().atan()).tan()),
    }
}
