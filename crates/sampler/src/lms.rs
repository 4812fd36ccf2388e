//! Linear multistep.

use crate::denoiser::slope;
use crate::{History, Run, SamplerError, State};

/// Adams and Bashforth's method on the probability flow with steps of any size (Hairer, Norsett and
/// Wanner, Solving Ordinary Differential Equations I, section III.5; k-diffusion's `sample_lms`):
/// `x' / alpha' = x / alpha + sum_j d_j integral of l_j from r to r'` over the last `order` slopes, with
/// the Lagrange polynomials `l_j` through their ratios.
///
/// The first steps have fewer slopes to go by. Their errors are of second order in the step size, and
/// small because slopes hardly change where almost everything is noise.
///
/// # Errors
/// The denoiser's, or the observer's wish to stop.
pub fn lms<S: State>(x: S, run: &mut Run<'_, S>, order: usize) -> Result<S, SamplerError> {
    let mut slopes = History::new(order.max(1));
    run.walk(x, |_, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        // A polynomial cannot pass through infinity: a start without signal is not remembered.
        if from.alpha == 0.0 {
            return Ok(step.interval.holding(step.x, &step.denoised.x0));
        }
        slopes.push(from, slope(step.x, from, &step.denoised.x0));
        let ratios: Vec<f64> =
            (0..).map_while(|i| slopes.get(i)).map(|(level, _)| level.ratio()).collect();
        let still = step.x.combine(to.alpha / from.alpha, step.x, 0.0);
        let terms = lagrange_integrals(&ratios, to.ratio()).into_iter().enumerate();
        Ok(terms.fold(still, |x, (j, weight)| match slopes.get(j) {
            Some((_, slope)) => x.combine(1.0, slope, to.alpha * weight),
            None => x,
        }))
    })
}

/// The integrals of the Lagrange polynomials through `nodes`, latest first, from the latest to `end`.
fn lagrange_integrals(nodes: &[f64], end: f64) -> Vec<f64> {
    let Some(&start) = nodes.first() else { return Vec::new() };
    let width = end - start;
    // In units of the step, where the numbers are small and the integral goes from 0 to 1.
    let at = |node: f64| (node - start) / width;
    let integral = |j: usize| {
        let mut polynomial = vec![1.0];
        for (_, &node) in nodes.iter().enumerate().filter(|(k, _)| *k != j) {
            let scale = 1.0 / (at(nodes[j]) - at(node));
            let shifted = [&[0.0], polynomial.as_slice()].concat();
            polynomial.push(0.0);
            let multiplied =
                shifted.iter().zip(&polynomial).map(|(s, p)| scale * (s - at(node) * p));
            polynomial = multiplied.collect();
        }
        let parts = polynomial.iter().enumerate().map(|(power, c)| c / (power + 1) as f64);
        width * parts.sum::<f64>()
    };
    (0..nodes.len()).map(integral).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_steps_have_the_weights_of_adams_and_bashforth() {
        let weights = lagrange_integrals(&[3.0, 4.0, 5.0, 6.0], 2.0);
        // Solving Ordinary Differential Equations I, Eq. III.1.5, with a step of -1.
        let expected = [55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0];
        for (found, expected) in weights.iter().zip(expected) {
            assert!((found + expected).abs() < 1e-14, "{weights:?}");
        }
    }

    #[test]
    fn cubics_are_integrated_exactly() {
        let nodes = [2.0, 2.5, 4.0, 7.0];
        let cubic = |r: f64| 1.0 - 2.0 * r + 0.5 * r * r - 0.25 * r * r * r;
        let integral = |r: f64| r - r * r + r.powi(3) / 6.0 - r.powi(4) / 16.0;
        let weights = lagrange_integrals(&nodes, 0.5);
        let found: f64 = weights.iter().zip(nodes).map(|(w, r)| w * cubic(r)).sum();
        assert!((found - (integral(0.5) - integral(2.0))).abs() < 1e-13, "{found}");
    }
}
