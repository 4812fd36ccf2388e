//! Ancestral sampling.

use crate::{Run, SamplerError, State};
use sumi_process::{Posterior, ReverseVariance};

/// DDPM's ancestral sampler (Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models,
/// Algorithm 2): each step draws from `q(x_s | x_t, x_0)` with the denoiser's estimate for `x_0`.
///
/// A step that ends without noise draws none. Here diffusers differs: it asks whether the last
/// timestep is 0, so that with "trailing" spacing or an offset and the large variance its pictures
/// keep the noise of that step.
///
/// # Errors
/// The denoiser's, a learned variance that the network does not put out, or the observer's wish to
/// stop.
pub fn ddpm<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    variance: ReverseVariance,
) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let q = Posterior::between(step.interval.from, step.interval.to);
        let mean = step.denoised.x0.combine(q.coef_x0, step.x, q.coef_xt);
        if step.interval.to.is_clean() {
            return Ok(mean);
        }
        let z = run.fresh_noise(step.x);
        Ok(match (variance, &step.denoised.variance) {
            (ReverseVariance::FixedSmall, _) => mean.combine(1.0, &z, q.variance.sqrt()),
            (ReverseVariance::FixedLarge, _) => mean.combine(1.0, &z, q.forward_variance.sqrt()),
            (ReverseVariance::LearnedRange, Some(fraction)) => {
                let (least, most) = q.log_variance_range(q.variance);
                let ones = z.combine(0.0, &z, 0.0).exp();
                let log_std = fraction.combine(0.5 * (most - least), &ones, 0.5 * least);
                mean.combine(1.0, &z.times(&log_std.exp()), 1.0)
            }
            (ReverseVariance::LearnedRange, None) => {
                return Err(SamplerError::Unsuitable(
                    "ddpm with a learned variance: expected a network that puts one out, found none"
                        .into(),
                ));
            }
        })
    })
}
