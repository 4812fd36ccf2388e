//! The diffusion exponential integrator sampler.

use crate::denoiser::slope;
use crate::{History, Run, SamplerError, State};

/// DEIS in log-rho (Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator,
/// Eq. 15 and section 4.2): `x_t / alpha_t = x_s / alpha_s + integral of eps d rho` with
/// `rho = sigma / alpha`, where `eps` is the polynomial in `log rho` through its last values.
///
/// With `lower_order_final` a walk of fewer than 15 steps ends with orders 2 and 1; a step to no noise
/// always has order 1.
///
/// # Errors
/// The denoiser's, an order that there is not, or the observer's wish to stop.
pub fn deis<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    order: u32,
    lower_order_final: bool,
) -> Result<S, SamplerError> {
    run.expect_order("deis", order)?;
    let mut history = History::new(3);
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        let mut x = step.interval.holding(step.x, &step.denoised.x0);
        history.push(from, slope(step.x, from, &step.denoised.x0));
        let most = match run.grid.left(step.index) {
            _ if to.is_clean() => 1,
            left if lower_order_final && run.grid.is_short() => left,
            _ => 3,
        };
        let places: Vec<f64> = (0..history.len().min(most).min(order as usize))
            .filter_map(|i| history.get(i))
            .map(|(level, _)| (level.ratio() / from.ratio()).ln())
            // A level without signal is infinitely far and tells nothing.
            .take_while(|l| l.is_finite())
            .collect();
        let weights = weights(&places, from.ratio(), to.ratio());
        for (i, weight) in weights.into_iter().enumerate() {
            if let (Some((_, m0)), Some((_, m))) = (history.get(0), history.get(i + 1)) {
                x = x.combine(1.0, &m.combine(1.0, m0, -1.0), to.alpha * weight);
            }
        }
        Ok(x)
    })
}

/// The integrals from `rho_s` to `rho_t` of the Lagrange polynomials in `l = log(rho / rho_s)` of all
/// places but the first, which is 0. That of the first is what is left of `rho_t - rho_s`.
fn weights(places: &[f64], rho_s: f64, rho_t: f64) -> Vec<f64> {
    let l = (rho_t / rho_s).ln();
    // The integrals of l and of l^2.
    let first = rho_t * (l - 1.0) + rho_s;
    let second = rho_t * (l * l - 2.0 * l + 2.0) - 2.0 * rho_s;
    match *places {
        [_, l1] => vec![first / l1],
        [_, l1, l2] => {
            let weight = |a: f64, b: f64| (second - b * first) / (a * (a - b));
            vec![weight(l1, l2), weight(l2, l1)]
        }
        _ => Vec::new(),
    }
}
