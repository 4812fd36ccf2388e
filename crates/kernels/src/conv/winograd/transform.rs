//! The transforms of one tile, a vector of channels at a time, for the points 0, 1, -1, 2, -2 and
//! infinity.

use crate::simd::Simd;

use super::{SEEN, TILE};

/// A linear map from `A` to `B` vectors, applied along both sides of a square.
pub(super) trait Transform<const A: usize, const B: usize> {
    /// Along one side.
    ///
    /// # Safety
    /// Needs the instruction set of `S`.
    unsafe fn line<S: Simd>(x: [S::Vector; A]) -> [S::Vector; B];

    /// Along both.
    ///
    /// # Safety
    /// As for [`Transform::line`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn square<S: Simd>(x: &[[S::Vector; A]; A]) -> [[S::Vector; B]; B] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut half = [[S::splat(0.0); A]; B];
            for c in 0..A {
                let mut column = [S::splat(0.0); A];
                for r in 0..A {
                    column[r] = x[r][c];
                }
                let column = Self::line::<S>(column);
                for r in 0..B {
                    half[r][c] = column[r];
                }
            }
            let mut whole = [[S::splat(0.0); B]; B];
            for r in 0..B {
                whole[r] = Self::line::<S>(half[r]);
            }
            whole
        }
    }
}

/// `B^T d`: what a tile sees of the picture.
pub(super) struct Picture;

impl Transform<SEEN, SEEN> for Picture {
    #[inline(always)]
    unsafe fn line<S: Simd>(d: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (four, five) = (S::splat(4.0), S::splat(-5.0));
            let minus_four = S::splat(-4.0);
            let even = S::mul_add(minus_four, d[2], d[4]);
            let odd = S::mul_add(minus_four, d[1], d[3]);
            let outer = S::sub(d[4], d[2]);
            let inner = S::sub(d[3], d[1]);
            [
                S::mul_add(five, d[2], S::mul_add(four, d[0], d[4])),
                S::add(even, odd),
                S::sub(even, odd),
                S::mul_add(S::splat(2.0), inner, outer),
                S::mul_add(S::splat(-2.0), inner, outer),
                S::mul_add(five, d[3], S::mul_add(four, d[1], d[5])),
            ]
        }
    }
}

/// `G g`: the kernel.
pub(super) struct Taps;

impl Transform<3, SEEN> for Taps {
    #[inline(always)]
    unsafe fn line<S: Simd>(g: [S::Vector; 3]) -> [S::Vector; 6] {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (sixth, twelfth) = (S::splat(-1.0 / 6.0), S::splat(1.0 / 12.0));
            let ends = S::mul(S::add(g[0], g[2]), sixth);
            let outer = S::mul_add(S::splat(1.0 / 24.0), g[0], S::mul(S::splat(1.0 / 6.0), g[2]));
            [
                S::mul(S::splat(0.25), g[0]),
                S::mul_add(sixth, g[1], ends),
                S::mul_add(S::splat(1.0 / 6.0), g[1], ends),
                S::mul_add(twelfth, g[1], outer),
                S::mul_add(S::splat(-1.0 / 12.0), g[1], outer),
                g[2],
            ]
        }
    }
}

/// `A^T m`: the tile of the output.
pub(super) struct Tile;

impl Transform<SEEN, TILE> for Tile {
    #[inline(always)]
    unsafe fn line<S: Simd>(m: [S::Vector; 6]) -> [S::Vector; 4] {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (sum1, difference1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (sum2, difference2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            [
                S::add(S::add(m[0], sum1), sum2),
                S::mul_add(S::splat(2.0), difference2, difference1),
                S::mul_add(S::splat(4.0), sum2, sum1),
                S::add(S::mul_add(S::splat(8.0), difference2, difference1), m[5]),
            ]
        }
    }
}

/// `A y`: the gradient of a tile of the output.
pub(super) struct TileGradient;

impl Transform<TILE, SEEN> for TileGradient {
    #[inline(always)]
    unsafe fn line<S: Simd>(y: [S::Vector; 4]) -> [S::Vector; 6] {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
            let far_even = S::mul_add(S::splat(4.0), y[2], y[0]);
            let far_odd = S::mul_add(S::splat(8.0), y[3], S::mul(S::splat(2.0), y[1]));
            [
                y[0],
                S::add(even, odd),
                S::sub(even, odd),
                S::add(far_even, far_odd),
                S::sub(far_even, far_odd),
                y[3],
            ]
        }
    }
}

/// `G^T u`: the gradient of the kernel.
pub(super) struct TapsGradient;

impl Transform<SEEN, 3> for TapsGradient {
    #[inline(always)]
    unsafe fn line<S: Simd>(u: [S::Vector; 6]) -> [S::Vector; 3] {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let (near, near_odd) = (S::add(u[1], u[2]), S::sub(u[2], u[1]));
            let (far, far_odd) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
            let near = S::mul(S::splat(-1.0 / 6.0), near);
            [
                S::mul_add(S::splat(0.25), u[0], S::mul_add(S::splat(1.0 / 24.0), far, near)),
                S::mul_add(S::splat(1.0 / 6.0), near_odd, S::mul(S::splat(1.0 / 12.0), far_odd)),
                S::add(S::mul_add(S::splat(1.0 / 6.0), far, near), u[5]),
            ]
        }
    }
}
