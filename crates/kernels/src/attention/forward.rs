//! The attended values. Scores are held turned, a row for each key and a lane for each query, so that the
//! products fill every vector whatever the width of a head, and the softmax runs down the columns.

use std::ops::Range;

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel, transpose},
    simd::{Isa, Kernel, Simd},
};

use super::{BLOCK, PANEL, Shape, Side, matmul, pack};

/// Keys whose scores are held at a time: with [`PANEL`] queries they fill the first cache.
const SPAN: usize = 256;
/// From one row of the turned values to the next: not a multiple of a page, or all rows would fall on the same
/// few places of the cache.
const PITCH: usize = SPAN + 16;

/// The attended values, and for each head and query the top score and the reciprocal of the sum of
/// the exponents, which [`super::backward`] wants.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    shape.check(q, k, v);
    let heads = shape.samples * shape.heads;
    let mut y = Output::new(q.len());
    let mut notes = Output::new(2 * heads * shape.queries);
    let len = shape.keys.div_ceil(SPAN) * shape.width * PITCH;
    let mut turned = Scratch::take(heads * len);
    let values = SharedMut::new(turned.slice());
    parallel(heads, (1 << 14) / len.max(1) + 1, |heads| {
        isa.run(Turn { shape, v, heads, to: values, len });
    });
    let (y_to, notes_to) = (y.pointer(), notes.pointer());
    let parts = shape.queries.div_ceil(BLOCK);
    let work = BLOCK.min(shape.queries) * shape.keys * shape.width;
    parallel(heads * parts, (1 << 18) / work.max(1) + 1, |tasks| {
        let values = (values, len);
        isa.run(Forward { shape, tasks, q, k, values, y: y_to, notes: notes_to });
    });
    // SAFETY: the tasks cover both, and each was written whole.
    unsafe { (y.finish(), notes.finish()) }
}

/// Turns the values of some heads, `[span][width][PITCH]` for each.
struct Turn<'a> {
    shape: &'a Shape,
    v: &'a [f32],
    heads: Range<usize>,
    to: SharedMut,
    len: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { keys, width, .. } = *self.shape;
        let token = self.shape.token();
        for head in self.heads {
            let at = self.shape.head(head, keys);
            for (span, first) in (0..keys).step_by(SPAN).enumerate() {
                let count = SPAN.min(keys - first);
                let to = self.to.at(head * self.len + span * width * PITCH);
                // SAFETY: the values of this head, and its own place.
                unsafe {
                    let from = self.v.as_ptr().add(at + first * token);
                    transpose::<S>((from, token), count, width, (to, PITCH));
                }
            }
        }
    }
}

/// Task `i` is a block of queries of head `i / blocks`.
struct Forward<'a> {
    shape: &'a Shape,
    tasks: Range<usize>,
    q: &'a [f32],
    k: &'a [f32],
    /// Turned, with the length of a head's.
    values: (SharedMut, usize),
    y: SharedMut,
    notes: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { queries, keys, width, .. } = *self.shape;
        let (token, parts) = (self.shape.token(), queries.div_ceil(BLOCK));
        let mut q_panels = Scratch::take(BLOCK * width);
        let mut scores = Scratch::take(SPAN * PANEL);
        let mut sums = Scratch::take(width * BLOCK);
        let mut state = Scratch::take(2 * BLOCK);
        for task in self.tasks.clone() {
            let (head, first) = (task / parts, task % parts * BLOCK);
            let rows = BLOCK.min(queries - first);
            let at = self.shape.head(head, queries) + first * token;
            let whole = rows.next_multiple_of(S::LANES);
            // SAFETY: this task's own rows of the result and of the notes; the scratch holds a block.
            unsafe {
                let q = self.q.as_ptr().add(at);
                pack::<S>(q, [rows, width, token], Side::Turned, q_panels.pointer());
                let k = self.k.as_ptr().add(self.shape.head(head, keys));
                for (span, begin) in (0..keys).step_by(SPAN).enumerate() {
                    let count = SPAN.min(keys - begin);
                    let place = self.values.0.at(head * self.values.1 + span * width * PITCH);
                    for panel in (0..whole).step_by(PANEL) {
                        let wide = PANEL.min(whole - panel);
                        let (scores, sums) = (scores.pointer(), sums.pointer().add(panel));
                        let right = q_panels.pointer().add(panel * width).cast_const();
                        let left = (k.add(begin * token), token);
                        matmul::<S>(left, count, right, [width, wide], (scores, PANEL), false);
                        let state = state.pointer().add(panel);
                        let extents = [count, wide, width];
                        weigh::<S>(scores, extents, self.shape.scale(), (state, sums), span > 0);
                        let (left, right) = ((place.cast_const(), PITCH), scores.cast_const());
                        let to = (sums, BLOCK);
                        matmul::<S>(left, width, right, [count, wide], to, span > 0);
                    }
                }
                let notes = self.notes.at(2 * (head * queries + first));
                let state = state.pointer();
                for at in (0..whole).step_by(S::LANES) {
                    let sum = state.add(BLOCK + at);
                    let factor = S::div(S::splat(1.0), S::load(sum));
                    S::store(sum, factor);
                    for row in 0..width {
                        let place = sums.pointer().add(row * BLOCK + at);
                        S::store(place, S::mul(S::load(place), factor));
                    }
                }
                for row in 0..rows {
                    *notes.add(2 * row) = *state.add(row);
                    *notes.add(2 * row + 1) = *state.add(BLOCK + row);
                }
                let from = (sums.pointer().cast_const(), BLOCK);
                transpose::<S>(from, width, rows, (self.y.at(at), token));
            }
        }
    }
}

/// Turns the scores of some queries into `exp(scale (score - top))` in place, where top is the greatest score
/// so far, notes it and adds to the sum of the exponents; what was summed before is scaled to the new top.
///
/// # Safety
/// `scores` holds `keys` rows of [`PANEL`], of which `queries` count, whole vectors; `state` the tops and, a
/// block further, the sums; `sums` holds `width` rows of [`BLOCK`].
#[inline(always)]
unsafe fn weigh<S: Simd>(
    scores: *mut f32,
    [keys, queries, width]: [usize; 3],
    scale: f32,
    (state, sums): (*mut f32, *mut f32),
    resume: bool,
) {
    for at in (0..queries).step_by(S::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut top = S::splat(f32::NEG_INFINITY);
            for key in 0..keys {
                top = S::max(top, S::load(scores.add(key * PANEL + at)));
            }
            let factor = S::splat(scale);
            let (tops, totals) = (state.add(at), state.add(BLOCK + at));
            let mut total = S::splat(0.0);
            if resume {
                let old = S::load(tops);
                top = S::max(old, top);
                let shrink = S::exp(S::mul(S::sub(old, top), factor));
                total = S::mul(S::load(totals), shrink);
                for row in 0..width {
                    let place = sums.add(row * BLOCK + at);
                    S::store(place, S::mul(S::load(place), shrink));
                }
            }
            let mut sum = S::splat(0.0);
            for key in 0..keys {
                let place = scores.add(key * PANEL + at);
                let weight = S::exp(S::mul(S::sub(S::load(place), top), factor));
                sum = S::add(sum, weight);
                S::store(place, weight);
            }
            S::store(tops, top);
            S::store(totals, S::add(total, sum));
        }
    }
}
