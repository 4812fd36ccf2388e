//! EDM's stochastic sampler.

use crate::heun::trapezoid;
use crate::{Interval, Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// How much noise EDM's sampler adds and takes away again; the levels are ratios `sigma / alpha`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// How much over the whole run; each step raises its level by the factor
    /// `1 + min(s_churn / steps, sqrt(2) - 1)`.
    pub s_churn: f64,
    /// The least level that is raised.
    pub s_tmin: f64,
    /// The greatest level that is raised.
    pub s_tmax: f64,
    /// The standard deviation of what is added, a little above 1 against lost detail.
    pub s_noise: f64,
}

impl Churn {
    /// No noise: Heun's method.
    pub const NONE: Self = Self { s_churn: 0.0, s_tmin: 0.0, s_tmax: f64::INFINITY, s_noise: 1.0 };

    /// The raised level in place of `level` (Elucidating the Design Space, Algorithm 2, lines 4 and 6).
    fn raised(&self, level: NoiseLevel, run: &Run<'_, impl State>) -> NoiseLevel {
        let ratio = level.ratio();
        let gamma = (self.s_churn / run.grid.len() as f64).min(std::f64::consts::SQRT_2 - 1.0);
        match gamma > 0.0 && (self.s_tmin..=self.s_tmax).contains(&ratio) {
            true => run.grid.path.at_ratio(ratio * (1.0 + gamma)),
            false => level,
        }
    }
}

/// Heun's method with churn (Karras et al., Elucidating the Design Space, Algorithm 2): each step first
/// raises its level from `r` to `r_hat = r + gamma r`,
/// `x_hat / alpha_hat = x / alpha + sqrt(r_hat^2 - r^2) s_noise z`, and then goes from there to the next.
///
/// # Errors
/// The denoiser's, a first level without signal, or the observer's wish to stop.
pub fn edm<S: State>(mut x: S, run: &mut Run<'_, S>, churn: Churn) -> Result<S, SamplerError> {
    let grid = run.grid;
    for (index, &Interval { from, to }) in grid.intervals.iter().enumerate() {
        let level = churn.raised(from, run);
        if level != from {
            Interval { from, to }.has_signal("edm with churn")?;
            let more = (level.ratio().powi(2) - from.ratio().powi(2)).sqrt();
            x = x.combine(level.alpha / from.alpha, &x, 0.0);
            x = run.stirred(x, level.alpha * more * churn.s_noise);
        }
        let here = run.denoise(&x, level)?;
        x = trapezoid(run, &x, Interval { from: level, to }, &here)?;
        run.tell(index, to, &x, &here.x0)?;
    }
    Ok(x)
}
