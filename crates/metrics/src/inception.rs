//! The Inception score.

use sumi_random::NumpyLegacy;

use crate::mean::mean_and_deviation;
use crate::order::countable;
use crate::{Features, MetricError};

/// How samples are split for the Inception score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOptions {
    /// Parts, each with a score of its own.
    pub splits: usize,
    /// The seed of the random order before, by `numpy.random.RandomState`; without one, samples stay in order.
    pub shuffle: Option<u32>,
}

impl Default for SplitOptions {
    /// torch-fidelity's: 10 splits after a shuffle with seed 2020.
    fn default() -> Self {
        Self { splits: 10, shuffle: Some(2020) }
    }
}

/// The Inception score of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct InceptionScore {
    /// The mean over the splits: 1 to the number of classes.
    pub mean: f64,
    /// The standard deviation over the splits, `numpy.std`.
    pub deviation: f64,
    /// The score of each split.
    pub values: Vec<f64>,
}

/// exp(E_x KL(p(y | x) || p(y))) with p(y | x) the softmax of the class scores `logits`, `[N, C]`, and p(y) its mean over a split.
///
/// Salimans et al., 2016, section 4. Split i of S is rows floor(i N / S) to floor((i + 1) N / S), as torch-fidelity splits.
///
/// # Errors
/// If there are no classes, no splits, or fewer samples than splits.
pub fn inception_score(
    logits: &Features,
    options: &SplitOptions,
) -> Result<InceptionScore, MetricError> {
    let (rows, splits) = (logits.rows(), options.splits);
    if splits == 0 || splits > rows {
        return Err(MetricError::Splits { splits, rows });
    }
    if logits.columns() == 0 {
        return Err(MetricError::NoClasses);
    }
    let order: Vec<u32> = match options.shuffle {
        Some(seed) => NumpyLegacy::new(seed).permutation(countable(rows)?),
        None => (0..countable(rows)?).collect(),
    };
    let values: Vec<f64> = (0..splits)
        .map(|i| split_score(logits, &order[i * rows / splits..(i + 1) * rows / splits]))
        .collect();
    let (mean, deviation) = mean_and_deviation(&values);
    Ok(InceptionScore { mean, deviation, values })
}

/// The score of the samples `rows`.
fn split_score(logits: &Features, rows: &[u32]) -> f64 {
    let n = rows.len() as f64;
    let mut marginal = vec![0.0; logits.columns()];
    // sum_x sum_y p(y | x) log p(y | x)
    let mut negative_entropy = 0.0;
    for &row in rows {
        for (sum, log_p) in marginal.iter_mut().zip(log_softmax(logits.row(row as usize))) {
            let p = log_p.exp();
            *sum += p / n;
            negative_entropy += p * log_p;
        }
    }
    // A class that no sample has, p = 0, adds nothing: p log p goes to 0 with p.
    let positive = marginal.iter().filter(|&&q| q > 0.0);
    let marginal_entropy: f64 = positive.map(|q| -q * q.ln()).sum();
    (negative_entropy / n + marginal_entropy).exp()
}

/// log softmax(z)_y = z_y - max z - log sum_y' exp(z_y' - max z).
fn log_softmax(logits: &[f64]) -> impl Iterator<Item = f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
    let shift = sum.ln();
    // Differences of finite scores may be -inf; the least finite number keeps 0 * log 0 at 0.
    logits.iter().map(move |z| (z - largest - shift).max(f64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(rows: usize, columns: usize, logits: Vec<f64>) -> InceptionScore {
        let logits = Features::new(rows, columns, logits).unwrap();
        inception_score(&logits, &SplitOptions { splits: 1, shuffle: None }).unwrap()
    }

    #[test]
    fn the_score_counts_classes() {
        // One sample a class, surely: as many as classes; all of one class: 1; undecided: 1.
        let sure: Vec<f64> = (0..9).map(|i| if i % 4 == 0 { 800.0 } else { 0.0 }).collect();
        assert!((score(3, 3, sure).mean - 3.0).abs() < 1e-12);
        assert_eq!(score(2, 2, vec![1e308, -1e308, 1e308, -1e308]).mean, 1.0);
        assert!((score(2, 2, vec![0.3; 4]).mean - 1.0).abs() < 1e-15);
    }

    #[test]
    fn bad_splits_are_refused() {
        let logits = Features::new(3, 2, vec![0.0; 6]).unwrap();
        let score = |splits| inception_score(&logits, &SplitOptions { splits, shuffle: None });
        assert_eq!(
            score(4).unwrap_err().to_string(),
            "3 samples cannot be split into 4 parts; choose 1 to 3 splits"
        );
        assert!(score(0).is_err() && score(3).is_ok());
        let none = Features::new(3, 0, vec![]).unwrap();
        let options = SplitOptions { splits: 1, shuffle: None };
        assert_eq!(inception_score(&none, &options), Err(MetricError::NoClasses));
    }
}
