//! Group normalisation with the activation that follows it, in one pass over each group.

use crate::{
    Activation,
    activation::silu_slope,
    buffer::{Output, SharedMut, parallel},
    simd::{Isa, Kernel, Simd},
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 8 * 1024;

/// The shape of a normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) samples: usize,
    pub(crate) channels: usize,
    /// Height times width.
    pub(crate) pixels: usize,
    pub(crate) groups: usize,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
}

impl Shape {
    fn grain(&self) -> usize {
        GRAIN.div_ceil((self.channels * self.pixels).max(1))
    }
}

/// Mean and reciprocal standard deviation of every group of every sample.
pub(crate) type Statistics = Vec<f32>;

struct Forward<'a> {
    shape: Shape,
    /// One sample.
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    y: SharedMut,
    statistics: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { channels, pixels, groups, eps, activation, .. } = self.shape;
        let per_group = channels / groups;
        let span = per_group * pixels;
        // First all statistics, then all results: the groups' chains of sums overlap.
        for group in 0..groups {
            // SAFETY: this sample's places.
            unsafe {
                let x = &self.x[group * span..(group + 1) * span];
                let (mean, scale) = statistics::<S>(x, eps as f32);
                *self.statistics.at(2 * group) = mean;
                *self.statistics.at(2 * group + 1) = scale;
            }
        }
        for group in 0..groups {
            // SAFETY: the offsets stay inside one sample; masks end with each channel.
            unsafe {
                let x = &self.x[group * span..(group + 1) * span];
                let scale = *self.statistics.at(2 * group + 1);
                let mean = S::splat(*self.statistics.at(2 * group));
                for c in 0..per_group {
                    let channel = group * per_group + c;
                    let gain = S::splat(self.gamma[channel] * scale);
                    let shift = S::splat(self.beta[channel]);
                    for p in (0..pixels).step_by(S::LANES) {
                        let left = pixels - p;
                        let v = S::load_first(x.as_ptr().add(c * pixels + p), left);
                        let z = S::mul_add(S::sub(v, mean), gain, shift);
                        let y = match activation {
                            Activation::Identity => z,
                            Activation::Silu => S::mul(z, S::sigmoid(z)),
                        };
                        S::store_first(self.y.at(channel * pixels + p), left, y);
                    }
                }
            }
        }
    }
}

/// Mean and `1 / sqrt(variance + eps)`, from two passes over numbers that are then in the cache.
#[inline(always)]
unsafe fn statistics<S: Simd>(x: &[f32], eps: f32) -> (f32, f32) {
    // SAFETY: the masks end with the slice.
    unsafe {
        let mut sum = S::splat(0.0);
        for at in (0..x.len()).step_by(S::LANES) {
            sum = S::add(sum, S::load_first(x.as_ptr().add(at), x.len() - at));
        }
        let mean = S::sum(sum) / x.len() as f32;
        let centre = S::splat(mean);
        let mut squares = S::splat(0.0);
        for at in (0..x.len()).step_by(S::LANES) {
            let left = x.len() - at;
            let v = S::keep_first(S::sub(S::load_first(x.as_ptr().add(at), left), centre), left);
            squares = S::mul_add(v, v, squares);
        }
        let variance = S::sum(squares) / x.len() as f32;
        (mean, 1.0 / (variance + eps).sqrt())
    }
}

/// The normalised and activated tensor, and the statistics that [`backward`] wants.
pub(crate) fn forward(
    isa: Isa,
    shape: Shape,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
) -> (Vec<f32>, Statistics) {
    let sample = shape.channels * shape.pixels;
    assert_eq!(x.len(), shape.samples * sample);
    assert!(gamma.len() == shape.channels && beta.len() == shape.channels);
    let mut y = Output::new(x.len());
    let mut statistics = Output::new(2 * shape.samples * shape.groups);
    let (y_to, statistics_to) = (y.pointer(), statistics.pointer());
    parallel(shape.samples, shape.grain(), |range| {
        for n in range {
            isa.run(Forward {
                shape,
                x: &x[n * sample..(n + 1) * sample],
                gamma,
                beta,
                y: y_to.from(n * sample),
                statistics: statistics_to.from(2 * n * shape.groups),
            });
        }
    });
    // SAFETY: every sample wrote its part of both whole.
    unsafe { (y.finish(), statistics.finish()) }
}

struct Backward<'a> {
    shape: Shape,
    /// One sample.
    x: &'a [f32],
    gradient: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    statistics: &'a [f32],
    dx: SharedMut,
    /// For each channel the sums over the pixels of `dz` and of `dz` times the normalised `x`.
    sums: SharedMut,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { channels, pixels, groups, .. } = self.shape;
        let per_group = channels / groups;
        for channel in 0..channels {
            // SAFETY: the offsets stay inside one sample; this thread alone has its places.
            unsafe {
                let (sum, product) = self.channel::<S>(channel / per_group, channel);
                *self.sums.at(2 * channel) = sum;
                *self.sums.at(2 * channel + 1) = product;
            }
        }
        let count = (per_group * pixels) as f32;
        for group in 0..groups {
            let (mut first, mut second) = (0.0f32, 0.0f32);
            for channel in group * per_group..(group + 1) * per_group {
                // SAFETY: written above.
                unsafe {
                    first += self.gamma[channel] * *self.sums.at(2 * channel);
                    second += self.gamma[channel] * *self.sums.at(2 * channel + 1);
                }
            }
            // SAFETY: as above.
            unsafe { self.finish::<S>(group, first / count, second / count) };
        }
    }
}

impl Backward<'_> {
    /// Writes `dz`, the gradient before the activation, to `dx` and returns its two sums.
    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, group: usize, channel: usize) -> (f32, f32) {
        let pixels = self.shape.pixels;
        let at = channel * pixels;
        // SAFETY: the masks end with the channel.
        unsafe {
            let mean = S::splat(self.statistics[2 * group]);
            let scale = S::splat(self.statistics[2 * group + 1]);
            let gamma = S::splat(self.gamma[channel]);
            let beta = S::splat(self.beta[channel]);
            let (mut sum, mut product) = (S::splat(0.0), S::splat(0.0));
            for p in (0..pixels).step_by(S::LANES) {
                let left = pixels - p;
                let x = S::load_first(self.x.as_ptr().add(at + p), left);
                let mut dz = S::load_first(self.gradient.as_ptr().add(at + p), left);
                let normal = S::mul(S::sub(x, mean), scale);
                if self.shape.activation == Activation::Silu {
                    dz = S::mul(dz, silu_slope::<S>(S::mul_add(normal, gamma, beta)));
                }
                sum = S::add(sum, dz);
                product = S::mul_add(dz, normal, product);
                S::store_first(self.dx.at(at + p), left, dz);
            }
            (S::sum(sum), S::sum(product))
        }
    }

    /// Turns the group's `dz` into `dx = (gamma dz - first - x_hat second) / sigma`.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, group: usize, first: f32, second: f32) {
        let pixels = self.shape.pixels;
        let per_group = self.shape.channels / self.shape.groups;
        // SAFETY: the masks end with each channel.
        unsafe {
            let mean = S::splat(self.statistics[2 * group]);
            let scale = S::splat(self.statistics[2 * group + 1]);
            let (first, second) = (S::splat(first), S::splat(second));
            for channel in group * per_group..(group + 1) * per_group {
                let gamma = S::splat(self.gamma[channel]);
                let at = channel * pixels;
                for p in (0..pixels).step_by(S::LANES) {
                    let left = pixels - p;
                    let x = S::load_first(self.x.as_ptr().add(at + p), left);
                    let dz = S::load_first(self.dx.at(at + p), left);
                    let normal = S::mul(S::sub(x, mean), scale);
                    let rest = S::sub(S::sub(S::mul(dz, gamma), first), S::mul(normal, second));
                    S::store_first(self.dx.at(at + p), left, S::mul(rest, scale));
                }
            }
        }
    }
}

/// The gradients of `x`, `gamma` and `beta`, given that of the result.
pub(crate) fn backward(
    isa: Isa,
    shape: Shape,
    [x, gamma, beta, gradient]: [&[f32]; 4],
    statistics: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let sample = shape.channels * shape.pixels;
    assert!(x.len() == shape.samples * sample && gradient.len() == x.len());
    assert_eq!(statistics.len(), 2 * shape.samples * shape.groups);
    let mut dx = Output::new(x.len());
    let mut sums = Output::new(2 * shape.samples * shape.channels);
    let (dx_to, sums_to) = (dx.pointer(), sums.pointer());
    parallel(shape.samples, shape.grain(), |range| {
        for n in range {
            let part = n * sample..(n + 1) * sample;
            isa.run(Backward {
                shape,
                x: &x[part.clone()],
                gradient: &gradient[part],
                gamma,
                beta,
                statistics: &statistics[2 * n * shape.groups..2 * (n + 1) * shape.groups],
                dx: dx_to.from(n * sample),
                sums: sums_to.from(2 * n * shape.channels),
            });
        }
    });
    // SAFETY: every sample wrote its part of both whole.
    let (dx, sums) = unsafe { (dx.finish(), sums.finish()) };
    let mut totals = vec![0.0f32; 2 * shape.channels];
    for sample in sums.chunks_exact(2 * shape.channels) {
        for (total, part) in totals.iter_mut().zip(sample) {
            *total += part;
        }
    }
    let dbeta = totals.iter().step_by(2).copied().collect();
    let dgamma = totals.iter().skip(1).step_by(2).copied().collect();
    (dx, dgamma, dbeta)
}
