//! Two feature maps put side by side, and the gradients of both.

use crate::{
    buffer::{Output, parallel},
    simd::{Isa, Kernel, Simd},
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;

/// Copies pieces of `len` numbers.
struct Copy {
    count: usize,
    len: usize,
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
}

impl Kernel for Copy {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // Pieces are often a few vectors long, where calls of `memcpy` would take most of the time.
        for piece in 0..self.count {
            let from = self.from.wrapping_add(piece * self.from_stride);
            let to = self.to.wrapping_add(piece * self.to_stride);
            for at in (0..self.len).step_by(S::LANES) {
                let left = self.len - at;
                // SAFETY: whoever made this has the pieces; the mask ends with each.
                unsafe { S::store_first(to.add(at), left, S::load_first(from.add(at), left)) };
            }
        }
    }
}

/// Two feature maps side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) pixels: usize,
    /// Channels of the one.
    pub(crate) first: usize,
    /// Channels of the other.
    pub(crate) second: usize,
}

impl Shape {
    /// Of `a` `[N, H, W, A]` and `b` `[N, H, W, B]`.
    pub(crate) fn new(a: [usize; 4], b: [usize; 4]) -> Self {
        assert_eq!(a[..3], b[..3], "concat: {a:?} and {b:?} differ in more than their channels");
        Self { pixels: a[0] * a[1] * a[2], first: a[3], second: b[3] }
    }
}

/// The channels of `a`, then those of `b`, pixel by pixel.
pub(crate) fn forward(isa: Isa, shape: &Shape, a: &[f32], b: &[f32]) -> Vec<f32> {
    let Shape { pixels, first, second } = *shape;
    assert!(a.len() == pixels * first && b.len() == pixels * second);
    let mut y = Output::new(a.len() + b.len());
    let to = y.pointer();
    let to_stride = first + second;
    parallel(pixels, GRAIN.div_ceil(to_stride.max(1)), |range| {
        for (from, len, offset) in [(a, first, 0), (b, second, first)] {
            let from = from[range.start * len..].as_ptr();
            let to = to.at(range.start * to_stride + offset);
            isa.run(Copy { count: range.len(), len, from, from_stride: len, to, to_stride });
        }
    });
    // SAFETY: every pixel was written by both.
    unsafe { y.finish() }
}

/// The gradients of both, given that of [`forward`]'s result.
pub(crate) fn backward(isa: Isa, shape: &Shape, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let Shape { pixels, first, second } = *shape;
    let from_stride = first + second;
    assert_eq!(dy.len(), pixels * from_stride);
    let [mut da, mut db] = [pixels * first, pixels * second].map(Output::new);
    let sides = [(da.pointer(), first, 0), (db.pointer(), second, first)];
    parallel(pixels, GRAIN.div_ceil(from_stride.max(1)), |range| {
        for (to, len, offset) in sides {
            let from = dy[range.start * from_stride + offset..].as_ptr();
            let to = to.at(range.start * len);
            isa.run(Copy { count: range.len(), len, from, from_stride, to, to_stride: len });
        }
    });
    // SAFETY: every pixel of both was written.
    unsafe { (da.finish(), db.finish()) }
}
