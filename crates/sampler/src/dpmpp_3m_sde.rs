//! DPM-Solver++(3M) for the reverse SDE.

use crate::{History, Interval, Run, SamplerError, State};

/// DPM-Solver++(3M) for the reverse SDE (k-diffusion's `sample_dpmpp_3m_sde`, after Lu et al.,
/// DPM-Solver++, on diffusion SDEs): with `h` the step of `log(alpha / sigma)` and `k = (1 + eta) h`,
/// `x' = (sigma' / sigma) e^(-eta h) x + alpha' ((1 - e^(-k)) x_0 + phi_2 d_1 - phi_3 d_2) +
/// sigma' sqrt(1 - e^(-2 eta h)) z`, where `phi_2 = (e^(-k) - 1) / k + 1`, `phi_3 = phi_2 / k - 1/2`, and
/// `d_1` and `d_2` are the linear and the quadratic coefficient of the parabola through the last three
/// estimates of `x_0`, in steps.
///
/// A third-order method would weigh `d_2` by `2 phi_3`. This keeps the published weight, so that with
/// `eta = 0` its error falls with the second power of the step size, and pictures are those of k-diffusion.
/// The first two steps have fewer estimates to go by.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn dpmpp_3m_sde<S: State>(x: S, run: &mut Run<'_, S>, eta: f64) -> Result<S, SamplerError> {
    let mut estimates = History::new(3);
    run.walk(x, |run, step| {
        let (interval, x0) = (step.interval, &step.denoised.x0);
        let (mut x, up) = interval.reversing(step.x, x0, eta);
        estimates.push(interval.from, x0.clone());
        let (h, alpha) = (interval.log_step(), interval.to.alpha);
        let k = (1.0 + eta) * h;
        let phi_2 = (-k).exp_m1() / k + 1.0;
        if interval.to.is_clean() {
            return Ok(x);
        }
        if let Some((change, r_0)) = change(&estimates, 0, h) {
            x = x.combine(1.0, &change, alpha * phi_2);
            if let Some((before, r_1)) = self::change(&estimates, 1, h) {
                let bend = change.combine(1.0, &before, -1.0);
                let phi_3 = phi_2 / k - 0.5;
                x = x.combine(1.0, &bend, alpha * (phi_2 * r_0 - phi_3) / (r_0 + r_1));
            }
        }
        Ok(run.stirred(x, up))
    })
}

/// How the estimates changed between the last but `i` and the one before it, for one step of `h`, and how
/// many such steps lie between them; no change where they are infinitely many.
fn change<S: State>(estimates: &History<S>, i: usize, h: f64) -> Option<(S, f64)> {
    let ((to, later), (from, earlier)) = (estimates.get(i)?, estimates.get(i + 1)?);
    let steps = Interval { from: *from, to: *to }.log_step() / h;
    Some((later.combine(1.0 / steps, earlier, -1.0 / steps), steps))
}
