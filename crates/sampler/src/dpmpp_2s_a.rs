//! DPM-Solver++(2S) with ancestral noise.

use crate::{Interval, Run, SamplerError, State};

/// DPM-Solver++(2S) (Lu et al., DPM-Solver++, Algorithm 1, with `r = 1/2`) to less noise than the next
/// level has, and fresh noise up to it: with `x_m` in the middle of the way in `log(alpha / sigma)`, the
/// step holds the estimate `x_0(x_m)`,
/// `x' = (down / sigma) x + (alpha' - alpha down / sigma) x_0(x_m) + up z`.
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn dpmpp_2s_a<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let (down, up) = step.interval.ancestral(eta);
        if down.to.is_clean() {
            let x = down.holding(step.x, &step.denoised.x0);
            return Ok(run.stirred(x, up));
        }
        down.has_signal("dpmpp_2s_a")?;
        let level = down.middle(run.grid.path);
        let middle = Interval { to: level, ..down }.holding(step.x, &step.denoised.x0);
        let there = run.denoise(&middle, level)?;
        let x = down.holding(step.x, &there.x0);
        Ok(run.stirred(x, up))
    })
}
