//! The Frechet distance between Gaussians fitted to two sets of features.

use faer::{Mat, MatRef, Side};

use crate::features::check_dimension;
use crate::{Features, MetricError};

/// Mean and unbiased covariance of features: all that the Frechet distance needs of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianStatistics {
    mean: Vec<f64>,
    covariance: Mat<f64>,
}

impl GaussianStatistics {
    /// mu = sum_i x_i / N and S = sum_i (x_i - mu)(x_i - mu)^T / (N - 1), as `numpy.cov` computes it.
    ///
    /// # Errors
    /// If there are fewer than two samples.
    pub fn from_features(features: &Features) -> Result<Self, MetricError> {
        features.check_rows(2, "a covariance")?;
        let (n, d) = (features.rows(), features.columns());
        let mut mean = vec![0.0; d];
        for i in 0..n {
            for (sum, x) in mean.iter_mut().zip(features.row(i)) {
                *sum += x;
            }
        }
        for sum in &mut mean {
            *sum /= n as f64;
        }
        let centred = Mat::from_fn(n, d, |i, j| features.row(i)[j] - mean[j]);
        let covariance = centred.transpose() * &centred * faer::Scale(1.0 / (n as f64 - 1.0));
        Ok(Self { mean, covariance })
    }

    /// Statistics that were computed before: D means and a D x D covariance, row by row, whose lower triangle is used.
    ///
    /// # Errors
    /// If the covariance has another size or a value is not finite.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, MetricError> {
        let d = mean.len();
        let mean = Features::new(1, d, mean)?;
        let covariance = Features::new(d, d, covariance)?;
        Ok(Self {
            mean: mean.data().to_vec(),
            covariance: MatRef::from_row_major_slice(covariance.data(), d, d).to_owned(),
        })
    }

    /// The mean, D values.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance of features `i` and `j`.
    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        self.covariance[(i, j)]
    }

    /// The squared Frechet distance to `other`: |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).
    ///
    /// Dowson and Landau, 1982; Heusel et al., 2017, equation 6. With factors S = F F^T from the eigenvectors, the eigenvalues of
    /// the symmetric product S_a^(1/2) S_b S_a^(1/2) are the squared singular values of F_b^T F_a, so tr (S_a S_b)^(1/2) is
    /// the sum of these. Unlike square roots of computed eigenvalues, they lose no digits where a covariance is singular.
    ///
    /// # Errors
    /// If the dimensions differ or a decomposition does not converge.
    pub fn frechet(&self, other: &Self) -> Result<f64, MetricError> {
        check_dimension(self.mean.len(), other.mean.len())?;
        let means = crate::features::squared_distance(&self.mean, &other.mean);
        let product = other.factor()?.transpose() * self.factor()?;
        let singular = product
            .singular_values()
            .map_err(|_| no_convergence("singular values", self.mean.len()))?;
        let cross: f64 = singular.iter().sum();
        let traces = self.trace() + other.trace();
        // Rounding may leave a little less than nothing between equal Gaussians.
        Ok((means + traces - 2.0 * cross).max(0.0))
    }

    fn trace(&self) -> f64 {
        self.covariance.diagonal().column_vector().iter().sum()
    }

    /// F with S = F F^T, without the columns whose eigenvalue is zero but for rounding.
    fn factor(&self) -> Result<Mat<f64>, MetricError> {
        let d = self.mean.len();
        let eigen = self
            .covariance
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| no_convergence("eigenvalues", d))?;
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let noise = largest * d as f64 * f64::EPSILON;
        let kept: Vec<usize> = (0..d).filter(|&j| values[j] > noise).collect();
        let vectors = eigen.U();
        Ok(Mat::from_fn(d, kept.len(), |i, j| vectors[(i, kept[j])] * values[kept[j]].sqrt()))
    }
}

/// The squared Frechet distance between Gaussians fitted to two sets: FID where the features are Inception's.
///
/// See [`GaussianStatistics::frechet`]. It is biased upwards for few samples, so compare only sets of one size.
///
/// # Errors
/// If the sets differ in columns, a set has fewer than two samples, or a decomposition does not converge.
pub fn frechet_distance(a: &Features, b: &Features) -> Result<f64, MetricError> {
    a.check_columns(b)?;
    GaussianStatistics::from_features(a)?.frechet(&GaussianStatistics::from_features(b)?)
}

fn no_convergence(what: &'static str, size: usize) -> MetricError {
    MetricError::NoConvergence { what, size }
}
