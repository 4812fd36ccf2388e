//! Means and covariances of samples that come in a stream.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

use crate::frechet::{Covariance, GaussianStatistics};
use crate::pairs::blocks;
use crate::{Features, MetricError};

/// Samples whose products are summed at once. The blocks are always these, however samples come, so the result is the same.
const BLOCK: usize = 1024;

/// Values that one thread converts.
const PART: usize = 1 << 16;

/// Rows and columns of the covariance that one thread sums.
const TILE: usize = 256;

/// Gathers [`GaussianStatistics`] from samples that come in a stream: what is kept is 1,024 samples and half of a D x D matrix.
///
/// Blocks are centred on their own mean and joined by S_ab = S_a + S_b + n_a n_b / (n_a + n_b) d d^T, d = m_b - m_a, for sums
/// of squares S about means m of n samples (Chan, Golub and LeVeque, 1983), so a large mean costs no digits.
#[derive(Clone, Debug)]
pub struct GaussianAccumulator {
    columns: usize,
    /// Samples that are in `mean` and `tiles`; those in `waiting` come on top.
    joined: usize,
    mean: Vec<f64>,
    /// Sums of squares about the mean, tiles of the lower triangle.
    tiles: Vec<Tile>,
    waiting: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    sums: Mat<f64>,
}

impl GaussianAccumulator {
    /// Before the first sample of `columns` features.
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            joined: 0,
            mean: vec![0.0; columns],
            tiles: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// The number of samples so far.
    pub fn rows(&self) -> usize {
        self.joined + self.waiting.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Adds samples, row by row: of f64, f32 or bytes.
    ///
    /// # Errors
    /// If `data` is not whole rows or a value is not finite; then none of it is added.
    pub fn push<T: Copy + Into<f64> + Sync>(&mut self, data: &[T]) -> Result<(), MetricError> {
        let columns = self.columns;
        let rows = data.len().checked_div(columns).unwrap_or(0);
        if rows * columns != data.len() {
            return Err(MetricError::Length { rows: rows + 1, columns, found: data.len() });
        }
        let infinite = |part: &[T]| part.iter().position(|&x| !x.into().is_finite());
        let parts = data.par_chunks(PART).enumerate();
        if let Some(i) = parts.find_map_first(|(p, part)| Some(p * PART + infinite(part)?)) {
            let (row, column) = (self.rows() + i / columns, i % columns);
            return Err(MetricError::NonFinite { row, column, value: data[i].into() });
        }
        let mut rest = data;
        while !rest.is_empty() {
            // A block is joined only when more come: one block alone is its own factor.
            if self.waiting.is_empty() && rest.len() > BLOCK * columns {
                let (block, after) = rest.split_at(BLOCK * columns);
                self.join(block);
                rest = after;
                continue;
            }
            self.join_waiting(BLOCK);
            let free = BLOCK * columns - self.waiting.len();
            let (next, after) = rest.split_at(rest.len().min(free));
            self.waiting.extend(next.iter().map(|&x| -> f64 { x.into() }));
            rest = after;
        }
        Ok(())
    }

    /// The statistics of all samples.
    ///
    /// # Errors
    /// If there are fewer than two samples, or their squares overflow.
    pub fn finish(mut self) -> Result<GaussianStatistics, MetricError> {
        let rows = self.rows();
        let d = self.columns;
        if rows < 2 {
            let what = "a covariance";
            return Err(MetricError::TooFewRows { what, needed: 2, found: rows });
        }
        let scale = 1.0 / (rows as f64 - 1.0);
        if self.joined == 0 && rows <= d {
            let (mean, panels) = centred(&self.waiting, d);
            let root = scale.sqrt();
            let factor = Mat::from_fn(d, rows, |i, j| root * panels[i / TILE][(j, i % TILE)]);
            return GaussianStatistics::of(mean, Covariance::Factor(factor));
        }
        self.join_waiting(1);
        let mut covariance = Mat::zeros(d, d);
        for tile in &self.tiles {
            for (column, j) in tile.columns.clone().enumerate() {
                for (&sum, i) in tile.sums.col_as_slice(column).iter().zip(tile.rows.clone()) {
                    covariance[(i, j)] = sum * scale;
                    covariance[(j, i)] = sum * scale;
                }
            }
        }
        GaussianStatistics::of(self.mean, Covariance::Full(covariance))
    }

    /// Joins the waiting samples to those before, where they are at least `least`.
    fn join_waiting(&mut self, least: usize) {
        if self.waiting.len() >= least * self.columns {
            let waiting = std::mem::take(&mut self.waiting);
            self.join(&waiting);
            self.waiting = waiting;
            self.waiting.clear();
        }
    }

    /// Joins a block of samples to those before.
    fn join<T: Copy + Into<f64> + Sync>(&mut self, block: &[T]) {
        let d = self.columns;
        let rows = block.len() / d.max(1);
        if rows == 0 {
            return;
        }
        if self.tiles.is_empty() {
            self.tiles = tiles(d);
        }
        let (mean, panels) = centred(block, d);
        let between: Vec<f64> = mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        let (before, new) = (self.joined as f64, rows as f64);
        let weight = before * new / (before + new);
        self.tiles.par_iter_mut().for_each(|Tile { rows, columns, sums }| {
            let [left, right] = [&rows, &columns].map(|range| &panels[range.start / TILE]);
            matmul(sums.as_mut(), Accum::Add, left.transpose(), right, 1.0, Par::Seq);
            for (column, j) in columns.clone().enumerate() {
                let factor = weight * between[j];
                let sums = sums.col_as_slice_mut(column).iter_mut();
                sums.zip(&between[rows.clone()]).for_each(|(sum, d)| *sum += factor * d);
            }
        });
        for (mean, between) in self.mean.iter_mut().zip(&between) {
            *mean += between * new / (before + new);
        }
        self.joined += rows;
    }
}

/// Tiles of the lower triangle of a `d` x `d` matrix.
fn tiles(d: usize) -> Vec<Tile> {
    let lower = |rows: Range<usize>| {
        blocks(rows.end, TILE).map(move |columns| Tile {
            sums: Mat::zeros(rows.len(), columns.len()),
            rows: rows.clone(),
            columns,
        })
    };
    blocks(d, TILE).flat_map(lower).collect()
}

/// The mean of the rows of `data`, and the rows less their mean, as matrices of [`TILE`] columns.
///
/// Column by column, as products read them half as fast again.
fn centred<T: Copy + Into<f64> + Sync>(data: &[T], columns: usize) -> (Vec<f64>, Vec<Mat<f64>>) {
    let rows = data.len() / columns;
    let panel = |range: Range<usize>| {
        let row = |i: usize| &data[i * columns..][range.clone()];
        let mut mean = vec![0.0; range.len()];
        for i in 0..rows {
            mean.iter_mut().zip(row(i)).for_each(|(sum, &x)| *sum += x.into());
        }
        mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        let mut panel = Mat::zeros(rows, range.len());
        // Eight rows at a time fill whole lines of the cache.
        for some in blocks(rows, 8) {
            for (j, &mean) in mean.iter().enumerate() {
                let to = &mut panel.col_as_slice_mut(j)[some.clone()];
                to.iter_mut().zip(some.clone()).for_each(|(to, i)| *to = row(i)[j].into() - mean);
            }
        }
        (mean, panel)
    };
    let panels: Vec<_> = blocks(columns, TILE).collect();
    let (means, panels): (Vec<_>, Vec<_>) = panels.into_par_iter().map(panel).unzip();
    (means.concat(), panels)
}

impl GaussianStatistics {
    /// mu = sum_i x_i / N and S = sum_i (x_i - mu)(x_i - mu)^T / (N - 1), as `numpy.cov` computes it.
    ///
    /// # Errors
    /// If there are fewer than two samples, or their squares overflow.
    pub fn from_features(features: &Features) -> Result<Self, MetricError> {
        let mut accumulator = GaussianAccumulator::new(features.columns());
        accumulator.push(features.data())?;
        accumulator.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f64 {
        ((i * i * 31 + i * 17) % 1009) as f64 / 64.0
    }

    #[test]
    fn the_way_samples_come_changes_nothing() {
        let (rows, d) = (2500, 5);
        let data: Vec<f64> = (0..rows * d).map(value).collect();
        let whole =
            GaussianStatistics::from_features(&Features::new(rows, d, data.clone()).unwrap());
        let mut accumulator = GaussianAccumulator::new(d);
        for part in data.chunks(7 * d) {
            accumulator.push(part).unwrap();
        }
        assert_eq!(accumulator.rows(), rows);
        assert_eq!(accumulator.finish(), whole);
        let mut accumulator = GaussianAccumulator::new(d);
        let single: Vec<f32> = data.iter().map(|&x| x as f32).collect();
        accumulator.push(&single).unwrap();
        assert_eq!(accumulator.finish(), whole);
    }

    /// Samples sorted by their mean, far from the origin, in several blocks and tiles, against sums about the exact mean.
    #[test]
    fn a_large_and_drifting_mean_costs_no_digits() {
        let (rows, d) = (2100, 300);
        let x = |i: usize, j: usize| 1e8 + (i / 300) as f64 * 64.0 + value(i * d + j).floor();
        let data = (0..rows * d).map(|at| x(at / d, at % d)).collect();
        let found =
            GaussianStatistics::from_features(&Features::new(rows, d, data).unwrap()).unwrap();
        for (j, k) in [(0, 0), (299, 299), (280, 3), (3, 280), (17, 256)] {
            // Whole numbers: exact sums.
            let column = |j: usize| (0..rows).map(move |i| x(i, j) - 1e8);
            let n = rows as f64;
            let [sum_j, sum_k] = [j, k].map(|j| column(j).sum::<f64>());
            let products: f64 = column(j).zip(column(k)).map(|(x, y)| x * y).sum();
            let expected = (products - sum_j * sum_k / n) / (n - 1.0);
            let error = (found.covariance(j, k) - expected).abs();
            // The last digit of a mean of 1e8 is 1.5e-8; sums of squares without a mean would be off by 1.
            assert!(error < 1e-10 * found.covariance(j, j), "{j} {k}: {error}");
            assert!((found.mean()[j] - (1e8 + sum_j / n)).abs() < 3e-8, "{j}");
        }
    }

    #[test]
    fn bad_rows_are_refused_and_leave_what_was_there() {
        let mut accumulator = GaussianAccumulator::new(2);
        accumulator.push(&[1.0, 2.0]).unwrap();
        let error = accumulator.push(&[1.0, 2.0, 3.0]).unwrap_err();
        assert_eq!(error.to_string(), "2 x 2 features need 4 values, found 3");
        let error = accumulator.push(&[1.0, 2.0, 3.0, f32::INFINITY]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the feature in row 2, column 1 is inf; features must be finite"
        );
        assert_eq!(accumulator.rows(), 1);
        assert_eq!(
            accumulator.clone().finish().unwrap_err().to_string(),
            "a covariance needs at least 2 samples, found 1"
        );
        accumulator.push(&[1e200, 2.0]).unwrap();
        assert_eq!(
            accumulator.finish().unwrap_err().to_string(),
            "the variance of these features is beyond the greatest number; divide them by a common number"
        );
    }
}
