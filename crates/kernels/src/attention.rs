//! Scaled dot-product attention and its gradients, a block of queries at a time: the forward pass never
//! holds more scores than fit into the cache (Dao et al. 2022, FlashAttention, algorithm 1), the backward
//! pass no more than those of a block. The latter computes the weights anew from each row's largest score
//! and sum.

mod backward;
mod forward;

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel, transpose},
    gemm::{Product, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

pub(crate) use backward::backward;
pub(crate) use forward::forward;

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
/// panels; where it is to `resume`, the product is added to what is there.
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
    resume: bool,
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
            unsafe {
                multiply::<S>(&pointers, &list, &Product { resume: resume || first > 0, ..product })
            };
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
