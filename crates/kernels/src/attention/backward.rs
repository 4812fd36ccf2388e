//! The gradients of attention.

use std::ops::Range;

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel},
    gemm::{self, Turned, multiply_turned},
    simd::{Isa, Kernel, Simd},
};

use super::{BLOCK, PANEL, Shape, Side, matmul, pack, panels};

/// The gradients of `q`, `k` and `v`, given these, the forward pass's notes and the gradient of the
/// result.
pub(crate) fn backward(isa: Isa, shape: &Shape, operands: [&[f32]; 5]) -> [Vec<f32>; 3] {
    let [q, k, v, notes, dy] = operands;
    shape.check(q, k, v);
    let heads = shape.samples * shape.heads;
    assert!(dy.len() == q.len() && notes.len() == 2 * heads * shape.queries);
    // Long sequences are split into at most four spans of queries, whatever the threads.
    let span = (shape.queries.div_ceil(4)).next_multiple_of(BLOCK).max(4 * BLOCK);
    let spans = shape.queries.div_ceil(span);
    let (_, width) = shape.padded();
    let part = shape.keys.next_multiple_of(gemm::PANEL) * width;
    let mut dq = Output::new(q.len());
    let mut sums = Scratch::take(heads * spans * 2 * part);
    let (dq_to, sums_to) = (dq.pointer(), SharedMut::new(sums.slice()));
    let packed = [(k, Side::Turned), (k, Side::Plain), (v, Side::Turned)];
    let mut packed = packed.map(|(tokens, side)| panels(isa, shape, tokens, side));
    let packed = packed.each_mut().map(|(s, len)| (SharedMut::new(s.slice()), *len));
    parallel(heads * spans, 1, |tasks| {
        for task in tasks {
            let (head, first) = (task / spans, task % spans * span);
            isa.run(Backward {
                shape,
                head,
                queries: first..(first + span).min(shape.queries),
                operands: [q, notes, dy],
                packed,
                dq: dq_to,
                sums: [0, 1].map(|i| sums_to.from((2 * task + i) * part)),
            });
        }
    });
    let [mut dk, mut dv] = [Output::new(k.len()), Output::new(k.len())];
    let to = [dk.pointer(), dv.pointer()];
    parallel(heads, 1, |heads| {
        for head in heads {
            for (which, to) in to.into_iter().enumerate() {
                let from = sums_to.from((2 * head * spans + which) * part);
                // SAFETY: the sums of this head's spans, and its own part of the result.
                unsafe { add_up(shape, head, from, [spans, 2 * part, width], to) };
            }
        }
    });
    // SAFETY: the heads cover all three, and each was written whole.
    unsafe { [dq.finish(), dk.finish(), dv.finish()] }
}

/// Writes the sum of the spans' parts of a gradient of one head's keys or values.
///
/// # Safety
/// `from` holds `spans` parts that are `pitch` apart, with rows of `stride`.
unsafe fn add_up(
    shape: &Shape,
    head: usize,
    from: SharedMut,
    [spans, pitch, stride]: [usize; 3],
    to: SharedMut,
) {
    let to = to.from(shape.head(head, shape.keys));
    for key in 0..shape.keys {
        for at in 0..shape.width {
            let place = |i: usize| from.at(i * pitch + key * stride + at);
            // SAFETY: the caller's promise.
            unsafe {
                *to.at(key * shape.token() + at) =
                    (1..spans).fold(*place(0), |sum, i| sum + *place(i));
            }
        }
    }
}

/// One span of one head's queries.
struct Backward<'a> {
    shape: &'a Shape,
    head: usize,
    queries: Range<usize>,
    /// `q`, the notes, the gradient of the result.
    operands: [&'a [f32]; 3],
    /// The keys, transposed and plain, and the values, transposed, with the length of a head's.
    packed: [(SharedMut, usize); 3],
    dq: SharedMut,
    /// The span's part of the gradients of keys and values, in rows of whole panels.
    sums: [SharedMut; 2],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { queries, keys, width, .. } = *self.shape;
        let (token, scale) = (self.shape.token(), self.shape.scale());
        let (_, padded) = self.shape.padded();
        let lots = keys.div_ceil(gemm::PANEL);
        let [q, notes, dy] = self.operands.map(<[f32]>::as_ptr);
        let [k_turned, k, v_turned] =
            self.packed.map(|(all, len)| all.at(self.head * len).cast_const());
        let [dk, dv] = self.sums.map(|sums| sums.at(0));
        for sum in [dk, dv] {
            // SAFETY: this span's own sums.
            unsafe { std::slice::from_raw_parts_mut(sum, lots * gemm::PANEL * padded) }.fill(0.0);
        }
        let mut weights = Scratch::take(BLOCK * keys);
        let mut slopes = Scratch::take(BLOCK * keys);
        let mut turned = Scratch::take(BLOCK * lots * gemm::PANEL);
        let mut rows_right = Scratch::take(BLOCK * padded);
        for first in self.queries.clone().step_by(BLOCK) {
            let rows = BLOCK.min(self.queries.end - first);
            let at = self.shape.head(self.head, queries) + first * token;
            // SAFETY: rows of this head's queries; the scratch is large enough for a block.
            unsafe {
                let (q, dy) = (q.add(at), dy.add(at));
                let notes = notes.add(2 * (self.head * queries + first));
                let weights = weights.pointer();
                let slopes = slopes.pointer();
                matmul::<S>((q, token), rows, k_turned, [width, keys], (weights, keys), false);
                matmul::<S>((dy, token), rows, v_turned, [width, keys], (slopes, keys), false);
                for row in 0..rows {
                    let (weights, slopes) = (weights.add(row * keys), slopes.add(row * keys));
                    let note = [*notes.add(2 * row), *notes.add(2 * row + 1)];
                    slopes_of_row::<S>(weights, slopes, keys, scale, note);
                }
                let dq = (self.dq.at(at), token);
                matmul::<S>((slopes, keys), rows, k, [keys, width], dq, false);
                for (left, right, result) in [(weights, dy, dv), (slopes, q, dk)] {
                    lots_of::<S>(left, [rows, keys], turned.pointer());
                    let panels = rows_right.pointer();
                    pack::<S>(right, [rows, width, token], Side::Plain, panels);
                    for lot in 0..lots {
                        for panel in 0..padded / PANEL {
                            multiply_turned::<S>(Turned {
                                left: turned.pointer().add(lot * rows * gemm::PANEL),
                                rows: gemm::PANEL,
                                right: panels.add(panel * rows * PANEL),
                                width: PANEL,
                                depth: rows,
                                result: result.add(lot * gemm::PANEL * padded + panel * PANEL),
                                stride: padded,
                            });
                        }
                    }
                }
            }
        }
    }
}

/// From a row of scores and the gradient of its weights to the weights and the gradient of the
/// scores, `scale weights (dw - sum(dw weights))`, in place.
///
/// # Safety
/// Both rows hold `len` numbers.
#[inline(always)]
unsafe fn slopes_of_row<S: Simd>(
    weights: *mut f32,
    slopes: *mut f32,
    len: usize,
    scale: f32,
    [top, factor]: [f32; 2],
) {
    let steps = || (0..len).step_by(S::LANES).map(|at| (at, len - at));
    // SAFETY: the masks end with the rows.
    unsafe {
        let (scale, top, factor) = (S::splat(scale), S::splat(top), S::splat(factor));
        let mut sum = S::splat(0.0);
        for (at, left) in steps() {
            let v = S::mul(S::sub(S::load_first(weights.add(at), left), top), scale);
            let w = S::keep_first(S::mul(S::exp(v), factor), left);
            sum = S::mul_add(S::load_first(slopes.add(at), left), w, sum);
            S::store_first(weights.add(at), left, w);
        }
        let sum = S::splat(S::sum(sum));
        for (at, left) in steps() {
            let w = S::mul(S::load_first(weights.add(at), left), scale);
            let d = S::sub(S::load_first(slopes.add(at), left), sum);
            S::store_first(slopes.add(at), left, S::mul(w, d));
        }
    }
}

/// Lays `[rows, keys]` out in lots of keys, `[lot][row][gemm::PANEL]`, filled up with zeros.
///
/// # Safety
/// `from` holds the rows, `to` has room for the lots.
#[inline(always)]
unsafe fn lots_of<S: Simd>(from: *const f32, [rows, keys]: [usize; 2], to: *mut f32) {
    for (lot, first) in (0..keys).step_by(gemm::PANEL).enumerate() {
        for row in 0..rows {
            for at in (0..gemm::PANEL).step_by(S::LANES) {
                // SAFETY: the mask ends with the row.
                unsafe {
                    let left = keys.saturating_sub(first + at);
                    let v = S::load_first(from.wrapping_add(row * keys + first + at), left);
                    S::store(to.add((lot * rows + row) * gemm::PANEL + at), v);
                }
            }
        }
    }
}
