//! Scaled dot-product attention and its gradients, one head at a time.

use std::ops::Range;

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel, transpose},
    gemm::{Product, Strided, columns, multiply},
    linear::{Matrix, Right},
    simd::{Isa, Kernel, Simd},
};

/// Queries that one task takes at most.
const QUERIES: usize = 128;

/// The shape of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Samples times heads.
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Numbers to a query or key.
    pub(crate) width: usize,
}

impl Shape {
    /// Of `q` [N, H, T, D], `k` and `v` [N, H, S, D].
    pub(crate) fn new(q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Self {
        let fits = k == v && (q[0], q[1], q[3]) == (k[0], k[1], k[3]);
        assert!(fits, "attention: queries {q:?} do not fit keys {k:?} and values {v:?}");
        Self { heads: q[0] * q[1], queries: q[2], keys: k[2], width: q[3] }
    }

    fn scale(&self) -> f32 {
        (self.width as f64).powf(-0.5) as f32
    }

    /// Of one head's queries, of its keys, and of its weights.
    fn sizes(&self) -> [usize; 3] {
        [self.queries * self.width, self.keys * self.width, self.queries * self.keys]
    }

    fn check(&self, q: &[f32], k: &[f32], v: &[f32]) {
        let [query, key, _] = self.sizes().map(|size| size * self.heads);
        assert!(q.len() == query && k.len() == key && v.len() == key);
    }
}

/// `to = left right` for one head, where `left` has `rows` rows.
///
/// # Safety
/// `to` has room for the result, and no other thread touches it.
#[inline(always)]
unsafe fn matmul<S: Simd>(left: &[f32], rows: usize, right: &mut Right, to: *mut f32) {
    assert_eq!(left.len(), rows * right.rows);
    let left: Vec<_> = (0..rows).map(|row| left.as_ptr().wrapping_add(row * right.rows)).collect();
    let mut list = Vec::new();
    columns::<S>(&mut list, right.pointer().at(0), to, right.columns);
    let product = Product::new(Strided(right.stride), right.rows, right.columns);
    // SAFETY: the rows were counted, the right-hand side is padded, the rest is promised.
    unsafe { multiply::<S, _>(&left, &list, &product) };
}

/// Turns scores into weights in place: `softmax(scale scores)`, row by row.
///
/// # Safety
/// `scores` holds `rows` rows of `width`.
#[inline(always)]
unsafe fn softmax<S: Simd>(scores: *mut f32, rows: usize, width: usize, scale: f32) {
    for row in 0..rows {
        let scores = scores.wrapping_add(row * width);
        let steps = || (0..width).step_by(S::LANES).map(|at| (scores.wrapping_add(at), width - at));
        // SAFETY: the masks end with the row.
        unsafe {
            let mut top = f32::NEG_INFINITY;
            for at in 0..width {
                let score = *scores.add(at);
                top = if score > top { score } else { top };
            }
            let (scale, top) = (S::splat(scale), S::splat(top));
            let mut sum = S::splat(0.0);
            for (at, left) in steps() {
                let v = S::mul(S::sub(S::load_first(at, left), top), scale);
                let v = S::keep_first(S::exp(v), left);
                sum = S::add(sum, v);
                S::store_first(at, left, v);
            }
            let factor = S::splat(1.0 / S::sum(sum));
            for (at, left) in steps() {
                S::store_first(at, left, S::mul(S::load_first(at, left), factor));
            }
        }
    }
}

/// The attended values, and the weights that [`backward`] wants.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    shape.check(q, k, v);
    let mut y = Output::new(q.len());
    let mut weights = Output::new(shape.heads * shape.queries * shape.keys);
    let (y_to, weights_to) = (y.pointer(), weights.pointer());
    let parts = shape.queries.div_ceil(QUERIES);
    parallel(shape.heads * parts, 1, |tasks| {
        for task in tasks {
            let first = task % parts * QUERIES;
            let part = first..(first + QUERIES).min(shape.queries);
            let head = task / parts;
            isa.run(Forward { shape, q, k, v, head, part, y: y_to, weights: weights_to });
        }
    });
    // SAFETY: the tasks cover both, and each was written whole.
    unsafe { (y.finish(), weights.finish()) }
}

struct Forward<'a> {
    shape: &'a Shape,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    head: usize,
    part: Range<usize>,
    y: SharedMut,
    weights: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { queries, keys, width, .. } = *self.shape;
        let [query, key, score] = self.shape.sizes();
        let keys_part = self.head * key..(self.head + 1) * key;
        let mut k = Right::new::<S>(Matrix::new(&self.k[keys_part.clone()], keys, width), true);
        let mut v = Right::new::<S>(Matrix::new(&self.v[keys_part], keys, width), false);
        let (first, rows) = (self.part.start, self.part.len());
        let from = self.head * query + first * width;
        let q = &self.q[from..from + rows * width];
        let weights = self.weights.at(self.head * score + first * keys);
        debug_assert!(self.part.end <= queries);
        // SAFETY: this task's own rows of the weights and of the result.
        unsafe {
            matmul::<S>(q, rows, &mut k, weights);
            softmax::<S>(weights, rows, keys, self.shape.scale());
            let weights = std::slice::from_raw_parts(weights, rows * keys);
            matmul::<S>(weights, rows, &mut v, self.y.at(from));
        }
    }
}

/// The gradients of `q`, `k` and `v`, given these, the weights and the gradient of the result.
pub(crate) fn backward(isa: Isa, shape: &Shape, operands: [&[f32]; 5]) -> [Vec<f32>; 3] {
    let [q, k, v, weights, dy] = operands;
    shape.check(q, k, v);
    assert!(dy.len() == q.len() && weights.len() == shape.heads * shape.queries * shape.keys);
    let mut results = [q.len(), k.len(), v.len()].map(Output::new);
    let to = results.each_mut().map(Output::pointer);
    parallel(shape.heads, 1, |heads| {
        for head in heads {
            isa.run(Backward { shape, operands, head, to });
        }
    });
    // SAFETY: the heads cover all three, and each was written whole.
    results.map(|result| unsafe { result.finish() })
}

struct Backward<'a> {
    shape: &'a Shape,
    operands: [&'a [f32]; 5],
    head: usize,
    to: [SharedMut; 3],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { queries, keys, width, .. } = *self.shape;
        let [query, key, score] = self.shape.sizes();
        let sizes = [query, key, key, score, query];
        let part = |i: usize| &self.operands[i][self.head * sizes[i]..(self.head + 1) * sizes[i]];
        let [q, k, v, weights, dy] = std::array::from_fn(part);
        let [dq, dk, dv] = [0, 1, 2].map(|i| self.to[i].at(self.head * sizes[i]));
        let right = |data, rows, turn| Right::new::<S>(Matrix::new(data, rows, width), turn);
        let (mut ds, mut turned) = (Scratch::take(score), Scratch::take(score));
        // SAFETY: the transposes are as large as the scratch; the results are this head's own.
        unsafe {
            transpose::<S>(weights.as_ptr(), queries, keys, turned.pointer(), queries);
            matmul::<S>(turned.slice(), keys, &mut right(dy, queries, false), dv);
            matmul::<S>(dy, queries, &mut right(v, keys, true), ds.pointer());
            for (ds, weights) in ds.slice().chunks_mut(keys).zip(weights.chunks(keys)) {
                softmax_gradient::<S>(ds, weights, self.shape.scale());
            }
            matmul::<S>(ds.slice(), queries, &mut right(k, keys, false), dq);
            transpose::<S>(ds.pointer(), queries, keys, turned.pointer(), queries);
            matmul::<S>(turned.slice(), keys, &mut right(q, queries, false), dk);
        }
    }
}

/// Turns the gradient of a row of weights into that of its scores,
/// `scale weights (dw - sum(dw weights))`.
///
/// # Safety
/// Needs the instruction set of `S`.
#[inline(always)]
unsafe fn softmax_gradient<S: Simd>(dw: &mut [f32], weights: &[f32], scale: f32) {
    let len = dw.len();
    let steps = || (0..len).step_by(S::LANES).map(|at| (at, len - at));
    // SAFETY: the masks end with the slices, which are equally long.
    unsafe {
        let mut sum = S::splat(0.0);
        for (at, left) in steps() {
            let w = S::load_first(weights.as_ptr().add(at), left);
            sum = S::mul_add(S::load_first(dw.as_ptr().add(at), left), w, sum);
        }
        let (sum, scale) = (S::splat(S::sum(sum)), S::splat(scale));
        for (at, left) in steps() {
            let w = S::mul(S::load_first(weights.as_ptr().add(at), left), scale);
            let d = S::sub(S::load_first(dw.as_ptr().add(at), left), sum);
            S::store_first(dw.as_mut_ptr().add(at), left, S::mul(w, d));
        }
    }
}
