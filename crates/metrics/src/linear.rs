//! Linear algebra whose results do not depend on the number of threads: each block is one thread's.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt_pivoting::factor as cholesky;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::MetricError;

/// Columns of a product that one thread computes.
const STRIP: usize = 128;

/// `left right`, strips of columns in parallel.
pub(crate) fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    let mut strips: Vec<(MatMut<'_, f64>, MatRef<'_, f64>)> = Vec::new();
    let (mut rest, mut columns) = (out.as_mut(), right);
    while rest.ncols() > 0 {
        let width = STRIP.min(rest.ncols());
        let (strip, after) = rest.split_at_col_mut(width);
        strips.push((strip, columns.subcols(0, width)));
        (rest, columns) = (after, columns.subcols(width, columns.ncols() - width));
    }
    strips.into_par_iter().for_each(|(strip, columns)| {
        matmul(strip, Accum::Replace, left, columns, 1.0, Par::Seq);
    });
    out
}

/// Eigenvalues of a symmetric matrix, ascending, and eigenvectors as columns; the lower triangle is read.
pub(crate) fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), MetricError> {
    let n = matrix.nrows();
    let (mut values, mut vectors) = (Diag::zeros(n), Mat::zeros(n, n));
    let scratch =
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    // The solver drops what is small beside 1, not beside the largest entry.
    let largest = matrix.norm_max();
    let scale = if largest > 0.0 { largest } else { 1.0 };
    self_adjoint_evd(
        (matrix * faer::Scale(1.0 / scale)).as_ref(),
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| MetricError::NoConvergence { what: "eigenvalues", size: n })?;
    Ok((values.column_vector().iter().map(|value| scale * value).collect(), vectors))
}

/// F, `[n, rank]`, with S = F F^T for a covariance S, of which the lower triangle is read.
///
/// Cholesky's factor with pivots of the correlations: where all that is left of these is rounding, the rank is reached. Scaling to
/// correlations first makes that judgement in each feature's own unit (Higham, 2002, section 10.3). None where there is no factor
/// because S is not positive semi-definite.
pub(crate) fn covariance_factor(covariance: MatRef<'_, f64>) -> Option<Mat<f64>> {
    let n = covariance.nrows();
    let deviations: Vec<f64> = (0..n).map(|i| covariance[(i, i)].sqrt()).collect();
    // A matrix of zeros has no first pivot.
    if deviations.iter().all(|&s| s == 0.0) {
        return Some(Mat::zeros(n, 0));
    }
    let inverse: Vec<f64> =
        deviations.iter().map(|&s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
    let mut factor = Mat::zeros(n, n);
    for j in 0..n {
        for i in j..n {
            factor[(i, j)] = covariance[(i, j)] * inverse[i] * inverse[j];
        }
    }
    let (mut order, mut inverse_order) = (vec![0_usize; n], vec![0_usize; n]);
    let scratch =
        cholesky::cholesky_in_place_scratch::<usize, f64>(n, Par::Seq, Default::default());
    let (info, _) = cholesky::cholesky_in_place(
        factor.as_mut(),
        &mut order,
        &mut inverse_order,
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    let row = |i: usize| inverse_order[i];
    let lower = |i: usize, j: usize| if j <= row(i) { factor[(row(i), j)] } else { 0.0 };
    let factor = Mat::from_fn(n, info.rank, |i, j| deviations[i] * lower(i, j));
    let trace: f64 = deviations.iter().map(|s| s * s).sum();
    ((factor.squared_norm_l2() - trace).abs() <= INDEFINITE * trace).then_some(factor)
}

/// The share of the variance by which a factor may be off: of covariances rounded to single precision it is some 1e-7, what is no
/// covariance at all far more.
const INDEFINITE: f64 = 1e-3;

/// Eigenvalues below this share of the largest are computed anew: those above have lost some 7 of 16 digits at most, and their
/// square roots fewer than half of these.
const SPLIT: f64 = 1e-7;

/// The sum of the singular values of `matrix`.
///
/// These are the roots of the eigenvalues of M^T M, but small ones drown in the rounding of the largest. So where eigenvalues are below
/// [`SPLIT`] of the largest, M is restricted to their eigenvectors V, and the singular values of M V, which is small itself, are
/// taken in the same way: each turn sees some three orders of magnitude. Products do most of the work, unlike in the usual
/// reduction to a bidiagonal matrix.
pub(crate) fn sum_of_singular_values(matrix: Mat<f64>) -> Result<f64, MetricError> {
    let mut rest = matrix;
    if rest.ncols() > rest.nrows() {
        rest = rest.transpose().to_owned();
    }
    let (mut sum, mut scale) = (0.0, 1.0);
    // The largest singular value of all; below its last digit everything is rounding of M itself.
    let mut first = 0.0;
    while rest.ncols() > 0 {
        // Scaled anew at every turn: squares neither overflow nor vanish.
        let largest = rest.norm_max();
        if largest == 0.0 {
            break;
        }
        scale *= largest;
        rest *= faer::Scale(1.0 / largest);
        let (values, vectors) = eigen(product(rest.transpose(), rest.as_ref()).as_ref())?;
        let top = values.last().copied().unwrap_or(0.0).max(0.0);
        first = f64::max(first, scale * top.sqrt());
        let last_turn = scale * top.sqrt() <= first * f64::EPSILON;
        let split = if last_turn { f64::NEG_INFINITY } else { top * SPLIT };
        let small = values.partition_point(|&value| value < split);
        sum += scale * values[small..].iter().rev().map(|value| value.max(0.0).sqrt()).sum::<f64>();
        rest = product(rest.as_ref(), vectors.subcols(0, small));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Singular values over 20 orders of magnitude between two orthogonal matrices.
    #[test]
    fn small_singular_values_are_not_lost() {
        let n = 60;
        let reflect = |seed: f64| {
            let v: Vec<f64> = (0..n).map(|i| (seed * (i as f64 + 1.0)).sin()).collect();
            let square: f64 = v.iter().map(|x| x * x).sum();
            Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square)
        };
        let (u, v) = (reflect(1.0), reflect(2.0));
        for (decades, tail) in [(3.0, 0.0), (9.0, 0.0), (20.0, 0.0), (9.0, 1.0)] {
            let value = |i: usize| 10f64.powf(-decades * i as f64 / (n - 1) as f64);
            let keep = |i: usize| if tail > 0.0 && i >= n / 2 { 0.0 } else { value(i) };
            let middle = Mat::from_fn(n, n, |i, j| if i == j { keep(i) } else { 0.0 });
            let expected: f64 = (0..n).map(keep).sum();
            let found = sum_of_singular_values(&u * &middle * &v).unwrap();
            assert!((found - expected).abs() < 1e-13 * expected, "{decades}: {found} {expected}");
        }
        assert_eq!(sum_of_singular_values(Mat::zeros(3, 2)), Ok(0.0));
        assert_eq!(sum_of_singular_values(Mat::zeros(0, 2)), Ok(0.0));
        let huge = Mat::from_fn(2, 3, |i, j| if i == j { 1e200 } else { 0.0 });
        assert!((sum_of_singular_values(huge).unwrap() / 2e200 - 1.0).abs() < 1e-15);
    }

    /// tr F F^T is the sum of the singular values of F^T F, whose small ones are 15 orders of magnitude below the largest.
    #[test]
    fn a_graded_covariance_is_at_no_distance_from_itself() {
        let n = 300;
        let mut philox = sumi_random::Philox::new(5, 0);
        let mix =
            Mat::from_fn(n, n, |i, _| (philox.uniform_f64() - 0.5) * (-(i as f64) / 12.0).exp());
        let covariance = product(mix.transpose(), mix.as_ref());
        let factor = covariance_factor(covariance.as_ref()).unwrap();
        let sum = sum_of_singular_values(product(factor.transpose(), factor.as_ref())).unwrap();
        let trace = factor.squared_norm_l2();
        assert!((sum - trace).abs() < 1e-13 * trace, "{} of {trace}", sum - trace);
    }

    #[test]
    fn factors_give_the_covariance_back() {
        // Of rank 2, with features of very different scale and one without variance.
        let scale = [1e6, 1.0, 1e-6, 0.0, 1.0];
        let columns = [[1.0, 1.0, -2.0, 3.0, 0.0], [0.5, -1.0, 1.0, 1.0, 2.0]];
        let covariance = Mat::from_fn(5, 5, |i, j| {
            columns.iter().map(|c| scale[i] * c[i] * scale[j] * c[j]).sum::<f64>()
        });
        let factor = covariance_factor(covariance.as_ref()).unwrap();
        assert_eq!(factor.ncols(), 2);
        let again = product(factor.as_ref(), factor.transpose());
        for i in 0..5 {
            for j in 0..5 {
                let unit = scale[i] * scale[j] + f64::MIN_POSITIVE;
                assert!(((again[(i, j)] - covariance[(i, j)]) / unit).abs() < 1e-14, "{i} {j}");
            }
        }
        let indefinite = Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 2.0 });
        assert!(covariance_factor(indefinite.as_ref()).is_none());
        let none = covariance_factor(Mat::zeros(3, 3).as_ref()).unwrap();
        assert_eq!(none.ncols(), 0);
    }
}
