//! DPM-Solver++ for the reverse SDE, single-step.

use crate::{Interval, Run, SamplerError, State};

/// DPM-Solver++ as a two-stage method for the reverse SDE (Lu et al., DPM-Solver++, on diffusion SDEs;
/// k-diffusion's `sample_dpmpp_sde` with `r = 1/2`): an ancestral step to the middle in
/// `log(alpha / sigma)`, and with the estimate of `x_0` from there an ancestral step from the start to
/// the end.
///
/// Both stages see one Brownian path that runs against `r = sigma / alpha`: the noise of the way to the
/// end is `z = sqrt(p) z_1 + sqrt(1 - p) z_2`, `p = (r - r_m) / (r - r')`, where `z_1` is the noise of the way
/// to the middle and `z_2` of the rest. That is the joint law of what k-diffusion draws from its Brownian
/// tree. With `eta = 0` nothing is drawn, and the method is DPM-Solver++(2S).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn dpmpp_sde<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let interval @ Interval { from, to } = step.interval;
        if to.is_clean() {
            return Ok(interval.holding(step.x, &step.denoised.x0));
        }
        interval.has_signal("dpmpp_sde")?;
        let level = interval.middle(run.grid.path);
        let (half, half_up) = Interval { from, to: level }.ancestral(eta);
        let (whole, up) = interval.ancestral(eta);
        let mut middle = half.holding(step.x, &step.denoised.x0);
        if eta == 0.0 {
            let there = run.denoise(&middle, level)?;
            return Ok(whole.holding(step.x, &there.x0));
        }
        let first = run.fresh_noise(step.x);
        middle = middle.combine(1.0, &first, half_up);
        let there = run.denoise(&middle, level)?;
        let part = (from.ratio() - level.ratio()) / (from.ratio() - to.ratio());
        let rest = run.fresh_noise(step.x);
        let noise = first.combine(part.sqrt(), &rest, (1.0 - part).sqrt());
        Ok(whole.holding(step.x, &there.x0).combine(1.0, &noise, up))
    })
}
