//! Vectors of `f32`, one implementation for each instruction set, chosen when the program runs.

use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Whatever the compiler makes of plain arrays (SSE2 on x86-64, NEON on 64-bit Arm).
    Portable,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512, foundation only.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Every instruction set that this processor has, the best one last.
    pub(crate) fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                sets.push(Self::Avx2);
            }
            if avx2 && is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
        }
        sets
    }

    /// The best instruction set that this processor has.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::Portable))
    }

    /// Numbers to a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Avx512::LANES,
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run::<Portable>(),
            // SAFETY: a value of this variant only comes from `available`, which asked the
            // processor for these features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

/// A computation written once for all instruction sets; `run` must be `#[inline(always)]`, so that
/// it is compiled inside the function that has the features switched on.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// Does the work.
    fn run<S: Simd>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<x86::Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<x86::Avx512>()
}

/// The vector operations that the kernels are made of.
///
/// # Safety
/// Every method needs the instruction set of its implementor, which [`Isa::run`] sees to. The
/// pointers must be valid for the lanes that are read or written; lanes that a mask leaves out are
/// never touched.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A register of `LANES` numbers.
    type Vector: Copy;
    /// Numbers to a register.
    const LANES: usize;
    /// Rows of a matrix-product tile that fill the register file, two vectors wide.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, v: Self::Vector);
    /// The lanes whose bit is set; the others are zero.
    unsafe fn load_masked(from: *const f32, bits: u32) -> Self::Vector;
    unsafe fn store_masked(to: *mut f32, bits: u32, v: Self::Vector);
    /// Zeroes the lanes whose bit is not set.
    unsafe fn keep(v: Self::Vector, bits: u32) -> Self::Vector;
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sqrt(a: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the hardware can.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The sum of the lanes, always in the same order.
    unsafe fn sum(v: Self::Vector) -> f32;
    /// Runs another kernel, compiled by itself: what is inlined into one function too often is
    /// in the end not inlined at all, and vectors then travel through memory.
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output;
    /// Writes the transpose of the 8 by 8 block at `from` to `to`.
    unsafe fn turn8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// `v * 2^n` for whole numbers `n` from -126 to 127.
    unsafe fn times_power_of_two(v: Self::Vector, n: Self::Vector) -> Self::Vector;

    /// The mask of the first `n` lanes, all of them for `n >= LANES`.
    #[inline(always)]
    fn first(n: usize) -> u32 {
        ((1u64 << n.min(Self::LANES)) - 1) as u32
    }

    /// The first `n` lanes, all of them for `n >= LANES`; the others are zero.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe {
            if n >= Self::LANES {
                Self::load(from)
            } else {
                Self::load_masked(from, Self::first(n))
            }
        }
    }

    /// Stores the first `n` lanes, all of them for `n >= LANES`.
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, n: usize, v: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe {
            if n >= Self::LANES {
                Self::store(to, v);
            } else {
                Self::store_masked(to, Self::first(n), v);
            }
        }
    }

    /// Zeroes all lanes but the first `n`.
    #[inline(always)]
    unsafe fn keep_first(v: Self::Vector, n: usize) -> Self::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe { if n >= Self::LANES { v } else { Self::keep(v, Self::first(n)) } }
    }

    /// `e^v`, to about one unit in the last place; the argument is held within [-87.3, 88.3].
    #[inline(always)]
    unsafe fn exp(v: Self::Vector) -> Self::Vector {
        // Adding and taking away 1.5 * 2^23 rounds to a whole number.
        const ROUND: f32 = 12_582_912.0;
        // ln 2 in two parts, the first with few enough bits that its product with n is exact.
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        // Minimax polynomial of (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2] (Cephes expf).
        const P: [f32; 6] =
            [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        // SAFETY: arithmetic on registers only.
        unsafe {
            // In this order of arguments a NaN stays one.
            let v = Self::min(Self::splat(88.3), Self::max(Self::splat(-87.3), v));
            let round = Self::splat(ROUND);
            let n = Self::mul_add(v, Self::splat(std::f32::consts::LOG2_E), round);
            let n = Self::sub(n, round);
            let r = Self::mul_add(n, Self::splat(-LN2_HIGH), v);
            let r = Self::mul_add(n, Self::splat(-LN2_LOW), r);
            let mut p = Self::splat(P[0]);
            for &coefficient in &P[1..] {
                p = Self::mul_add(p, r, Self::splat(coefficient));
            }
            let p = Self::mul_add(p, Self::mul(r, r), r);
            Self::times_power_of_two(Self::add(p, Self::splat(1.0)), n)
        }
    }

    /// `1 / (1 + e^-v)`.
    #[inline(always)]
    unsafe fn sigmoid(v: Self::Vector) -> Self::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe {
            let one = Self::splat(1.0);
            Self::div(one, Self::add(one, Self::exp(Self::sub(Self::splat(0.0), v))))
        }
    }
}

/// Arrays that the compiler vectorises as far as the target allows.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type Vector = [f32; 8];
    const LANES: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: the caller's promise; arrays of f32 need no more than its alignment.
        unsafe { from.cast::<[f32; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; 8]>().write(v) }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const f32, bits: u32) -> [f32; 8] {
        // SAFETY: only the lanes that the caller promised are read.
        std::array::from_fn(
            |i| {
                if bits >> i & 1 == 1 { unsafe { *from.wrapping_add(i) } } else { 0.0 }
            },
        )
    }
    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, bits: u32, v: [f32; 8]) {
        for (i, lane) in v.into_iter().enumerate() {
            if bits >> i & 1 == 1 {
                // SAFETY: only the lanes that the caller promised are written.
                unsafe { *to.wrapping_add(i) = lane }
            }
        }
    }
    #[inline(always)]
    unsafe fn keep(v: [f32; 8], bits: u32) -> [f32; 8] {
        std::array::from_fn(|i| if bits >> i & 1 == 1 { v[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(a: [f32; 8]) -> [f32; 8] {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        // Where there is no such instruction, `mul_add` would be a slow library call.
        std::array::from_fn(|i| {
            if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                a[i].mul_add(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            }
        })
    }
    #[inline(always)]
    unsafe fn sum(v: [f32; 8]) -> f32 {
        let [a, b, c, d, e, f, g, h] = v;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(never)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    unsafe fn turn8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for column in 0..8 {
            for row in 0..8 {
                // SAFETY: within both blocks.
                unsafe {
                    *to.add(column * to_stride + row) = *from.add(row * from_stride + column)
                };
            }
        }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(v: [f32; 8], n: [f32; 8]) -> [f32; 8] {
        zip(v, n, |v, n| v * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
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
}
