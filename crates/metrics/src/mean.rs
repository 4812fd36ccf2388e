//! A mean, and how sure it is.

/// A mean over samples and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// `m = sum_i x_i / N`.
    pub mean: f64,
    /// `sqrt(sum_i (x_i - m)^2 / (N - 1) / N)`; NaN of a single sample, which says nothing about how much
    /// samples differ.
    pub error: f64,
}

impl Mean {
    /// Of independent samples.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Self { mean, error: (square / (n - 1.0) / n).sqrt() }
    }
}

/// The mean and the standard deviation over all of `values`, not of a sample: `sqrt(sum_i (x_i - m)^2 / N)`, `numpy.std`.
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, (square / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_mean() {
        // Squares about the mean: 9 + 1 + 1 + 9 = 20; 20 / 3 / 4 = 5 / 3.
        let Mean { mean, error } = Mean::of(&[1.0, 3.0, 5.0, 7.0]);
        assert!(mean == 4.0 && (error - (5.0_f64 / 3.0).sqrt()).abs() < 1e-15, "{mean} {error}");
        assert!(Mean::of(&[2.0]).error.is_nan());
    }
}
