//! Each method is one instruction of its set, or nearly.
use super::{Kernel, Simd, run_avx2, run_avx512};
use std::arch::x86_64::*;

/// Eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Bits of a mask spread to whole lanes.
#[inline(always)]
unsafe fn spread(bits: u32) -> __m256i {
    // SAFETY: arithmetic on registers only; the caller has AVX2.
    unsafe {
        let lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits as i32), lane), lane)
    }
}

/// [`Simd::turn8`]: pairs, then quads, then halves change places.
#[inline(always)]
unsafe fn turn8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller has AVX2 and both blocks.
    unsafe {
        let mut pairs = [_mm256_setzero_ps(); 8];
        for i in (0..8).step_by(2) {
            let a = _mm256_loadu_ps(from.add(i * from_stride));
            let b = _mm256_loadu_ps(from.add((i + 1) * from_stride));
            pairs[i] = _mm256_unpacklo_ps(a, b);
            pairs[i + 1] = _mm256_unpackhi_ps(a, b);
        }
        let mut quads = [_mm256_setzero_ps(); 8];
        for i in [0, 1, 4, 5] {
            let (a, b) = (pairs[i], pairs[i + 2]);
            let to = i / 4 * 4 + i % 4 * 2;
            quads[to] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            quads[to + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        }
        for i in 0..4 {
            let (a, b) = (quads[i], quads[i + 4]);
            _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}

// SAFETY (all methods): the trait's contract; the loads and stores take any alignment, and the
// masked ones touch no lane whose bit is clear.
impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f32, bits: u32) -> __m256 {
        unsafe { _mm256_maskload_ps(from, spread(bits)) }
    }
    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, bits: u32, v: __m256) {
        unsafe { _mm256_maskstore_ps(to, spread(bits), v) }
    }
    #[inline(always)]
    unsafe fn keep(v: __m256, bits: u32) -> __m256 {
        unsafe { _mm256_and_ps(v, _mm256_castsi256_ps(spread(bits))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { run_avx2(kernel) }
    }
    #[inline(always)]
    unsafe fn turn8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { turn8(from, from_stride, to, to_stride) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(v: __m256, n: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }
}

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY (all methods): as for `Avx2`.
impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f32, bits: u32) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(bits as __mmask16, from) }
    }
    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, bits: u32, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(to, bits as __mmask16, v) }
    }
    #[inline(always)]
    unsafe fn keep(v: __m512, bits: u32) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(bits as __mmask16, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn recip(v: __m512) -> __m512 {
        // Fourteen bits from a table, then one step of Newton's: several times faster than dividing.
        unsafe {
            let guess = _mm512_rcp14_ps(v);
            let error = _mm512_fnmadd_ps(v, guess, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(guess, error, guess)
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        unsafe {
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v));
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
            let v = _mm512_castps512_ps128(v);
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { run_avx512(kernel) }
    }
    #[inline(always)]
    unsafe fn turn8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { turn8(from, from_stride, to, to_stride) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(v: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(v, n) }
    }
}
