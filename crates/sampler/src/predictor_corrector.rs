//! Predictor and corrector.

use crate::reverse_sde::{predict, score};
use crate::{Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// The reverse-diffusion predictor of [`reverse_sde`](crate::reverse_sde()), and after each of its steps
/// `corrections` steps of annealed Langevin dynamics at the level that was reached (Song et al.,
/// Score-Based Generative Modeling through SDEs, Algorithms 2 and 4).
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn predictor_corrector<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    snr: f64,
    corrections: usize,
) -> Result<S, SamplerError> {
    run.walk(x, |run, step| {
        let mut x = predict(run, step.x, step.interval, &step.denoised.x0)?;
        if !step.interval.to.is_clean() {
            for _ in 0..corrections {
                x = correct(run, &x, step.interval.to, snr)?;
            }
        }
        Ok(x)
    })
}

/// One Langevin step, `x + e score + sqrt(2 e) z` with `e = 2 (snr |z| / |score|)^2` (Algorithm 4, lines 3 to
/// 6).
///
/// The norms are each sample's own, where the paper takes their mean over the batch: a sample must not
/// depend on its neighbours. Algorithm 5's further factor `1 - beta_t` is left out, which is 1 but for the
/// step size.
fn correct<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    level: NoiseLevel,
    snr: f64,
) -> Result<S, SamplerError> {
    let score = score(x, level, &run.denoise(x, level)?.x0);
    let z = run.fresh_noise(x);
    let size = |(z, score): (f64, f64)| if score > 0.0 { snr * z / score } else { 0.0 };
    let sizes: Vec<f64> = z.norms().into_iter().zip(score.norms()).map(size).collect();
    let squares: Vec<f64> = sizes.iter().map(|size| size * size).collect();
    let drift = score.scale_each(&squares);
    Ok(x.combine(1.0, &drift, 2.0).combine(1.0, &z.scale_each(&sizes), 2.0))
}
