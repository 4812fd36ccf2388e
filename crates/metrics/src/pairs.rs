//! All pairs of two sets, block by block: inner products from matrix products, and what these say about distances.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::Features;

/// Rows of the left set in one block: the columns of a product, which a thread works through alone.
pub(crate) const LEFT: usize = 128;

/// Rows of the right set in one block. 128 x 512 products are half a megabyte and stay in a core's cache.
pub(crate) const RIGHT: usize = 512;

/// The rows from 0 to `rows` in blocks of `size`, the last one shorter.
pub(crate) fn blocks(rows: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(size).map(move |start| start..(start + size).min(rows))
}

/// `right left^T`, `[rows of right, rows of left]`: column j holds the inner products of row j of `left`.
///
/// On the calling thread alone: blocks are what is done in parallel, so that no sum's order depends on the threads.
pub(crate) fn inner_products(right: MatRef<'_, f64>, left: MatRef<'_, f64>) -> Mat<f64> {
    let mut products = Mat::zeros(right.nrows(), left.nrows());
    matmul(products.as_mut(), Accum::Replace, right, left.transpose(), 1.0, Par::Seq);
    products
}

/// Squared distances from inner products: |x|^2 + |y|^2 - 2 x.y, and how far that may be off.
///
/// Summing D products in any order is off by at most D u |x| |y| for the unit roundoff u (Higham, 2002, section 3.1), so the
/// difference of the three sums is within 2 (D + 2) u (|x|^2 + |y|^2) of the true value and the sum of squared differences
/// within as much again. Where such an interval leaves a comparison open, as near duplicates do, the differences themselves decide.
pub(crate) struct Norms {
    squares: Vec<f64>,
    /// The greatest error, over |x|^2 + |y|^2.
    slack: f64,
}

impl Norms {
    /// Of every row.
    pub(crate) fn new(features: &Features) -> Self {
        let zeros = vec![0.0; features.columns()];
        let square = |i| crate::features::squared_distance(features.row(i), &zeros);
        // Twice the bound, which also covers the rounding of roots and squares of the distances compared.
        let slack = 4.0 * (features.columns() as f64 + 4.0) * f64::EPSILON;
        Self { squares: (0..features.rows()).map(square).collect(), slack }
    }

    /// The interval that holds the squared distance of row `i` to row `j` of another set with inner product `product`.
    #[inline(always)]
    pub(crate) fn interval(&self, i: usize, other: &Self, j: usize, product: f64) -> (f64, f64) {
        let norms = self.squares[i] + other.squares[j];
        let distance = norms - 2.0 * product;
        // Products below the normal numbers lose digits that the relative bound does not count.
        let slack = self.slack * norms + f64::MIN_POSITIVE;
        (distance - slack, distance + slack)
    }
}
