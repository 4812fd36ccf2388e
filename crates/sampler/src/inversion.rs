//! From data back to noise.

use crate::{Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// DDIM inversion (Mokady et al., Null-text Inversion, Eq. 3; Song et al., DDIM, section 4.3): walks the
/// grid from its end to its start, `x_t = alpha_t x_0 + sigma_t eps`, with the noise that the network
/// sees at the noisier end of each step, since at no noise it sees none.
///
/// [`ddim`](crate::ddim) with `eta = 0` on the same grid leads back, with an error of first order. The
/// observer is told the steps in the order in which they are taken; no estimate is clipped.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn ddim_inversion<S: State>(x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
    let mut x = x;
    for (index, interval) in run.grid.intervals.iter().rev().enumerate() {
        let NoiseLevel { alpha, sigma } = interval.to;
        let eps = run.denoise(&x, interval.from)?.eps;
        let x0 = x.combine(1.0 / alpha, &eps, -sigma / alpha);
        x = x0.combine(interval.from.alpha, &eps, interval.from.sigma);
        run.tell(index, interval.from, &x, &x0)?;
    }
    Ok(x)
}
