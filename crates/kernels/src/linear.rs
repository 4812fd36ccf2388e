//! The linear layer and its gradients.

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel, transpose},
    gemm::{Product, Start, Strided, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

/// Multiply-adds that one thread takes at a time at least.
const GRAIN: usize = 512 * 1024;
/// Rows whose contributions to the weights form one chain; the chains' sums are then added up.
const CHAIN: usize = 256;

/// The shape of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Shape {
    /// Of `x` [R, I] under `weight` [O, I].
    pub(crate) fn new([rows, inputs]: [usize; 2], [outputs, expected]: [usize; 2]) -> Self {
        assert_eq!(
            inputs, expected,
            "linear: the input is {inputs} wide, the weight expects {expected}"
        );
        Self { rows, inputs, outputs }
    }
}

/// A matrix, row by row.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, rows, columns }
    }
}

/// The right-hand side of a product, padded to whole vectors.
pub(crate) struct Right {
    scratch: Scratch,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
}

impl Right {
    /// `matrix`, or its transpose.
    #[inline(always)]
    pub(crate) fn new<S: Simd>(matrix: Matrix<'_>, transposed: bool) -> Self {
        let Matrix { data, rows, columns } = matrix;
        let (rows, columns) = if transposed { (columns, rows) } else { (rows, columns) };
        let stride = columns.next_multiple_of(S::LANES);
        let mut scratch = Scratch::take(rows * stride);
        let to = scratch.slice();
        if transposed {
            // SAFETY: a row of the transpose is `columns` long, within `stride`.
            unsafe { transpose::<S>(data.as_ptr(), columns, rows, to.as_mut_ptr(), stride) };
        } else {
            for (to, from) in to.chunks_exact_mut(stride).zip(data.chunks_exact(columns)) {
                to[..columns].copy_from_slice(from);
            }
        }
        Self { scratch, rows, columns, stride }
    }

    pub(crate) fn pointer(&mut self) -> SharedMut {
        SharedMut::new(self.scratch.slice())
    }
}

/// [`Right::new`] in the instruction set at hand.
struct Pad<'a>(Matrix<'a>, bool);

impl Kernel for Pad<'_> {
    type Output = Right;

    #[inline(always)]
    fn run<S: Simd>(self) -> Right {
        Right::new::<S>(self.0, self.1)
    }
}

/// Writes the transpose of a matrix.
struct Turn<'a>(Matrix<'a>, &'a mut [f32]);

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Matrix { data, rows, columns } = self.0;
        assert_eq!(self.1.len(), data.len());
        // SAFETY: the transpose has as many numbers.
        unsafe { transpose::<S>(data.as_ptr(), rows, columns, self.1.as_mut_ptr(), rows) };
    }
}

/// `bias + x weight^T`.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    assert_eq!(bias.len(), shape.outputs);
    let x = Matrix::new(x, shape.rows, shape.inputs);
    let weight = Matrix::new(weight, shape.outputs, shape.inputs);
    product(isa, x, isa.run(Pad(weight, true)), Some(bias))
}

/// The gradient of `x`, given that of the result.
pub(crate) fn input_gradient(isa: Isa, shape: &Shape, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    let dy = Matrix::new(dy, shape.rows, shape.outputs);
    let weight = Matrix::new(weight, shape.outputs, shape.inputs);
    product(isa, dy, isa.run(Pad(weight, false)), None)
}

/// The gradient of the weights, given that of the result.
pub(crate) fn weight_gradient(isa: Isa, shape: &Shape, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let x = Matrix::new(x, shape.rows, shape.inputs);
    assert_eq!(dy.len(), shape.rows * shape.outputs);
    let mut turned = Scratch::take(dy.len());
    isa.run(Turn(Matrix::new(dy, shape.rows, shape.outputs), turned.slice()));
    let dy = Matrix::new(turned.slice(), shape.outputs, shape.rows);
    product(isa, dy, isa.run(Pad(x, false)), None)
}

/// The gradient of the bias, given that of the result: its sum over the rows, in their order.
pub(crate) fn bias_gradient(shape: &Shape, dy: &[f32]) -> Vec<f32> {
    let mut total = vec![0.0f32; shape.outputs];
    for chain in dy.chunks(CHAIN * shape.outputs.max(1)) {
        let mut sum = vec![0.0f32; shape.outputs];
        for row in chain.chunks_exact(shape.outputs.max(1)) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
    }
    total
}

/// `left right`, plus a bias to each row.
fn product(isa: Isa, left: Matrix<'_>, mut right: Right, bias: Option<&[f32]>) -> Vec<f32> {
    let mut y = Output::new(left.rows * right.columns);
    let to = y.pointer();
    let from = right.pointer();
    let right = (from, right.stride, right.columns, right);
    let grain = GRAIN.div_ceil((left.columns * right.2).max(1)).next_multiple_of(8);
    parallel(left.rows.div_ceil(8), grain / 8, |range| {
        let range = range.start * 8..(range.end * 8).min(left.rows);
        isa.run(Rows { left, right: right.0, stride: right.1, columns: right.2, bias, range, to });
    });
    // SAFETY: the ranges cover the rows, and each was written whole.
    unsafe { y.finish() }
}

struct Rows<'a> {
    left: Matrix<'a>,
    right: SharedMut,
    stride: usize,
    columns: usize,
    bias: Option<&'a [f32]>,
    range: std::ops::Range<usize>,
    to: SharedMut,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let depth = self.left.columns;
        let to = self.to.at(self.range.start * self.columns);
        if let Some(bias) = self.bias {
            for row in 0..self.range.len() {
                // SAFETY: this thread's own rows of the result.
                unsafe {
                    let to = to.add(row * self.columns);
                    to.copy_from_nonoverlapping(bias.as_ptr(), self.columns);
                }
            }
        }
        let left: Vec<_> =
            self.range.map(|row| self.left.data.as_ptr().wrapping_add(row * depth)).collect();
        let mut list = Vec::new();
        columns::<S>(&mut list, self.right.at(0), to, self.columns);
        let start = if self.bias.is_some() { Start::Resume } else { Start::Zero };
        let product = Product { start, ..Product::new(Strided(self.stride), depth, self.columns) };
        // SAFETY: rows of the left matrix, the padded right one, and this thread's own result.
        unsafe { multiply::<S, _>(&left, &list, &product) };
    }
}
