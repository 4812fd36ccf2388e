//! The reverse SDE.

use crate::denoiser::slope;
use crate::{Interval, Run, SamplerError, State};
use sumi_process::Posterior;

/// Euler and Maruyama's method on the reverse SDE (Song et al., Score-Based Generative Modeling through
/// SDEs, Eq. 6), in the steps of the forward process: where that takes `x_s` to
/// `x_t = a x_s + sqrt(b) z`, a step goes back by `x_s = (2 - a) x_t + b score(x_t) + sqrt(b) z` (Eq. 46, the
/// reverse diffusion sampler).
///
/// The step that ends without noise takes the estimate of `x_0`.
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn reverse_sde<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    run.walk(x, |run, step| predict(run, step.x, step.interval, &step.denoised.x0))
}

/// One step back.
pub(crate) fn predict<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    interval: Interval,
    x0: &S,
) -> Result<S, SamplerError> {
    let Interval { from, to } = interval;
    if to.is_clean() {
        return Ok(x0.clone());
    }
    interval.has_signal("the reverse SDE")?;
    let a = from.alpha / to.alpha;
    let b = Posterior::between(from, to).forward_variance;
    let mean = x.combine(2.0 - a, &score(x, from, x0), b);
    Ok(run.stirred(mean, b.sqrt()))
}

/// `grad log p(x) = -(x - alpha x_0) / sigma^2` (Tweedie).
pub(crate) fn score<S: State>(x: &S, level: sumi_process::NoiseLevel, x0: &S) -> S {
    let slope = slope(x, level, x0);
    slope.combine(-1.0 / level.sigma, &slope, 0.0)
}
