//! SiLU and its derivative.

use crate::{
    buffer::{Output, SharedMut, parallel},
    simd::{Isa, Kernel, Simd},
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;

/// `silu'(z) = s (1 + z (1 - s))` with `s = sigmoid(z)`.
#[inline(always)]
pub(crate) unsafe fn silu_slope<S: Simd>(z: S::Vector) -> S::Vector {
    // SAFETY: arithmetic on registers only.
    unsafe {
        let one = S::splat(1.0);
        let s = S::sigmoid(z);
        S::mul(s, S::mul_add(z, S::sub(one, s), one))
    }
}

struct Silu<'a> {
    x: &'a [f32],
    /// The gradient of the result; where it is given, that of `x` is computed.
    gradient: Option<&'a [f32]>,
    to: SharedMut,
}

impl Kernel for Silu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for at in (0..self.x.len()).step_by(S::LANES) {
            let left = self.x.len() - at;
            // SAFETY: the left ends with the slices, which are equally long, as is `to`.
            unsafe {
                let x = S::load_first(self.x.as_ptr().add(at), left);
                let y = match self.gradient {
                    None => S::mul(x, S::sigmoid(x)),
                    Some(gradient) => {
                        let dy = S::load_first(gradient.as_ptr().add(at), left);
                        S::mul(dy, silu_slope::<S>(x))
                    }
                };
                S::store_first(self.to.at(at), left, y);
            }
        }
    }
}

/// `x * sigmoid(x)`.
pub(crate) fn forward(isa: Isa, x: &[f32]) -> Vec<f32> {
    run(isa, x, None)
}

/// The gradient of `x`, given that of the result.
pub(crate) fn backward(isa: Isa, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), gradient.len());
    run(isa, x, Some(gradient))
}

fn run(isa: Isa, x: &[f32], gradient: Option<&[f32]>) -> Vec<f32> {
    let mut y = Output::new(x.len());
    let to = y.pointer();
    parallel(x.len(), GRAIN, |range| {
        let to = to.from(range.start);
        isa.run(Silu { x: &x[range.clone()], gradient: gradient.map(|g| &g[range]), to });
    });
    // SAFETY: the ranges cover the output, and each was written whole.
    unsafe { y.finish() }
}
