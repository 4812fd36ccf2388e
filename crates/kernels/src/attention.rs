//! Scaled dot-product attention and its gradients, a block of queries at a time: no more than the
//! scores of a block are ever held (Dao et al. 2022, FlashAttention, keeps less still; here a
//! block's scores fit into the cache). The backward pass computes the weights anew from each
//! row's largest score and sum.

mod backward;

use std::ops::Range;

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel, transpose},
    gemm::{Product, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

pub(crate) use backward::backward;

/// Queries to a block.
const BLOCK: usize = 64;
/// Columns to a panel.
const PANEL: usize = 32;
/// Keys whose values pass by together.
const DEPTH: usize = 256;

/// The shape of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) samples: usize,
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Numbers to a query or key.
    pub(crate) width: usize,
}

impl Shape {
    /// Of `q` `[N, T, H, D]`, `k` and `v` `[N, S, H, D]`.
    pub(crate) fn new(q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Self {
        let fits = k == v && (q[0], q[2], q[3]) == (k[0], k[2], k[3]);
        assert!(fits, "attention: queries {q:?} do not fit keys {k:?} and values {v:?}");
        assert!(k[1] * k[3] > 0, "attention: expected keys and numbers in them, got {k:?}");
        Self { samples: q[0], heads: q[2], queries: q[1], keys: k[1], width: q[3] }
    }

    fn scale(&self) -> f32 {
        (self.width as f64).powf(-0.5) as f32
    }

    /// Numbers from one token to the next.
    fn token(&self) -> usize {
        self.heads * self.width
    }

    /// Where the tokens of a head of a sample begin, of `tokens` to a sample.
    fn head(&self, head: usize, tokens: usize) -> usize {
        (head / self.heads * tokens * self.heads + head % self.heads) * self.width
    }

    fn check(&self, q: &[f32], k: &[f32], v: &[f32]) {
        let each = self.samples * self.token();
        assert!(q.len() == each * self.queries);
        assert!(k.len() == each * self.keys && v.len() == k.len());
    }

    /// Keys, or numbers to a key, in whole panels.
    fn padded(&self) -> (usize, usize) {
        (self.keys.next_multiple_of(PANEL), self.width.next_multiple_of(PANEL))
    }
}

/// What a matrix of tokens is as the right-hand side of a product.
#[derive(Clone, Copy)]
enum Side {
    /// `[tokens, width]`, in panels of `PANEL` columns.
    Plain,
    /// Its transpose, `[width, tokens]`.
    Turned,
}

/// Lays one head's tokens out in panels filled up with zeros.
///
/// # Safety
/// `from` holds `tokens` rows of `width` that are `stride` apart; `to` has room for the panels.
#[inline(always)]
unsafe fn pack<S: Simd>(
    from: *const f32,
    [tokens, width, stride]: [usize; 3],
    side: Side,
    to: *mut f32,
) {
    let (rows, all) = match side {
        Side::Plain => (tokens, width),
        Side::Turned => (width, tokens),
    };
    for first in (0..all).step_by(PANEL) {
        let count = PANEL.min(all - first);
        // SAFETY: the caller's promise.
        unsafe {
            let to = to.add(first * rows);
            if count < PANEL {
                std::slice::from_raw_parts_mut(to, rows * PANEL).fill(0.0);
            }
            match side {
                Side::Plain => {
                    for row in 0..rows {
                        let from = from.add(row * stride + first);
                        from.copy_to_nonoverlapping(to.add(row * PANEL), count);
                    }
                }
                Side::Turned => {
                    let from = (from.add(first * stride), stride);
                    transpose::<S>(from, count, rows, (to, PANEL));
                }
            }
        }
    }
}

/// `to = left right` for `rows` rows on the left, where the right-hand side is `[depth, width]` in
/// panels.
///
/// # Safety
/// The operands are that large, and no other thread touches the result.
#[inline(always)]
unsafe fn matmul<S: Simd>(
    (left, left_stride): (*const f32, usize),
    rows: usize,
    right: *const f32,
    [depth, width]: [usize; 2],
    (to, stride): (*mut f32, usize),
) {
    let (mut list, mut pointers) = (Vec::new(), Vec::with_capacity(rows));
    for first in (0..depth).step_by(DEPTH) {
        pointers.clear();
        pointers.extend((0..rows).map(|row| left.wrapping_add(row * left_stride + first)));
        for panel in (0..width).step_by(PANEL) {
            list.clear();
            let right = right.wrapping_add(panel * depth + first * PANEL);
            columns::<S>(&mut list, right, to.wrapping_add(panel), PANEL.min(width - panel));
            let product = Product::new(PANEL, DEPTH.min(depth - first), stride);
            // SAFETY: the caller's promise.
            unsafe { multiply::<S>(&pointers, &list, &Product { resume: first > 0, ..product }) };
        }
    }
}

/// The panels of all heads' keys or values, `len` numbers to a head.
struct Panels<'a> {
    shape: &'a Shape,
    tokens: &'a [f32],
    side: Side,
    heads: Range<usize>,
    to: SharedMut,
    len: usize,
}

impl Kernel for Panels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let s = self.shape;
        for head in self.heads {
            // SAFETY: the tokens of this head, and its own panels.
            unsafe {
                let from = self.tokens.as_ptr().add(s.head(head, s.keys));
                let to = self.to.at(head * self.len);
                pack::<S>(from, [s.keys, s.width, s.token()], self.side, to);
            }
        }
    }
}

/// Panels of all heads, packed by all threads.
fn panels(isa: Isa, shape: &Shape, tokens: &[f32], side: Side) -> (Scratch, usize) {
    let (keys, width) = shape.padded();
    let len = match side {
        Side::Plain => shape.keys * width,
        Side::Turned => shape.width * keys,
    };
    let all = shape.samples * shape.heads;
    let mut packed = Scratch::take(all * len);
    let to = SharedMut::new(packed.slice());
    parallel(all, (1 << 14) / len.max(1) + 1, |heads| {
        isa.run(Panels { shape, tokens, side, heads, to, len });
    });
    (packed, len)
}

/// Turns scores into `exp(scale (score - top))` in place, row by row, and notes each row's top and
/// the reciprocal of its sum.
///
/// # Safety
/// `scores` holds `rows` rows of `width`, `notes` has room for two numbers to a row.
#[inline(always)]
unsafe fn exponents<S: Simd>(
    scores: *mut f32,
    [rows, width]: [usize; 2],
    scale: f32,
    notes: *mut f32,
) {
    for row in 0..rows {
        let scores = scores.wrapping_add(row * width);
        let steps = || (0..width).step_by(S::LANES).map(|at| (scores.wrapping_add(at), width - at));
        // SAFETY: the masks end with the row.
        unsafe {
            let mut tops = S::splat(f32::NEG_INFINITY);
            let whole = width / S::LANES * S::LANES;
            for at in (0..whole).step_by(S::LANES) {
                tops = S::max(tops, S::load(scores.add(at)));
            }
            let mut lanes = [f32::NEG_INFINITY; 16];
            S::store(lanes.as_mut_ptr(), tops);
            let rest = std::slice::from_raw_parts(scores.add(whole), width - whole);
            let larger = |a: f32, &b: &f32| if b > a { b } else { a };
            let top = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, larger);
            let (factor, centre) = (S::splat(scale), S::splat(top));
            let mut sum = S::splat(0.0);
            for (at, left) in steps() {
                let v = S::mul(S::sub(S::load_first(at, left), centre), factor);
                let v = S::keep_first(S::exp(v), left);
                sum = S::add(sum, v);
                S::store_first(at, left, v);
            }
            *notes.add(2 * row) = top;
            *notes.add(2 * row + 1) = 1.0 / S::sum(sum);
        }
    }
}

/// The attended values, and for each head and query the top score and the reciprocal of the sum of
/// the exponents, which [`backward`] wants.
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
    let (mut k, k_len) = panels(isa, shape, k, Side::Turned);
    let (mut v, v_len) = panels(isa, shape, v, Side::Plain);
    let [k, v] = [&mut k, &mut v].map(|s| SharedMut::new(s.slice()));
    let (y_to, notes_to) = (y.pointer(), notes.pointer());
    let parts = shape.queries.div_ceil(BLOCK);
    let work = BLOCK.min(shape.queries) * shape.keys * shape.width;
    parallel(heads * parts, (1 << 18) / work.max(1) + 1, |tasks| {
        isa.run(Forward {
            shape,
            tasks,
            q,
            k: (k, k_len),
            v: (v, v_len),
            y: y_to,
            notes: notes_to,
        });
    });
    // SAFETY: the tasks cover both, and each was written whole.
    unsafe { (y.finish(), notes.finish()) }
}

/// Task `i` is a block of queries of head `i / blocks`.
struct Forward<'a> {
    shape: &'a Shape,
    tasks: Range<usize>,
    q: &'a [f32],
    k: (SharedMut, usize),
    v: (SharedMut, usize),
    y: SharedMut,
    notes: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { queries, keys, width, .. } = *self.shape;
        let (token, parts) = (self.shape.token(), queries.div_ceil(BLOCK));
        let mut scores = Scratch::take(BLOCK * keys);
        for task in self.tasks {
            let (head, first) = (task / parts, task % parts * BLOCK);
            let rows = BLOCK.min(queries - first);
            let at = self.shape.head(head, queries) + first * token;
            // SAFETY: this task's own rows of the result and of the notes.
            unsafe {
                let q = (self.q.as_ptr().add(at), token);
                let k = self.k.0.at(head * self.k.1);
                let v = self.v.0.at(head * self.v.1);
                let notes = self.notes.at(2 * (head * queries + first));
                let y = (self.y.at(at), token);
                matmul::<S>(q, rows, k, [width, keys], (scores.pointer(), keys));
                exponents::<S>(scores.pointer(), [rows, keys], self.shape.scale(), notes);
                let weights = (scores.pointer().cast_const(), keys);
                matmul::<S>(weights, rows, v, [keys, width], y);
                for row in 0..rows {
                    let factor = S::splat(*notes.add(2 * row + 1));
                    for at in (0..width).step_by(S::LANES) {
                        let (to, left) = (y.0.add(row * token + at), width - at);
                        S::store_first(to, left, S::mul(S::load_first(to, left), factor));
                    }
                }
            }
        }
    }
}
