//! Logarithm, sine and cosine in single precision from additions, multiplications and square roots
//! alone, so that a normal value has the same bits on every platform.
//!
//! The polynomials are those of S. L. Moshier's Cephes library (`logf.c`, `sinf.c`), which PyTorch's
//! vectorised CPU path evaluates too (`ATen/native/cpu/avx_mathfun.h`, there in J. Pommier's order of
//! operations). PyTorch's compiler contracts `a b + c` into one rounding; `FUSED` chooses whether
//! that is reproduced or, where only speed matters, `a b + c` is rounded twice.

#![allow(clippy::excessive_precision, reason = "coefficients as published")]

/// ln 2, split so that its first part times a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_375;
const LN_2_LOW: f32 = -2.121_944_40e-4;

/// ln(1 + x) = x - x^2 / 2 + x^3 P(x) on [sqrt(1/2) - 1, sqrt(2) - 1], highest power first.
const LOGARITHM: [f32; 9] = [
    7.037_683_629_2e-2,
    -1.151_461_031_0e-1,
    1.167_699_874_0e-1,
    -1.242_014_084_6e-1,
    1.424_932_278_7e-1,
    -1.666_805_766_5e-1,
    2.000_071_476_5e-1,
    -2.499_999_399_3e-1,
    3.333_333_117_4e-1,
];

/// pi / 4, split into three parts with trailing zeros (Cody and Waite).
const QUARTER_TURN: [f32; 3] =
    [0.785_156_25, 2.418_756_484_985_351_562_5e-4, 3.774_894_977_445_941_08e-8];

/// sin(x) = x + x^3 S(x^2) on [-pi / 4, pi / 4], highest power first.
const SINE: [f32; 3] = [-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1];

/// cos(x) = 1 - x^2 / 2 + x^4 C(x^2) on [-pi / 4, pi / 4], highest power first.
const COSINE: [f32; 3] =
    [2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3, 4.166_664_568_298_827e-2];

/// a b + c, rounded once if `FUSED` and twice otherwise.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Horner's scheme, highest power first.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut y = coefficients[0];
    for &c in &coefficients[1..] {
        y = multiply_add::<FUSED>(y, x, c);
    }
    y
}

/// Natural logarithm of a normal number x > 0.
#[inline(always)]
fn ln<const FUSED: bool>(x: f32) -> f32 {
    const FRACTION: u32 = 0x007f_ffff;
    const HALF: u32 = 0x3f00_0000;
    let bits = x.to_bits();
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
    let m = f32::from_bits((bits & FRACTION) | HALF);
    let small = m < std::f32::consts::FRAC_1_SQRT_2;
    let e = ((bits >> 23) as i32 - 126 - i32::from(small)) as f32;
    let r = (m - 1.0) + if small { m } else { 0.0 };

    let r2 = r * r;
    let mut y = polynomial::<FUSED, 9>(LOGARITHM, r) * r;
    y = multiply_add::<FUSED>(y, r2, e * LN_2_LOW);
    y = multiply_add::<FUSED>(-0.5, r2, y);
    multiply_add::<FUSED>(e, LN_2_HIGH, r + y)
}

/// Sine and cosine of 0 <= x < 8192.
#[inline(always)]
fn sin_cos<const FUSED: bool>(x: f32) -> (f32, f32) {
    const FOUR_OVER_PI: f32 = 1.273_239_5;
    // The nearest even multiple of pi / 4; bits 1 and 2 of it are the quadrant.
    let octant = ((x * FOUR_OVER_PI) as i32 + 1) & !1;
    let turns = octant as f32;
    let mut r = x;
    for part in QUARTER_TURN {
        r = multiply_add::<FUSED>(turns, -part, r);
    }

    let r2 = r * r;
    let sine = polynomial::<FUSED, 3>(SINE, r2) * r2;
    let sine = multiply_add::<FUSED>(sine, r, r);
    let cosine = polynomial::<FUSED, 3>(COSINE, r2) * r2;
    let cosine = multiply_add::<FUSED>(cosine, r2, -(0.5 * r2)) + 1.0;

    let swap = octant & 2 != 0;
    let (s, c) = if swap { (cosine, sine) } else { (sine, cosine) };
    let sign_of_sine = ((octant & 4) as u32) << 29;
    let sign_of_cosine = ((!(octant - 2) & 4) as u32) << 29;
    (f32::from_bits(s.to_bits() ^ sign_of_sine), f32::from_bits(c.to_bits() ^ sign_of_cosine))
}

/// Two independent standard normals from two uniforms (Box and Muller, 1958):
/// sqrt(-2 ln(1 - u1)) (cos(2 pi u2), sin(2 pi u2)).
///
/// `u1` and `u2` are multiples of 2^-24 in [0, 1); the result is within +-5.77.
#[inline(always)]
pub(crate) fn box_muller<const FUSED: bool>(u1: f32, u2: f32) -> (f32, f32) {
    let radius = (-2.0 * ln::<FUSED>(1.0 - u1)).sqrt();
    let (sine, cosine) = sin_cos::<FUSED>(std::f32::consts::TAU * u2);
    (radius * cosine, radius * sine)
}

/// The uniform in [0, 1) whose 24 bits are the low bits of `word`.
#[inline(always)]
pub(crate) fn uniform_24(word: u32) -> f32 {
    // Through i32: the unsigned conversion has no vector instruction before AVX-512.
    (word & 0x00ff_ffff) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const FUSED: bool>() {
        let n = 200_000;
        for i in 1..=n {
            let x = i as f32 / n as f32;
            let (got, want) = (f64::from(ln::<FUSED>(x)), f64::from(x).ln());
            assert!((got - want).abs() <= 2e-7 * want.abs(), "ln {x}: {got} {want}");
            let angle = std::f32::consts::TAU * x;
            let (s, c) = sin_cos::<FUSED>(angle);
            let (want_s, want_c) = f64::from(angle).sin_cos();
            assert!((f64::from(s) - want_s).abs() <= 1.2e-7, "sin {angle}");
            assert!((f64::from(c) - want_c).abs() <= 1.2e-7, "cos {angle}");
        }
    }

    #[test]
    fn elementary_functions_are_within_two_units_in_the_last_place() {
        check::<false>();
        check::<true>();
    }

    #[test]
    fn extremes_are_finite() {
        let largest = 1.0 - 1.0 / 16_777_216.0;
        for (u1, u2) in [(0.0, 0.0), (largest, 0.0), (largest, largest), (0.0, largest)] {
            let (a, b) = box_muller::<false>(u1, u2);
            assert!(a.is_finite() && b.is_finite() && a.hypot(b) < 5.78);
        }
        assert_eq!(uniform_24(u32::MAX), largest);
        assert_eq!(box_muller::<true>(0.0, 0.3), (0.0, 0.0));
    }
}
