//! The matrix products under every convolution, linear layer and attention.
//!
//! Each element of a product is one chain of multiply-adds over the inner dimension, in order.
//! How the elements are grouped into tiles, which thread computes a tile, and whether a chain
//! rests in memory half-way therefore changes no bit of the result.

use crate::simd::{Kernel, Simd};

/// The part of a product that all its tiles share.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    /// Distance between the rows of the right-hand matrix.
    pub(crate) right_stride: usize,
    /// Length of the inner dimension.
    pub(crate) depth: usize,
    /// Distance between the rows of the result.
    pub(crate) stride: usize,
    /// Whether the chains go on from what the result holds; else they begin with zero.
    pub(crate) resume: bool,
}

impl Product {
    /// Of inner dimension `depth`; the rows on the right are `right_stride` apart, those of the
    /// result `stride`.
    pub(crate) fn new(right_stride: usize, depth: usize, stride: usize) -> Self {
        Self { right_stride, depth, stride, resume: false }
    }
}

/// A vector's width of the right-hand matrix and of the result. The right-hand matrix must be
/// readable for a whole vector, the result is touched in its first `lanes` columns only.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    pub(crate) right: *const f32,
    pub(crate) result: *mut f32,
    pub(crate) lanes: usize,
}

/// Appends the columns of a matrix that is `width` wide.
pub(crate) fn columns<S: Simd>(
    list: &mut Vec<Column>,
    right: *const f32,
    result: *mut f32,
    width: usize,
) {
    for at in (0..width).step_by(S::LANES) {
        let lanes = S::LANES.min(width - at);
        list.push(Column { right: right.wrapping_add(at), result: result.wrapping_add(at), lanes });
    }
}

/// Computes the product of the rows `left` (a pointer to each one's first element; elements are
/// contiguous) with the `columns`.
///
/// # Safety
/// Every pointer is valid over the extent that `product` describes, and no other thread touches
/// the result's columns meanwhile. Needs the instruction set of `S`.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(left: &[*const f32], columns: &[Column], product: &Product) {
    // Two columns of the right-hand matrix stay in the first cache while all rows pass by.
    let mut pairs = columns.chunks_exact(2);
    for pair in &mut pairs {
        // SAFETY: the caller's promise.
        unsafe { S::call(Rows::<2> { left, columns: [pair[0], pair[1]], product }) };
    }
    if let [column] = pairs.remainder() {
        // SAFETY: the caller's promise.
        unsafe { S::call(Rows::<1> { left, columns: [*column], product }) };
    }
}

/// All rows under `V` columns.
struct Rows<'a, const V: usize> {
    left: &'a [*const f32],
    columns: [Column; V],
    product: &'a Product,
}

impl<const V: usize> Kernel for Rows<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the promise made to `multiply`; the row counts are those that the register file
        // holds.
        unsafe {
            let mut done = 0;
            if S::ROWS == 8 {
                done = self.tiles::<S, 8>(done);
            }
            done = self.tiles::<S, 4>(done);
            done = self.tiles::<S, 2>(done);
            self.tiles::<S, 1>(done);
        }
    }
}

impl<const V: usize> Rows<'_, V> {
    /// Tiles of `M` rows from row `first` on, while there are as many left; returns how many rows
    /// are then done.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const M: usize>(&self, first: usize) -> usize {
        let mut row = first;
        while row + M <= self.left.len() {
            let left: [*const f32; M] = std::array::from_fn(|m| self.left[row + m]);
            // SAFETY: the promise made to `multiply`.
            unsafe { tile::<S, M, V>(&left, &self.columns, self.product, row) };
            row += M;
        }
        row
    }
}

/// One tile: `M` rows, the first of which is row `first` of the result, by `V` vectors.
#[inline(always)]
// Indices, not iterators: no closure that takes or returns vectors may stand in the inner loop.
#[allow(clippy::needless_range_loop)]
unsafe fn tile<S: Simd, const M: usize, const V: usize>(
    left: &[*const f32; M],
    columns: &[Column; V],
    product: &Product,
    first: usize,
) {
    // SAFETY: the caller's promise; lanes past `lanes` are never stored.
    unsafe {
        let place = |m: usize, v: usize| columns[v].result.add((first + m) * product.stride);
        let mut sums = [[S::splat(0.0); V]; M];
        if product.resume {
            for m in 0..M {
                for v in 0..V {
                    sums[m][v] = S::load_first(place(m, v), columns[v].lanes);
                }
            }
        }
        let mut right: [*const f32; V] = std::array::from_fn(|v| columns[v].right);
        for k in 0..product.depth {
            let mut row = [S::splat(0.0); V];
            for v in 0..V {
                row[v] = S::load(right[v]);
                right[v] = right[v].wrapping_add(product.right_stride);
            }
            for m in 0..M {
                let factor = S::splat(*left[m].add(k));
                for v in 0..V {
                    sums[m][v] = S::mul_add(factor, row[v], sums[m][v]);
                }
            }
        }
        for m in 0..M {
            for v in 0..V {
                S::store_first(place(m, v), columns[v].lanes, sums[m][v]);
            }
        }
    }
}

/// Rows to a panel of the left-hand matrix of [`multiply_turned`].
pub(crate) const PANEL: usize = 16;

/// The product of a transposed matrix with another, both in panels.
#[derive(Clone, Copy)]
pub(crate) struct Turned {
    /// `depth` rows of [`PANEL`] numbers, of which the first `rows` are rows of the result.
    pub(crate) left: *const f32,
    pub(crate) rows: usize,
    /// `depth` rows of `width` numbers, a whole number of vectors.
    pub(crate) right: *const f32,
    pub(crate) width: usize,
    /// Length of the inner dimension.
    pub(crate) depth: usize,
    /// Where the product is added: its rows are `stride` apart.
    pub(crate) result: *mut f32,
    pub(crate) stride: usize,
}

/// Adds the product to what the result holds; each element's chain begins with zero.
///
/// # Safety
/// Every pointer is valid over the extent that it describes, `result` for `rows` rows of `width`,
/// and no other thread touches the result meanwhile. Needs the instruction set of `S`.
#[inline(always)]
pub(crate) unsafe fn multiply_turned<S: Simd>(product: Turned) {
    let mut at = 0;
    while at + 2 * S::LANES <= product.width {
        // SAFETY: the caller's promise.
        unsafe { S::call(TurnedRows::<2> { product, at }) };
        at += 2 * S::LANES;
    }
    while at < product.width {
        // SAFETY: the caller's promise.
        unsafe { S::call(TurnedRows::<1> { product, at }) };
        at += S::LANES;
    }
}

/// All rows of the result under `V` vectors from `at` on.
struct TurnedRows<const V: usize> {
    product: Turned,
    at: usize,
}

impl<const V: usize> Kernel for TurnedRows<V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for first in (0..self.product.rows).step_by(S::ROWS) {
            // SAFETY: the promise made to `multiply_turned`.
            unsafe {
                if S::ROWS == 8 {
                    turned_tile::<S, 8, V>(&self.product, first, self.at);
                } else {
                    turned_tile::<S, 4, V>(&self.product, first, self.at);
                }
            }
        }
    }
}

/// One tile: `M` rows from row `first` on, of which those that exist are stored.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn turned_tile<S: Simd, const M: usize, const V: usize>(
    product: &Turned,
    first: usize,
    at: usize,
) {
    // SAFETY: the caller's promise; a panel is whole, so rows that do not exist may be read.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; M];
        let (mut left, mut right) = (product.left.add(first), product.right.add(at));
        for _ in 0..product.depth {
            let mut row = [S::splat(0.0); V];
            for v in 0..V {
                row[v] = S::load(right.add(v * S::LANES));
            }
            for m in 0..M {
                let factor = S::splat(*left.add(m));
                for v in 0..V {
                    sums[m][v] = S::mul_add(factor, row[v], sums[m][v]);
                }
            }
            left = left.wrapping_add(PANEL);
            right = right.wrapping_add(product.width);
        }
        for m in 0..M.min(product.rows - first) {
            for v in 0..V {
                let to = product.result.add((first + m) * product.stride + at + v * S::LANES);
                S::store(to, S::add(S::load(to), sums[m][v]));
            }
        }
    }
}
