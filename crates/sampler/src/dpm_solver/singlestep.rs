//! The singlestep DPM-Solvers.

use super::{Algorithm, phi};
use crate::denoiser::slope;
use crate::{Interval, Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// DPM-Solver-1, -2 and -3 (Lu et al., DPM-Solver, Algorithms 1 and 2), by the noise or by the data
/// (DPM-Solver++, Algorithm 1): a Runge-Kutta step in `lambda` with the network asked at one or two
/// levels between.
///
/// The levels lie at `r1 = 1/2` of the way for the second order, at `r1 = 1/3` and `r2 = 2/3` for the
/// third. A step to or from a level without noise or without signal, which is infinitely far, has
/// order 1.
///
/// # Errors
/// The denoiser's, an order that there is not, an algorithm that adds noise, or the observer's wish to
/// stop.
pub fn dpm_solver_singlestep<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    algorithm: Algorithm,
    order: u32,
) -> Result<S, SamplerError> {
    run.expect_order("dpm_solver_singlestep", order)?;
    if algorithm.adds_noise() {
        let which = "expected the algorithm dpmsolver or dpmsolver++, found one that adds noise";
        return Err(SamplerError::Unsuitable(format!("dpm_solver_singlestep: {which}")));
    }
    run.walk(x, |run, step| {
        let Interval { from, to } = step.interval;
        let word = |x: &S, level: NoiseLevel, x0: &S| match algorithm.predicts_data() {
            true => x0.clone(),
            false => slope(x, level, x0),
        };
        let ddim = |to: NoiseLevel| Interval { from, to }.holding(step.x, &step.denoised.x0);
        let h = step.interval.log_step();
        if order == 1 || !h.is_finite() {
            return Ok(ddim(to));
        }
        let m0 = word(step.x, from, &step.denoised.x0);
        // The network's change since the start of the step, at the share r of the way; `slope` is what
        // is known of that change over the whole way.
        let mut change = |r: f64, slope: Option<&S>| {
            let level = run.grid.path.at_half_log_snr(from.half_log_snr() + r * h);
            let (z, scale) = algorithm.exponent(r * h, level);
            let x = match slope {
                Some(slope) => ddim(level).combine(1.0, slope, -r * scale * phi(z).0),
                None => ddim(level),
            };
            let x0 = run.denoise(&x, level)?.x0;
            Ok::<S, SamplerError>(word(&x, level, &x0).combine(1.0, &m0, -1.0))
        };
        let (z, scale) = algorithm.exponent(h, to);
        if order == 2 {
            let d = change(0.5, None)?;
            return Ok(ddim(to).combine(1.0, &d, -scale * z.exp_m1()));
        }
        let d1 = change(1.0 / 3.0, None)?;
        let d1 = d1.combine(3.0, &d1, 0.0);
        let d2 = change(2.0 / 3.0, Some(&d1))?;
        Ok(ddim(to).combine(1.0, &d2, -1.5 * scale * phi(z).0))
    })
}
