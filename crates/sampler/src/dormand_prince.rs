//! An adaptive Runge-Kutta method.

use crate::{SamplerError, State};

/// What an ODE moves: a state, and one number a sample that is integrated along with it.
#[derive(Clone)]
pub(crate) struct Moving<S> {
    /// The state.
    pub state: S,
    /// The numbers; none where nothing is integrated along.
    pub integrals: Vec<f64>,
}

impl<S: State> Moving<S> {
    /// `self + h sum_i weights_i slopes_i`.
    fn plus(&self, h: f64, weights: &[f64], slopes: &[Self]) -> Self {
        let mut sum = self.clone();
        for (&weight, slope) in weights.iter().zip(slopes).filter(|(weight, _)| **weight != 0.0) {
            sum.state = sum.state.combine(1.0, &slope.state, h * weight);
            let integrals = sum.integrals.iter_mut().zip(&slope.integrals);
            integrals.for_each(|(sum, slope)| *sum += h * weight * slope);
        }
        sum
    }
}

/// Dormand and Prince's method of order 5 with an error estimate of order 4 (A Family of Embedded
/// Runge-Kutta Formulae, 1980, Table 2), with the step size that keeps the error of every step
/// within `tolerance (1 + |x|)`.
///
/// The error of a sample is the root mean square of its elements', and the worst sample decides: all
/// samples of a batch take the same steps.
pub(crate) struct DormandPrince {
    /// The relative and the absolute tolerance.
    pub tolerance: f64,
    /// The size of the last step, which the next integration starts with.
    step: Option<f64>,
}

/// `c`.
const TIMES: [f64; 6] = [1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0];
/// `a`; the last row is the result, `b`.
const STAGES: [&[f64]; 6] = [
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// `b` less the weights of order 4.
const ERROR: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339_200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];
/// How far a step size may change at once, and how far below the best guess it stays (Hairer, Norsett
/// and Wanner, Solving Ordinary Differential Equations I, section II.4).
const SHRINK: f64 = 0.2;
const GROW: f64 = 10.0;
const SAFETY: f64 = 0.9;
/// A step that is this small a part of its interval changes nothing any more.
const SMALLEST: f64 = 1e-10;

impl DormandPrince {
    pub fn new(tolerance: f64) -> Self {
        Self { tolerance, step: None }
    }

    /// Integrates `d moving / dt = slope` from `from`, where the slope is `first`, to `to`.
    ///
    /// # Errors
    /// The slope's, or a slope that no step size can follow.
    pub fn integrate<S: State>(
        &mut self,
        mut moving: Moving<S>,
        first: Moving<S>,
        (from, to): (f64, f64),
        mut slope: impl FnMut(&Moving<S>, f64) -> Result<Moving<S>, SamplerError>,
    ) -> Result<Moving<S>, SamplerError> {
        let (mut t, mut start) = (from, first);
        let mut size = self.step.unwrap_or_else(|| self.first_step(&moving, &start, to - from));
        while t != to {
            let is_last = size >= (to - t).abs();
            let h = if is_last { to - t } else { size.copysign(to - t) };
            let mut slopes = vec![start.clone()];
            let mut end = moving.clone();
            for (c, weights) in TIMES.iter().zip(STAGES) {
                end = moving.plus(h, weights, &slopes);
                let at = if is_last && *c == 1.0 { to } else { t + c * h };
                slopes.push(slope(&end, at)?);
            }
            let error = self.error(&moving, &end, h, &slopes);
            let factor = match error.is_finite() {
                true => (SAFETY * error.powf(-0.2)).clamp(SHRINK, GROW),
                false => SHRINK,
            };
            if error <= 1.0 {
                t = if is_last { to } else { t + h };
                moving = end;
                start = slopes.swap_remove(6);
                // A step that was cut at the end says nothing against larger ones.
                size = (h.abs() * factor).max(if is_last { size } else { 0.0 });
            } else {
                size = h.abs() * factor.min(1.0);
                if size < SMALLEST * (to - from).abs() {
                    return Err(self.stuck(error));
                }
            }
        }
        self.step = Some(size);
        Ok(moving)
    }

    /// A step over which the state changes by a hundredth (Hairer, Norsett and Wanner, section II.4,
    /// without its second evaluation: a step that is too large is rejected).
    fn first_step<S: State>(&self, moving: &Moving<S>, slope: &Moving<S>, span: f64) -> f64 {
        let total = |x: &S| x.norms().iter().map(|n| n * n).sum::<f64>().sqrt();
        let (size, speed) = (total(&moving.state), total(&slope.state));
        let step = 0.01 * size / speed;
        let usual = 1e-3 * span.abs();
        if step.is_finite() { step.clamp(usual * 1e-3, span.abs()) } else { usual }
    }

    /// The error of a step over what is tolerated, in the worst sample.
    fn error<S: State>(
        &self,
        from: &Moving<S>,
        to: &Moving<S>,
        h: f64,
        slopes: &[Moving<S>],
    ) -> f64 {
        let zero = Moving {
            state: from.state.combine(0.0, &from.state, 0.0),
            integrals: vec![0.0; from.integrals.len()],
        };
        let error = zero.plus(h, &ERROR, slopes);
        let scaled =
            |error: f64, a: f64, b: f64| error / (self.tolerance * (1.0 + a.abs().max(b.abs())));
        let mut worst: f64 = 0.0;
        // Not f64::max, which would forget what is not a number.
        let mut meet = |error: f64| {
            worst = if worst.is_nan() || error <= worst { worst } else { error };
        };
        let states = error.state.samples().into_iter().zip(from.state.samples());
        for ((error, from), to) in states.zip(to.state.samples()) {
            let elements = error.iter().zip(&from).zip(&to);
            let squares: f64 = elements.map(|((&e, &a), &b)| scaled(e, a, b).powi(2)).sum();
            meet((squares / error.len().max(1) as f64).sqrt());
        }
        let integrals = error.integrals.iter().zip(&from.integrals).zip(&to.integrals);
        integrals.for_each(|((&e, &a), &b)| meet(scaled(e, a, b).abs()));
        worst
    }

    fn stuck(&self, error: f64) -> SamplerError {
        SamplerError::Unsuitable(match error.is_finite() {
            true => format!(
                "tolerance: expected one that the network's precision allows, found {:e}; 1e-5 is \
                 usual",
                self.tolerance
            ),
            false => "the probability-flow ODE: expected finite numbers from the network, found \
                      others at every step size"
                .into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x' = -x` with the integral of `x`, from 0 to 3: the end, and how many slopes it took.
    fn decay(tolerance: f64) -> (f64, f64, usize) {
        let mut calls = 0;
        let mut slope = |m: &Moving<Vec<f64>>, _: f64| {
            calls += 1;
            Ok(Moving { state: vec![-m.state[0]], integrals: vec![m.state[0]] })
        };
        let start = Moving { state: vec![2.0], integrals: vec![0.0] };
        let first = slope(&start, 0.0).unwrap();
        let end = DormandPrince::new(tolerance).integrate(start, first, (0.0, 3.0), slope).unwrap();
        (end.state[0], end.integrals[0], calls)
    }

    #[test]
    fn the_error_follows_the_tolerance_and_the_cost_its_fifth_root() {
        let exact = 2.0 * (-3f64).exp();
        for tolerance in [1e-4, 1e-6, 1e-8, 1e-10] {
            let (x, integral, calls) = decay(tolerance);
            assert!((x - exact).abs() < 3.0 * tolerance, "{tolerance}: {x}");
            assert!((integral - (2.0 - exact)).abs() < 3.0 * tolerance, "{tolerance}: {integral}");
            assert!(calls < 1500, "{tolerance}: {calls}");
        }
        let ratio = decay(1e-10).2 as f64 / decay(1e-5).2 as f64;
        // 1e5 to the fifth is 10; both have some steps at the start.
        assert!((4.0..14.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_no_step_can_follow_is_refused() {
        let start = || Moving { state: vec![1.0], integrals: Vec::new() };
        let run = |value: fn(f64) -> f64| {
            let slope = |_: &Moving<Vec<f64>>, t: f64| {
                Ok(Moving { state: vec![value(t)], integrals: Vec::new() })
            };
            let first = slope(&start(), 0.0).unwrap();
            let end = DormandPrince::new(1e-6).integrate(start(), first, (0.0, 1.0), slope);
            end.map(|m| m.state[0]).unwrap_err().to_string()
        };
        assert!(run(|_| f64::NAN).contains("finite numbers"));
        assert!(run(|t| (t * 1e20).sin() * 1e9).contains("tolerance: expected"));
    }
}
