//! Vectors of `f32`, one implementation for each instruction set, chosen when the program runs.

#[cfg(target_arch = "x86_64")]
mod x86;

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
    /// `1 / v` within 2e-7 of it, relative, for normal numbers with normal results.
    #[inline(always)]
    unsafe fn recip(v: Self::Vector) -> Self::Vector {
        // SAFETY: arithmetic on registers only.
        unsafe { Self::div(Self::splat(1.0), v) }
    }
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
            Self::recip(Self::add(one, Self::exp(Self::sub(Self::splat(0.0), v))))
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
