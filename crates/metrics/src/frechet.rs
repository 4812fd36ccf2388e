//! The Frechet distance between Gaussians fitted to two sets of features.

use std::borrow::Cow;

use faer::{Mat, MatRef};

use crate::features::check_dimension;
use crate::linear::{covariance_factor, product, sum_of_singular_values};
use crate::{Features, MetricError};

/// Mean and unbiased covariance of features: all that the Frechet distance needs of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianStatistics {
    mean: Vec<f64>,
    covariance: Covariance,
}

/// A covariance S.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Covariance {
    /// S itself, `[D, D]`.
    Full(Mat<f64>),
    /// F with S = F F^T, `[D, N]`: of fewer samples than features, where it is smaller than S and exact.
    Factor(Mat<f64>),
}

impl GaussianStatistics {
    /// Checks that the variance is a number.
    pub(crate) fn of(mean: Vec<f64>, covariance: Covariance) -> Result<Self, MetricError> {
        let statistics = Self { mean, covariance };
        if !statistics.trace().is_finite() {
            return Err(MetricError::Overflow { what: "variance" });
        }
        Ok(statistics)
    }

    /// Statistics that were computed before: D means and a D x D covariance, row by row, whose lower triangle is used.
    ///
    /// # Errors
    /// If the covariance has another size, a value is not finite, or a variance is negative.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, MetricError> {
        let d = mean.len();
        let mean = Features::new(1, d, mean)?;
        let covariance = Features::new(d, d, covariance)?;
        if let Some(column) = (0..d).find(|&i| covariance.row(i)[i] < 0.0) {
            let variance = covariance.row(column)[column];
            return Err(MetricError::NegativeVariance { column, variance });
        }
        let covariance = MatRef::from_row_major_slice(covariance.data(), d, d).to_owned();
        Self::of(mean.data().to_vec(), Covariance::Full(covariance))
    }

    /// The mean, D values.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance of features `i` and `j`.
    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        match &self.covariance {
            Covariance::Full(covariance) => covariance[(i.max(j), i.min(j))],
            Covariance::Factor(factor) => {
                factor.row(i).iter().zip(factor.row(j).iter()).map(|(x, y)| x * y).sum()
            }
        }
    }

    /// The covariance, D x D values.
    pub fn covariance_matrix(&self) -> Vec<f64> {
        let d = self.mean.len();
        let matrix = match &self.covariance {
            Covariance::Full(covariance) => Cow::Borrowed(covariance),
            Covariance::Factor(factor) => Cow::Owned(product(factor.as_ref(), factor.transpose())),
        };
        let at = |i: usize, j: usize| matrix[(i.max(j), i.min(j))];
        (0..d).flat_map(|i| (0..d).map(move |j| (i, j))).map(|(i, j)| at(i, j)).collect()
    }

    /// The squared Frechet distance to `other`: |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).
    ///
    /// Dowson and Landau, 1982; Heusel et al., 2017, equation 6. With factors S = F F^T the eigenvalues of S_a S_b are the
    /// squared singular values of F_b^T F_a, so tr (S_a S_b)^(1/2) is the sum of these. Unlike square roots of computed
    /// eigenvalues, they lose no digits where a covariance is singular. Without variance in either set, the
    /// distance is that of the means.
    ///
    /// # Errors
    /// If the dimensions differ, a covariance is not positive semi-definite, or a decomposition does not converge.
    pub fn frechet(&self, other: &Self) -> Result<f64, MetricError> {
        check_dimension(self.mean.len(), other.mean.len())?;
        let means = crate::features::squared_distance(&self.mean, &other.mean);
        let (a, b) = rayon::join(|| self.factor(), || other.factor());
        let (a, b) = (a?, b?);
        let cross = sum_of_singular_values(product(b.transpose(), a.as_ref().as_ref()))?;
        // The factors' own traces: what was cut off at the rank is then missing from all three terms, and cancels.
        let distance = means + a.squared_norm_l2() + b.squared_norm_l2() - 2.0 * cross;
        if !distance.is_finite() {
            return Err(MetricError::Overflow { what: "distance" });
        }
        // Rounding may leave a little less than nothing between equal Gaussians.
        Ok(distance.max(0.0))
    }

    /// tr S: the variances' sum.
    pub fn trace(&self) -> f64 {
        match &self.covariance {
            Covariance::Full(covariance) => covariance.diagonal().column_vector().iter().sum(),
            Covariance::Factor(factor) => factor.squared_norm_l2(),
        }
    }

    /// F with S = F F^T.
    fn factor(&self) -> Result<Cow<'_, Mat<f64>>, MetricError> {
        match &self.covariance {
            Covariance::Factor(factor) => Ok(Cow::Borrowed(factor)),
            Covariance::Full(covariance) => covariance_factor(covariance.as_ref())
                .map(Cow::Owned)
                .ok_or(MetricError::Indefinite { size: self.mean.len() }),
        }
    }

    /// S X for a few columns X.
    pub(crate) fn times(&self, columns: &Mat<f64>) -> Mat<f64> {
        match &self.covariance {
            Covariance::Full(covariance) => product(covariance.as_ref(), columns.as_ref()),
            Covariance::Factor(factor) => {
                let inner = product(factor.transpose(), columns.as_ref());
                product(factor.as_ref(), inner.as_ref())
            }
        }
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
