//! Two directions in which samples can be drawn.

use faer::Mat;
use sumi_random::Philox;

use crate::features::check_dimension;
use crate::linear::{eigen, product};
use crate::{Features, GaussianStatistics, MetricError};

/// Directions that are iterated for the two that are wanted: more make the iteration converge faster.
const WIDTH: usize = 8;

/// Turns at most. Eigenvalues as near to each other as this leaves apart span a plane in which any two directions are as good.
const TURNS: usize = 300;

/// What S v may be off from its multiple of v, over the largest eigenvalue.
const CONVERGED: f64 = 1e-10;

/// The two leading principal components of a set: the directions in which it is widest.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    mean: Vec<f64>,
    axes: [Vec<f64>; 2],
    /// The share of the variance along each direction, 0 to 1.
    pub share: [f64; 2],
}

impl Components {
    /// The eigenvectors of the covariance with the largest eigenvalues, each of length 1 and with its largest entry positive.
    ///
    /// Subspace iteration with Rayleigh-Ritz from fixed random directions (Golub and Van Loan, 2013, section 8.2.4): for D = 2,048 some
    /// milliseconds a turn. Of a single feature the second direction is zero, and of a set without variance both shares are.
    ///
    /// # Errors
    /// If a decomposition does not converge.
    pub fn new(statistics: &GaussianStatistics) -> Result<Self, MetricError> {
        let d = statistics.mean().len();
        let width = WIDTH.min(d);
        let mut philox = Philox::new(0, 0);
        let mut directions = Mat::from_fn(d, width, |_, _| philox.uniform_f64() - 0.5);
        let mut values = vec![0.0; width];
        for _ in 0..TURNS {
            orthonormalise(&mut directions);
            let image = statistics.times(&directions);
            let (ascending, turn) =
                eigen(product(directions.transpose(), image.as_ref()).as_ref())?;
            values = ascending.into_iter().rev().collect();
            let turn = Mat::from_fn(width, width, |i, j| turn[(i, width - 1 - j)]);
            directions = product(directions.as_ref(), turn.as_ref());
            let image = product(image.as_ref(), turn.as_ref());
            let largest = values.first().copied().unwrap_or(0.0);
            let off =
                |j: usize| (image.col(j) - directions.col(j) * faer::Scale(values[j])).norm_l2();
            if (0..width.min(2)).all(|j| off(j) <= CONVERGED * largest) {
                break;
            }
            directions = image;
        }
        orthonormalise(&mut directions);
        let trace = statistics.trace();
        let axis = |j: usize| match j < width {
            true => upright(directions.col_as_slice(j)),
            false => vec![0.0; d],
        };
        let share = |j: usize| match values.get(j) {
            Some(&value) if trace > 0.0 => (value / trace).clamp(0.0, 1.0),
            _ => 0.0,
        };
        Ok(Self {
            mean: statistics.mean().to_vec(),
            axes: [axis(0), axis(1)],
            share: [share(0), share(1)],
        })
    }

    /// The two directions, D values each.
    pub fn axes(&self) -> [&[f64]; 2] {
        [&self.axes[0], &self.axes[1]]
    }

    /// ((x - mu).v_1, (x - mu).v_2) of every sample x, for the mean mu and the directions v of the set that they are of.
    ///
    /// # Errors
    /// If the samples have another dimension.
    pub fn project(&self, features: &Features) -> Result<Vec<[f64; 2]>, MetricError> {
        check_dimension(self.mean.len(), features.columns())?;
        let along = |row: &[f64], axis: &[f64]| -> f64 {
            row.iter().zip(&self.mean).zip(axis).map(|((x, mean), v)| (x - mean) * v).sum()
        };
        let rows = (0..features.rows()).map(|i| features.row(i));
        Ok(rows.map(|row| [0, 1].map(|j| along(row, &self.axes[j]))).collect())
    }
}

/// Real and generated samples on the plane of the two leading principal components of the real ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Each real sample.
    pub real: Vec<[f64; 2]>,
    /// Each generated sample.
    pub generated: Vec<[f64; 2]>,
    /// The share of the real variance along each direction, 0 to 1.
    pub share: [f64; 2],
}

/// Projects two sets onto the two leading principal components of the real one.
///
/// Of the real set alone, so that its modes are spread out and one that is missing is an empty place: components of both together would
/// turn towards whatever generated samples are farthest off.
///
/// # Errors
/// If the sets differ in columns, there are fewer than two real samples, or a decomposition does not converge.
pub fn projection(real: &Features, generated: &Features) -> Result<Projection, MetricError> {
    real.check_columns(generated)?;
    let components = Components::new(&GaussianStatistics::from_features(real)?)?;
    Ok(Projection {
        real: components.project(real)?,
        generated: components.project(generated)?,
        share: components.share,
    })
}

/// Gram and Schmidt's orthonormal columns, twice over; a column within the span of those before becomes zero.
fn orthonormalise(columns: &mut Mat<f64>) {
    for j in 0..columns.ncols() {
        let before = columns.col(j).norm_l2();
        for _ in 0..2 {
            for k in 0..j {
                let basis = columns.col_as_slice(k).to_vec();
                let column = columns.col_as_slice_mut(j);
                let inner: f64 = basis.iter().zip(&*column).map(|(x, y)| x * y).sum();
                column.iter_mut().zip(&basis).for_each(|(y, x)| *y -= inner * x);
            }
        }
        let norm = columns.col(j).norm_l2();
        let scale = if norm > before * 1e-12 { 1.0 / norm } else { 0.0 };
        columns.col_mut(j).iter_mut().for_each(|x| *x *= scale);
    }
}

/// The direction whose largest entry, the first of equals, is positive.
fn upright(direction: &[f64]) -> Vec<f64> {
    let largest = direction.iter().fold(0.0_f64, |m, &x| if x.abs() > m.abs() { x } else { m });
    let sign = if largest < 0.0 { -1.0 } else { 1.0 };
    direction.iter().map(|x| sign * x).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(rows: usize, columns: usize, widths: &[(usize, f64)]) -> Features {
        let mut philox = Philox::new(1, 2);
        let mut data: Vec<f64> = (0..rows * columns).map(|_| philox.uniform_f64() - 0.5).collect();
        for row in data.chunks_exact_mut(columns) {
            for &(column, width) in widths {
                row[column] *= width;
            }
        }
        Features::new(rows, columns, data).unwrap()
    }

    /// Against all eigenvectors, for covariances and for factors of fewer samples than features.
    #[test]
    fn components_are_the_leading_eigenvectors() {
        for (rows, columns) in [(500, 30), (20, 40), (50, 3), (50, 2)] {
            let features = spread(rows, columns, &[(1, -9.0), (0, 4.0)]);
            let statistics = GaussianStatistics::from_features(&features).unwrap();
            let components = Components::new(&statistics).unwrap();
            let covariance = statistics.covariance_matrix();
            let matrix = Mat::from_fn(columns, columns, |i, j| covariance[i * columns + j]);
            let (values, vectors) = eigen(matrix.as_ref()).unwrap();
            for (j, axis) in components.axes().into_iter().enumerate() {
                let expected = upright(vectors.col_as_slice(columns - 1 - j));
                assert!(axis.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-8));
                let share = values[columns - 1 - j] / values.iter().sum::<f64>();
                assert!((components.share[j] - share).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_dropped_mode_leaves_its_place_empty() {
        // Three modes of real samples along the first feature; generated ones have two of them, and noise elsewhere.
        let mode = |i: usize| [-20.0, 0.0, 20.0][i % 3];
        let set = |modes: usize| {
            let x = spread(90, 6, &[(5, 3.0)]);
            let at = |i: usize| if i.is_multiple_of(6) { mode(i / 6 % modes) } else { 0.0 };
            let data = x.data().iter().enumerate().map(|(i, x)| x + at(i)).collect();
            Features::new(90, 6, data).unwrap()
        };
        let found = projection(&set(3), &set(2)).unwrap();
        let right = |points: &[[f64; 2]]| points.iter().filter(|p| p[0] > 10.0).count();
        assert_eq!((right(&found.real), right(&found.generated)), (30, 0));
        assert!(found.share[0] > 0.9);
    }

    #[test]
    fn sets_without_width_have_no_direction() {
        let constant = Features::new(3, 4, vec![2.0; 12]).unwrap();
        let found = projection(&constant, &constant).unwrap();
        assert_eq!((found.real, found.share), (vec![[0.0; 2]; 3], [0.0; 2]));
        let line = Features::new(3, 1, vec![1.0, 2.0, 6.0]).unwrap();
        let found = projection(&line, &line).unwrap();
        assert_eq!(found.real, [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]);
        assert!((found.share[0] - 1.0).abs() < 1e-15 && found.share[1] == 0.0);
    }
}
