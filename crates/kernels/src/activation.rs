//! Activations and their derivatives, element by element, and the gated one.

use crate::{
    Gelu,
    buffer::{Output, SharedMut, parallel},
    simd::{Isa, Kernel, Simd},
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;

/// Which function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Silu,
    Gelu(Gelu),
}

/// A function of a vector, lane by lane, and its derivative.
trait Lanes {
    unsafe fn value<S: Simd>(x: S::Vector) -> S::Vector;
    unsafe fn slope<S: Simd>(x: S::Vector) -> S::Vector;
}

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

struct Silu;

impl Lanes for Silu {
    #[inline(always)]
    unsafe fn value<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe { S::mul(x, S::sigmoid(x)) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe { silu_slope::<S>(x) }
    }
}

/// `|x|`, at most 100, and with it `e^(-x^2 / 2)` and `P(X > |x|)` for a standard normal X, within 1e-6 of it,
/// relative, for `|x|` up to 5.
#[inline(always)]
unsafe fn normal_tail<S: Simd>(x: S::Vector) -> (S::Vector, S::Vector, S::Vector) {
    // The tail is e^(-a^2 / 2) times t times a polynomial of t = 1 / (1 + 0.35 a): the form of Abramowitz and
    // Stegun 26.2.17 with three terms more, fitted to the least relative error (3e-8) for a up to 14.
    const P: [f32; 9] = [
        -0.029_145_93,
        0.143_971_7,
        -0.255_714_24,
        0.159_174_16,
        -0.023_109_83,
        0.105_508,
        0.119_832_866,
        0.139_861_87,
        0.139_621_4,
    ];
    // SAFETY: arithmetic on registers only.
    unsafe {
        // In this order of arguments a NaN stays one. The bound keeps infinity times no tail from being one.
        let a = S::min(S::splat(100.0), S::max(S::sub(S::splat(0.0), x), x));
        let t = S::recip(S::mul_add(S::splat(0.35), a, S::splat(1.0)));
        let mut p = S::splat(P[0]);
        for &coefficient in &P[1..] {
            p = S::mul_add(p, t, S::splat(coefficient));
        }
        let bell = S::exp(S::mul(S::mul(a, a), S::splat(-0.5)));
        (a, bell, S::mul(S::mul(p, t), bell))
    }
}

struct ExactGelu;

impl Lanes for ExactGelu {
    #[inline(always)]
    unsafe fn value<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (a, _, tail) = normal_tail::<S>(x);
            S::sub(S::max(S::splat(0.0), x), S::mul(a, tail))
        }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (_, bell, tail) = normal_tail::<S>(x);
            let size = S::max(S::sub(S::splat(0.0), x), x);
            let sign = S::div(x, S::max(S::splat(1e-30), size));
            let half = S::splat(0.5);
            let below = S::mul_add(sign, S::sub(half, tail), half);
            // The density is the bell divided by the root of two pi.
            S::mul_add(S::mul(x, S::splat(0.398_942_3)), bell, below)
        }
    }
}

struct TanhGelu;

/// `2 sqrt(2 / pi)`, which makes the hyperbolic tangent a sigmoid.
const TANH_SCALE: f32 = 1.595_769_1;
const TANH_CUBE: f32 = 0.044_715;

impl Lanes for TanhGelu {
    #[inline(always)]
    unsafe fn value<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let square = S::mul(x, x);
            let inner = S::mul_add(S::splat(TANH_SCALE * TANH_CUBE), square, S::splat(TANH_SCALE));
            S::mul(x, S::sigmoid(S::mul(x, inner)))
        }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (square, scale) = (S::mul(x, x), S::splat(TANH_SCALE));
            let inner = S::mul_add(S::splat(TANH_SCALE * TANH_CUBE), square, scale);
            let rise = S::mul_add(S::splat(3.0 * TANH_SCALE * TANH_CUBE), square, scale);
            let s = S::sigmoid(S::mul(x, inner));
            let spread = S::mul(s, S::sub(S::splat(1.0), s));
            S::mul_add(S::mul(x, spread), rise, s)
        }
    }
}

struct QuickGelu;

const QUICK_SCALE: f32 = 1.702;

impl Lanes for QuickGelu {
    #[inline(always)]
    unsafe fn value<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe { S::mul(x, S::sigmoid(S::mul(x, S::splat(QUICK_SCALE)))) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(x: S::Vector) -> S::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let z = S::mul(x, S::splat(QUICK_SCALE));
            let s = S::sigmoid(z);
            S::mul(s, S::mul_add(z, S::sub(S::splat(1.0), s), S::splat(1.0)))
        }
    }
}

/// The function of each number or, given the gradient of the result, the gradient of `x`.
struct Each<'a> {
    function: Function,
    x: &'a [f32],
    gradient: Option<&'a [f32]>,
    to: SharedMut,
}

impl Kernel for Each<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match self.function {
            Function::Silu => self.all::<S, Silu>(),
            Function::Gelu(Gelu::Exact) => self.all::<S, ExactGelu>(),
            Function::Gelu(Gelu::Tanh) => self.all::<S, TanhGelu>(),
            Function::Gelu(Gelu::Quick) => self.all::<S, QuickGelu>(),
        }
    }
}

impl Each<'_> {
    #[inline(always)]
    fn all<S: Simd, F: Lanes>(self) {
        for at in (0..self.x.len()).step_by(S::LANES) {
            let left = self.x.len() - at;
            // SAFETY: the left ends with the slices, which are equally long, as is `to`.
            unsafe {
                let x = S::load_first(self.x.as_ptr().add(at), left);
                let y = match self.gradient {
                    None => F::value::<S>(x),
                    Some(gradient) => {
                        let dy = S::load_first(gradient.as_ptr().add(at), left);
                        S::mul(dy, F::slope::<S>(x))
                    }
                };
                S::store_first(self.to.at(at), left, y);
            }
        }
    }
}

/// The function of each number.
pub(crate) fn forward(isa: Isa, function: Function, x: &[f32]) -> Vec<f32> {
    run(isa, function, x, None)
}

/// The gradient of `x`, given that of the result.
pub(crate) fn backward(isa: Isa, function: Function, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), gradient.len());
    run(isa, function, x, Some(gradient))
}

fn run(isa: Isa, function: Function, x: &[f32], gradient: Option<&[f32]>) -> Vec<f32> {
    let mut y = Output::new(x.len());
    let to = y.pointer();
    parallel(x.len(), GRAIN, |range| {
        let to = to.from(range.start);
        let gradient = gradient.map(|g| &g[range.clone()]);
        isa.run(Each { function, x: &x[range], gradient, to });
    });
    // SAFETY: the ranges cover the output, and each was written whole.
    unsafe { y.finish() }
}

/// Rows of a gated unit: `a gelu(b)` with `a` and `b` the halves of a row or, given the gradient of that, the
/// gradients of both.
struct Gated<'a> {
    /// Whole rows.
    x: &'a [f32],
    half: usize,
    gradient: Option<&'a [f32]>,
    to: SharedMut,
}

impl Kernel for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let half = self.half;
        for (i, row) in self.x.chunks_exact(2 * half).enumerate() {
            for at in (0..half).step_by(S::LANES) {
                let left = half - at;
                // SAFETY: the masks end with each half.
                unsafe {
                    let a = S::load_first(row.as_ptr().add(at), left);
                    let b = S::load_first(row.as_ptr().add(half + at), left);
                    let gate = ExactGelu::value::<S>(b);
                    let Some(gradient) = self.gradient else {
                        S::store_first(self.to.at(i * half + at), left, S::mul(a, gate));
                        continue;
                    };
                    let dy = S::load_first(gradient.as_ptr().add(i * half + at), left);
                    let to = self.to.from(2 * i * half + at);
                    S::store_first(to.at(0), left, S::mul(dy, gate));
                    let db = S::mul(S::mul(dy, a), ExactGelu::slope::<S>(b));
                    S::store_first(to.at(half), left, db);
                }
            }
        }
    }
}

/// The first half of each row times the exact Gaussian error linear unit of the second, `half` numbers each.
pub(crate) fn geglu(isa: Isa, x: &[f32], half: usize) -> Vec<f32> {
    gated(isa, x, half, None)
}

/// The gradient of `x`, given that of the result.
pub(crate) fn geglu_backward(isa: Isa, x: &[f32], half: usize, gradient: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), 2 * gradient.len());
    gated(isa, x, half, Some(gradient))
}

fn gated(isa: Isa, x: &[f32], half: usize, gradient: Option<&[f32]>) -> Vec<f32> {
    assert!(half > 0 && x.len().is_multiple_of(2 * half));
    let rows = x.len() / (2 * half);
    let width = if gradient.is_some() { 2 * half } else { half };
    let mut y = Output::new(rows * width);
    let to = y.pointer();
    parallel(rows, GRAIN / (2 * half) + 1, |rows| {
        let gradient = gradient.map(|g| &g[rows.start * half..rows.end * half]);
        let to = to.from(rows.start * width);
        isa.run(Gated { x: &x[rows.start * 2 * half..rows.end * 2 * half], half, gradient, to });
    });
    // SAFETY: the ranges cover the output, and each was written whole.
    unsafe { y.finish() }
}
