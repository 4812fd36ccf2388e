//! The matrix product under every convolution, linear layer and attention.
//!
//! Each element of a product is one chain of multiply-adds over the inner dimension, in order.
//! How the elements are grouped into tiles, which thread computes a tile, and whether a chain
//! rests in memory half-way therefore changes no bit of the result.

use crate::simd::{Kernel, Simd};

/// Where the rows of the right-hand matrix lie, as offsets from the start of a column.
pub(crate) trait Rows: Copy {
    /// The offset of row `k`.
    ///
    /// # Safety
    /// `k` is a row of the matrix.
    unsafe fn offset(self, k: usize) -> usize;
}

/// Rows at a constant distance.
#[derive(Clone, Copy)]
pub(crate) struct Strided(pub(crate) usize);

impl Rows for Strided {
    #[inline(always)]
    unsafe fn offset(self, k: usize) -> usize {
        k * self.0
    }
}

/// Rows at listed places.
#[derive(Clone, Copy)]
pub(crate) struct Listed<'a>(pub(crate) &'a [usize]);

impl Rows for Listed<'_> {
    #[inline(always)]
    unsafe fn offset(self, k: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { *self.0.get_unchecked(k) }
    }
}

/// What the chains begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Zero.
    Zero,
    /// One number for each row of the result.
    Bias(*const f32),
    /// What the result holds: the chain goes on.
    Resume,
}

/// The part of a product that all its tiles share.
#[derive(Clone, Copy)]
pub(crate) struct Product<R> {
    /// Where the rows of the right-hand matrix lie.
    pub(crate) rows: R,
    /// Length of the inner dimension, in one segment.
    pub(crate) depth: usize,
    /// How often the inner dimension begins anew further on.
    pub(crate) segments: usize,
    /// How far on, on the left.
    pub(crate) left_step: usize,
    /// How far on, on the right.
    pub(crate) right_step: usize,
    /// What the chains begin with.
    pub(crate) start: Start,
    /// Whether the finished chains are added to what the result holds.
    pub(crate) add: bool,
    /// Distance between the rows of the result.
    pub(crate) stride: usize,
}

impl<R> Product<R> {
    /// A plain product of inner dimension `depth`, its result `stride` wide.
    pub(crate) fn new(rows: R, depth: usize, stride: usize) -> Self {
        Self {
            rows,
            depth,
            segments: 1,
            left_step: 0,
            right_step: 0,
            start: Start::Zero,
            add: false,
            stride,
        }
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
/// Every pointer is valid over the extent that `product` describes, `Start::Bias` for one number
/// to each row, and no other thread touches the result's columns meanwhile. Needs the instruction
/// set of `S`.
pub(crate) unsafe fn multiply<S: Simd, R: Rows>(
    left: &[*const f32],
    columns: &[Column],
    product: &Product<R>,
) {
    // SAFETY: the caller has the instruction set.
    unsafe { S::call(Multiply { left, columns, product }) }
}

struct Multiply<'a, R> {
    left: &'a [*const f32],
    columns: &'a [Column],
    product: &'a Product<R>,
}

impl<R: Rows> Kernel for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the promise made to `multiply`; the row counts are those that the register file
        // holds.
        unsafe {
            if S::ROWS == 8 {
                sweep::<S, R, 8>(self.left, self.columns, self.product);
            } else {
                sweep::<S, R, 4>(self.left, self.columns, self.product);
            }
        }
    }
}

#[inline(always)]
unsafe fn sweep<S: Simd, R: Rows, const M: usize>(
    left: &[*const f32],
    columns: &[Column],
    product: &Product<R>,
) {
    for (tile, rows) in left.chunks(M).enumerate() {
        let first = tile * M;
        // Missing rows are computed as copies of the last and not stored.
        let pointers: [*const f32; M] = std::array::from_fn(|m| rows[m.min(rows.len() - 1)]);
        let mut pairs = columns.chunks_exact(2);
        // SAFETY: the caller's promise.
        unsafe {
            for pair in &mut pairs {
                tile_of::<S, R, M, 2>(&pointers, &[pair[0], pair[1]], product, first, rows.len());
            }
            if let [column] = pairs.remainder() {
                tile_of::<S, R, M, 1>(&pointers, &[*column], product, first, rows.len());
            }
        }
    }
}

/// One tile: `M` rows from row `first` on, of which `valid` exist, by `V` vectors.
#[inline(always)]
// Indices, not iterators: no closure that takes or returns vectors may stand in the inner loop.
#[allow(clippy::needless_range_loop)]
unsafe fn tile_of<S: Simd, R: Rows, const M: usize, const V: usize>(
    left: &[*const f32; M],
    columns: &[Column; V],
    product: &Product<R>,
    first: usize,
    valid: usize,
) {
    // SAFETY: the caller's promise; rows past `valid` and lanes past `lanes` are never stored.
    unsafe {
        let place = |m: usize, v: usize| columns[v].result.add((first + m) * product.stride);
        let mut sums = [[S::splat(0.0); V]; M];
        match product.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                for (m, row) in sums.iter_mut().enumerate() {
                    *row = [S::splat(*bias.add(first + m.min(valid - 1))); V];
                }
            }
            Start::Resume => {
                for (m, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let left = columns[v].lanes;
                        *sum = S::load_first(place(m.min(valid - 1), v), left);
                    }
                }
            }
        }
        for segment in 0..product.segments {
            let a: [_; M] = std::array::from_fn(|m| left[m].add(segment * product.left_step));
            let b: [_; V] =
                std::array::from_fn(|v| columns[v].right.add(segment * product.right_step));
            for k in 0..product.depth {
                let offset = product.rows.offset(k);
                let mut right = [S::splat(0.0); V];
                for v in 0..V {
                    right[v] = S::load(b[v].add(offset));
                }
                for m in 0..M {
                    let factor = S::splat(*a[m].add(k));
                    for v in 0..V {
                        sums[m][v] = S::mul_add(factor, right[v], sums[m][v]);
                    }
                }
            }
        }
        for (m, row) in sums.iter().enumerate() {
            if m < valid {
                for (v, &sum) in row.iter().enumerate() {
                    let (to, lanes) = (place(m, v), columns[v].lanes);
                    let mut sum = sum;
                    if product.add {
                        sum = S::add(sum, S::load_first(to, lanes));
                    }
                    if lanes == S::LANES {
                        S::store(to, sum);
                    } else {
                        S::store_first(to, lanes, sum);
                    }
                }
            }
        }
    }
}
