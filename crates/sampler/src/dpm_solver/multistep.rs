//! The multistep DPM-Solvers.

use super::{Algorithm, DpmSolver, SecondOrder, phi};
use crate::denoiser::slope;
use crate::{Grid, History, Interval, Run, SamplerError, State};

/// The multistep DPM-Solvers (Lu et al., DPM-Solver, Eq. 3.7, and DPM-Solver++, Algorithm 2 and
/// section 6): each step is DDIM's or ancestral sampling's, plus the differences of the last few
/// estimates.
///
/// The third order is that of the published code and of diffusers, which weighs the second difference
/// half: its error falls with the second power of the step. [`super::dpm_solver_singlestep`] has the
/// third.
///
/// # Errors
/// The denoiser's, an order that there is not, `sde-dpmsolver` on a grid that starts without signal, or
/// the observer's wish to stop.
pub fn dpm_solver<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    settings: DpmSolver,
) -> Result<S, SamplerError> {
    run.expect_order("dpm_solver", settings.order)?;
    let mut history = History::new(3);
    run.walk(x, |run, step| {
        if settings.algorithm == Algorithm::SdeDpmSolver && !step.interval.to.is_clean() {
            step.interval.has_signal("sde-dpmsolver")?;
        }
        let x0 = &step.denoised.x0;
        let eps = slope(step.x, step.interval.from, x0);
        let word = if settings.algorithm.predicts_data() { x0 } else { &eps };
        history.push(step.interval.from, word.clone());
        let order = settings.order_at(run.grid, step.index).min(history.len());
        let (mean, std) = first_order(settings.algorithm, step.interval, step.x, x0, &eps);
        let mean = higher_orders(settings, step.interval, mean, &history, order);
        Ok(run.stirred(mean, std))
    })
}

impl DpmSolver {
    /// The order of a step, if enough of the network's words are known.
    fn order_at(self, grid: &Grid, index: usize) -> usize {
        let short = self.lower_order_final && grid.is_short();
        let clean = grid.intervals[index].to.is_clean();
        let most = match grid.left(index) {
            _ if clean => 1,
            1 if short || self.euler_at_final => 1,
            2 if short => 2,
            _ => 3,
        };
        most.min(self.order as usize)
    }
}

/// The step by a constant, and the standard deviation of the noise that it adds.
fn first_order<S: State>(
    algorithm: Algorithm,
    interval: Interval,
    x: &S,
    x0: &S,
    eps: &S,
) -> (S, f64) {
    let Interval { from, to } = interval;
    match algorithm {
        Algorithm::DpmSolver | Algorithm::DpmSolverPp => (interval.holding(x, x0), 0.0),
        Algorithm::SdeDpmSolverPp => interval.reversing(x, x0, 1.0),
        // Its noise does not vanish with sigma_t; the last step is the other algorithms'.
        Algorithm::SdeDpmSolver if to.is_clean() => (x0.clone(), 0.0),
        Algorithm::SdeDpmSolver => {
            // sigma_t e^h.
            let grown = to.alpha * from.ratio();
            let std = (grown * grown - to.sigma * to.sigma).sqrt();
            (x0.combine(to.alpha, eps, 2.0 * to.sigma - grown), std)
        }
    }
}

/// Adds the differences of the last estimates up to `order`, on levels that need not be evenly spaced
/// (DPM-Solver++, Eq. 13 and Appendix A).
fn higher_orders<S: State>(
    settings: DpmSolver,
    interval: Interval,
    mean: S,
    history: &History<S>,
    order: usize,
) -> S {
    let (Some((_, m0)), Some((level_1, m1)), true) = (history.get(0), history.get(1), order > 1)
    else {
        return mean;
    };
    let Interval { from, to } = interval;
    let h = interval.log_step();
    let (z, scale) = settings.algorithm.exponent(h, to);
    let (phi_2, phi_3) = phi(z);
    // A level without signal is infinitely far: its ratio r is infinite, and its difference 0.
    let r0 = (from.half_log_snr() - level_1.half_log_snr()) / h;
    let d1_0 = m0.combine(1.0 / r0, m1, -1.0 / r0);
    match (history.get(2), settings.solver) {
        (Some((level_2, m2)), _) if order == 3 => {
            let r1 = (level_1.half_log_snr() - level_2.half_log_snr()) / h;
            let d1_1 = m1.combine(1.0 / r1, m2, -1.0 / r1);
            let change = d1_0.combine(1.0, &d1_1, -1.0);
            let d1 = d1_0.combine(1.0, &change, r0 / (r0 + r1));
            let mean = mean.combine(1.0, &d1, -scale * phi_2);
            mean.combine(1.0, &change, -scale * phi_3 / (r0 + r1))
        }
        (_, SecondOrder::Midpoint) => mean.combine(1.0, &d1_0, -0.5 * scale * z.exp_m1()),
        (_, SecondOrder::Heun) => mean.combine(1.0, &d1_0, -scale * phi_2),
    }
}
