//! Layer normalisation of the rows of a matrix.

use crate::{
    buffer::{Output, Scratch, SharedMut, parallel},
    simd::{Isa, Kernel, Simd},
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;
/// Rows whose part of the gradients of `gamma` and `beta` is added up in one chain.
const CHAIN: usize = 256;

/// Mean and reciprocal standard deviation of each row.
pub(crate) type Statistics = Vec<f32>;

/// `(x - mean) / sigma * gamma + beta` for each row, and the statistics that [`backward`] wants.
pub(crate) fn forward(
    isa: Isa,
    x: &[f32],
    [gamma, beta]: [&[f32]; 2],
    eps: f64,
) -> (Vec<f32>, Statistics) {
    let width = gamma.len();
    assert!(width > 0 && beta.len() == width && x.len().is_multiple_of(width));
    let rows = x.len() / width;
    let (mut y, mut statistics) = (Output::new(x.len()), Output::new(2 * rows));
    let (to, statistics_to) = (y.pointer(), statistics.pointer());
    parallel(rows, GRAIN / width + 1, |rows| {
        let first = rows.start;
        let x = &x[first * width..rows.end * width];
        let (to, statistics) = (to.from(first * width), statistics_to.from(2 * first));
        isa.run(Forward { x, gamma, beta, eps, to, statistics });
    });
    // SAFETY: every row wrote its part of both whole.
    unsafe { (y.finish(), statistics.finish()) }
}

struct Forward<'a> {
    /// Whole rows.
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f64,
    to: SharedMut,
    statistics: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.gamma.len();
        let steps = || (0..width).step_by(S::LANES).map(|at| (at, width - at));
        for (i, row) in self.x.chunks_exact(width).enumerate() {
            // SAFETY: the masks end with the row.
            unsafe {
                let load =
                    |from: &[f32], at: usize, left| S::load_first(from.as_ptr().add(at), left);
                let mut sum = S::splat(0.0);
                for (at, left) in steps() {
                    sum = S::add(sum, load(row, at, left));
                }
                let mean = S::sum(sum) / width as f32;
                let centre = S::splat(mean);
                let mut squares = S::splat(0.0);
                for (at, left) in steps() {
                    let x = S::keep_first(S::sub(load(row, at, left), centre), left);
                    squares = S::mul_add(x, x, squares);
                }
                let variance = f64::from(S::sum(squares)) / width as f64;
                let scale = (1.0 / (variance + self.eps).sqrt()) as f32;
                let factor = S::splat(scale);
                for (at, left) in steps() {
                    let x = S::mul(S::sub(load(row, at, left), centre), factor);
                    let y = S::mul_add(x, load(self.gamma, at, left), load(self.beta, at, left));
                    S::store_first(self.to.at(i * width + at), left, y);
                }
                *self.statistics.at(2 * i) = mean;
                *self.statistics.at(2 * i + 1) = scale;
            }
        }
    }
}

/// The gradients of `x`, `gamma` and `beta`, given that of the result.
pub(crate) fn backward(
    isa: Isa,
    [x, gamma, gradient]: [&[f32]; 3],
    statistics: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    assert!(x.len() == gradient.len() && statistics.len() * width == 2 * x.len());
    let chains = (x.len() / width).div_ceil(CHAIN);
    let mut dx = Output::new(x.len());
    let mut sums = Scratch::take(chains * 2 * width);
    let (to, sums_to) = (dx.pointer(), SharedMut::new(sums.slice()));
    parallel(chains, 1, |chains| {
        for chain in chains {
            let first = chain * CHAIN;
            let rows = first..(first + CHAIN).min(x.len() / width);
            let part = rows.start * width..rows.end * width;
            isa.run(Backward {
                x: &x[part.clone()],
                gradient: &gradient[part],
                gamma,
                statistics: &statistics[2 * rows.start..2 * rows.end],
                to: to.from(first * width),
                sums: sums_to.from(chain * 2 * width),
            });
        }
    });
    // SAFETY: every row wrote its part.
    let dx = unsafe { dx.finish() };
    let mut total = vec![0.0f32; 2 * width];
    for chain in sums.slice().chunks_exact(2 * width) {
        total.iter_mut().zip(chain).for_each(|(total, part)| *total += part);
    }
    let dbeta = total.split_off(width);
    (dx, total, dbeta)
}

/// The rows of a chain.
struct Backward<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    gamma: &'a [f32],
    statistics: &'a [f32],
    to: SharedMut,
    /// Of the gradients times the normalised `x`, and of the gradients.
    sums: SharedMut,
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// `dx = (dz - mean(dz) - x_hat mean(dz x_hat)) / sigma` with `dz = gamma dy`.
    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.gamma.len();
        let steps = || (0..width).step_by(S::LANES).map(|at| (at, width - at));
        // SAFETY: the masks end with each row; this chain's own sums.
        unsafe {
            std::slice::from_raw_parts_mut(self.sums.at(0), 2 * width).fill(0.0);
            for (i, (row, dy)) in
                self.x.chunks_exact(width).zip(self.gradient.chunks_exact(width)).enumerate()
            {
                let load = |from: *const f32, at: usize, left| S::load_first(from.add(at), left);
                let [mean, scale] = [0, 1].map(|k| self.statistics[2 * i + k]);
                let (centre, factor) = (S::splat(mean), S::splat(scale));
                let (mut first, mut second) = (S::splat(0.0), S::splat(0.0));
                for (at, left) in steps() {
                    let x = S::mul(S::sub(load(row.as_ptr(), at, left), centre), factor);
                    let dy = load(dy.as_ptr(), at, left);
                    let dz = S::mul(dy, load(self.gamma.as_ptr(), at, left));
                    first = S::add(first, dz);
                    second = S::mul_add(dz, x, second);
                    let [dgamma, dbeta] = [self.sums.at(at), self.sums.at(width + at)];
                    S::store_first(dgamma, left, S::mul_add(dy, x, S::load_first(dgamma, left)));
                    S::store_first(dbeta, left, S::add(dy, S::load_first(dbeta, left)));
                }
                let means = [first, second].map(|sum| S::splat(S::sum(sum) / width as f32));
                for (at, left) in steps() {
                    let x = S::mul(S::sub(load(row.as_ptr(), at, left), centre), factor);
                    let dz =
                        S::mul(load(dy.as_ptr(), at, left), load(self.gamma.as_ptr(), at, left));
                    let rest = S::sub(S::sub(dz, means[0]), S::mul(x, means[1]));
                    S::store_first(self.to.at(i * width + at), left, S::mul(rest, factor));
                }
            }
        }
    }
}
