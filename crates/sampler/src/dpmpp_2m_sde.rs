//! DPM-Solver++(2M) for the reverse SDE.

use crate::{History, Interval, Run, SamplerError, State};

/// SDE-DPM-Solver++(2M) (Lu et al., DPM-Solver++, on diffusion SDEs): with `h` the step of `log(alpha / sigma)`,
/// `x' = (sigma' / sigma) e^(-eta h) x + alpha' (1 - e^(-(1 + eta) h)) D + sigma' sqrt(1 - e^(-2 eta h)) z`,
/// where `D = x_0 + h / (2 h_last) (x_0 - x_0_last)` continues the last two estimates to the middle of the
/// step.
///
/// `eta = 1` is the published method, `eta = 0` is DPM-Solver++(2M). The first step and the one that ends
/// without noise have `D = x_0`.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn dpmpp_2m_sde<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    let mut estimates = History::new(1);
    run.walk(x, |run, step| {
        let interval @ Interval { from, to } = step.interval;
        let x0 = &step.denoised.x0;
        let data = match estimates.get(0) {
            Some((before, last)) if !to.is_clean() => {
                let h_last = Interval { from: *before, to: from }.log_step();
                let weight = 0.5 * interval.log_step() / h_last;
                x0.combine(1.0 + weight, last, -weight)
            }
            _ => x0.clone(),
        };
        estimates.push(from, x0.clone());
        let (x, up) = interval.reversing(step.x, &data, eta);
        Ok(run.stirred(x, up))
    })
}
