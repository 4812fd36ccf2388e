//! The unified predictor-corrector.

use crate::denoiser::slope;
use crate::{History, Interval, Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// The function `B(h)` of UniPC (Zhao et al., UniPC, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BFunction {
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = e^h - 1`.
    Bh2,
}

/// The settings of [`unipc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniPc {
    /// How many of the network's words a prediction goes by: 1, 2 or 3.
    pub order: u32,
    /// The function `B(h)`.
    pub solver: BFunction,
    /// Whether the last steps have the orders .., 2, 1; a step to no noise always takes the
    /// estimate.
    pub lower_order_final: bool,
    /// Whether it goes by the data, not by the noise.
    pub predict_x0: bool,
}

impl UniPc {
    /// The usual settings: `bh2` by the data.
    pub const fn new(order: u32) -> Self {
        Self { order, solver: BFunction::Bh2, lower_order_final: true, predict_x0: true }
    }
}

/// UniPC (Zhao et al., UniPC: A Unified Predictor-Corrector Framework, Algorithms 5 to 8, Eq. 3 and 9):
/// each step predicts the next state from the last few words of the network, and what the network
/// says there corrects the state before it goes on, at no further call. A step to no noise takes the
/// network's word.
///
/// # Errors
/// The denoiser's, an order that there is not, the noise prediction on a grid that starts without
/// signal, or the observer's wish to stop.
pub fn unipc<S: State>(x: S, run: &mut Run<'_, S>, settings: UniPc) -> Result<S, SamplerError> {
    run.expect_order("unipc", settings.order)?;
    let mut history = History::new(3);
    let mut before: Option<(S, Interval, usize)> = None;
    let x = run.walk(x, |run, step| {
        let x0 = &step.denoised.x0;
        if step.interval.to.is_clean() {
            return Ok(x0.clone());
        }
        if !settings.predict_x0 {
            step.interval.has_signal("unipc without predict_x0")?;
        }
        let word = settings.word(step.x, step.interval.from, x0);
        let x = match &before {
            Some((x, interval, order)) => {
                settings.advance(x, *interval, &history, *order, Some(&word))
            }
            None => None,
        };
        let x = x.unwrap_or_else(|| step.x.clone());
        history.push(step.interval.from, word);
        let order = settings.order_at(run.grid.left(step.index), &history);
        let next = settings.advance(&x, step.interval, &history, order, None);
        before = Some((x, step.interval, order));
        Ok(next.unwrap_or_else(|| step.x.clone()))
    })?;
    // diffusers' last step on a Karras grid that ends with noise has no length, but it does correct.
    match before {
        Some((start, interval, order)) if run.grid.left_out > 0 => {
            let said = run.denoise(&x, interval.to)?.x0;
            let word = settings.word(&x, interval.to, &said);
            Ok(settings.advance(&start, interval, &history, order, Some(&word)).unwrap_or(x))
        }
        _ => Ok(x),
    }
}

impl UniPc {
    /// What it goes by of what the network says about `x`.
    fn word<S: State>(self, x: &S, level: NoiseLevel, x0: &S) -> S {
        match self.predict_x0 {
            true => x0.clone(),
            false => slope(x, level, x0),
        }
    }

    /// The order of a step with `left` steps to go: a level without signal is infinitely far and tells
    /// nothing of the slope.
    fn order_at<S>(self, left: usize, history: &History<S>) -> usize {
        let near = |i: &usize| history.get(*i).is_some_and(|(level, _)| level.alpha > 0.0);
        let known = (0..history.len()).filter(near).count().max(1);
        let most = if self.lower_order_final { left } else { known };
        most.min(known).min(self.order as usize)
    }

    /// The state at the end of the interval that starts at `x`: predicted, or corrected by the network's
    /// `word` about the end. `None` where there is no such correction.
    fn advance<S: State>(
        self,
        x: &S,
        interval: Interval,
        history: &History<S>,
        order: usize,
        word: Option<&S>,
    ) -> Option<S> {
        let Interval { from, to } = interval;
        let (_, m0) = history.get(0)?;
        let h = interval.log_step();
        let (start, z, scale) = match self.predict_x0 {
            true => (interval.holding(x, m0), -h, to.alpha),
            false => (interval.along(x, m0), h, to.sigma),
        };
        let mut places = Vec::new();
        let mut differences = Vec::new();
        for (level, m) in (1..order).filter_map(|i| history.get(i)) {
            let r = (level.half_log_snr() - from.half_log_snr()) / h;
            places.push(r);
            differences.push(m.combine(1.0 / r, m0, -1.0 / r));
        }
        if let Some(word) = word {
            places.push(1.0);
            differences.push(word.combine(1.0, m0, -1.0));
        }
        if differences.is_empty() {
            return Some(start);
        }
        let b_of_h = match self.solver {
            BFunction::Bh1 => z,
            BFunction::Bh2 => z.exp_m1(),
        };
        if !b_of_h.is_finite() {
            return None;
        }
        let weights = weights(&places, z, b_of_h);
        let terms = weights.into_iter().zip(&differences);
        Some(terms.fold(start, |x, (weight, d)| x.combine(1.0, d, -scale * b_of_h * weight)))
    }
}

/// The weights `a` of the differences at `places`: `R a = phi / B(h)` with `R_ij = r_j^i`
/// (UniPC, Eq. 10 and Theorem 3.1). One alone has 1/2, as the paper has it for every `B`.
fn weights(places: &[f64], z: f64, b_of_h: f64) -> Vec<f64> {
    if places.len() == 1 {
        return vec![0.5];
    }
    let mut phi = z.exp_m1() / z - 1.0;
    let mut factorial = 1.0;
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for i in 0..places.len() {
        let mut row: Vec<f64> = places.iter().map(|r| r.powi(i as i32)).collect();
        row.push(phi * factorial / b_of_h);
        rows.push(row);
        factorial *= (i + 2) as f64;
        phi = phi / z - 1.0 / factorial;
    }
    solve(rows)
}

/// The solution of the linear equations whose rows end with their right-hand sides, by elimination. The
/// places are distinct, so that no pivot of these Vandermonde rows is 0.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
        let pivot = rows[k].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(&pivot).for_each(|(a, p)| *a -= factor * p);
        }
    }
    rows.iter().enumerate().map(|(k, row)| row[n] / row[k]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_solves() {
        let rows =
            vec![vec![1.0, 1.0, 1.0, 2.0], vec![-2.0, -1.0, 1.0, 3.0], vec![4.0, 1.0, 1.0, -1.0]];
        let a = solve(rows.clone());
        for row in rows {
            let found: f64 = row.iter().zip(&a).map(|(r, a)| r * a).sum();
            assert!((found - row[3]).abs() < 1e-12, "{a:?}");
        }
    }
}
