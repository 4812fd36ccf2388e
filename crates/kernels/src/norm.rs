//! Group normalisation with the activation that follows it, over pictures laid out `[N, H, W, C]`.
//!
//! A picture is worked through in blocks of pixels, whose sums are added up in order: the threads
//! share the pictures, or one picture's blocks where there are few pictures.

mod parts;

use std::ops::Range;

use crate::{
    Activation,
    activation::silu_slope,
    buffer::{Output, Scratch, SharedMut, parallel},
    simd::{Isa, Kernel, Simd},
};

pub use parts::{GroupStatistics, group_norm_part};

/// Numbers to a block, which stays in the first cache.
const BLOCK: usize = 8 * 1024;
/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;

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
    /// Numbers of one picture.
    fn picture(&self) -> usize {
        self.channels * self.pixels
    }

    /// Pixels to a block, and blocks to a picture.
    fn blocks(&self) -> (usize, usize) {
        let pixels = (BLOCK / self.channels.max(1)).max(1);
        (pixels, self.pixels.div_ceil(pixels))
    }

    /// The numbers of block `i` within their picture.
    fn block(&self, i: usize) -> Range<usize> {
        let (pixels, _) = self.blocks();
        let end = ((i + 1) * pixels).min(self.pixels);
        i * pixels * self.channels..end * self.channels
    }
}

/// Mean and reciprocal standard deviation of every group of every sample.
pub(crate) type Statistics = Vec<f32>;

/// Does three things to every picture: `sums` to each of its blocks, `finish` once, `apply` to each
/// of its blocks.
fn run(
    shape: &Shape,
    sums: impl Fn(usize, usize) + Sync,
    finish: impl Fn(usize) + Sync,
    apply: impl Fn(usize, usize) + Sync,
) {
    let (_, blocks) = shape.blocks();
    if shape.samples >= 2 * rayon::current_num_threads() || shape.picture() <= GRAIN {
        parallel(shape.samples, GRAIN.div_ceil(shape.picture().max(1)), |samples| {
            for n in samples {
                (0..blocks).for_each(|i| sums(n, i));
                finish(n);
                (0..blocks).for_each(|i| apply(n, i));
            }
        });
        return;
    }
    let each = |work: &(dyn Fn(usize, usize) + Sync)| {
        parallel(shape.samples * blocks, GRAIN / BLOCK, |tasks| {
            tasks.for_each(|task| work(task / blocks, task % blocks));
        });
    };
    each(&sums);
    (0..shape.samples).for_each(finish);
    each(&apply);
}

/// The normalised and activated tensor, and the statistics that [`backward`] wants.
pub(crate) fn forward(
    isa: Isa,
    shape: Shape,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
) -> (Vec<f32>, Statistics) {
    let Shape { samples, channels, groups, .. } = shape;
    assert_eq!(x.len(), samples * shape.picture());
    assert!(gamma.len() == channels && beta.len() == channels && channels.is_multiple_of(groups));
    let (_, blocks) = shape.blocks();
    let mut y = Output::new(x.len());
    let mut statistics = Output::new(2 * samples * groups);
    let mut sums = Scratch::take(samples * blocks * 2 * channels);
    let mut table = Scratch::take(samples * 3 * channels);
    let (y_to, statistics_to) = (y.pointer(), statistics.pointer());
    let [sums, table] = [&mut sums, &mut table].map(|s| SharedMut::new(s.slice()));
    let picture = |n: usize| &x[n * shape.picture()..(n + 1) * shape.picture()];
    let sums_of = |n: usize, i: usize| sums.from((n * blocks + i) * 2 * channels);
    run(
        &shape,
        |n, i| {
            let origin = &picture(n)[..channels];
            let x = &picture(n)[shape.block(i)];
            isa.run(Moments { x, origin, to: sums_of(n, i) });
        },
        |n| {
            let origin = &picture(n)[..channels];
            let statistics = statistics_to.from(2 * n * groups);
            let to = table.from(n * 3 * channels);
            let scaled = [origin, gamma, beta];
            // SAFETY: the blocks wrote their sums; this sample's statistics and table.
            unsafe { settle(&shape, scaled, sums_of(n, 0), statistics, to) };
        },
        |n, i| {
            let block = shape.block(i);
            let to = y_to.from(n * shape.picture() + block.start);
            // SAFETY: written above, and by this sample's task alone.
            let table = unsafe {
                std::slice::from_raw_parts(table.at(n * 3 * channels).cast_const(), 3 * channels)
            };
            let activation = shape.activation;
            isa.run(Apply { x: &picture(n)[block], table, activation, to });
        },
    );
    // SAFETY: every sample wrote its part of both whole.
    unsafe { (y.finish(), statistics.finish()) }
}

/// For each channel of a block the sums of `x - origin` and of its square.
struct Moments<'a> {
    x: &'a [f32],
    origin: &'a [f32],
    to: SharedMut,
}

impl Kernel for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let channels = self.origin.len();
        let mut at = 0;
        // SAFETY: the masks end with each pixel.
        unsafe {
            while at + 4 * S::LANES <= channels {
                self.vectors::<S, 4>(at);
                at += 4 * S::LANES;
            }
            while at < channels {
                self.vectors::<S, 1>(at);
                at += S::LANES;
            }
        }
    }
}

impl Moments<'_> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn vectors<S: Simd, const V: usize>(&self, at: usize) {
        let channels = self.origin.len();
        // SAFETY: the caller's promise.
        unsafe {
            let mut origin = [S::splat(0.0); V];
            for v in 0..V {
                let first = at + v * S::LANES;
                origin[v] = S::load_first(self.origin.as_ptr().add(first), channels - first);
            }
            let (mut sums, mut squares) = ([S::splat(0.0); V], [S::splat(0.0); V]);
            for pixel in self.x.chunks_exact(channels) {
                for v in 0..V {
                    let first = at + v * S::LANES;
                    let x = S::load_first(pixel.as_ptr().add(first), channels - first);
                    let x = S::sub(x, origin[v]);
                    sums[v] = S::add(sums[v], x);
                    squares[v] = S::mul_add(x, x, squares[v]);
                }
            }
            for v in 0..V {
                let first = at + v * S::LANES;
                S::store_first(self.to.at(first), channels - first, sums[v]);
                S::store_first(self.to.at(channels + first), channels - first, squares[v]);
            }
        }
    }
}

/// Turns the sums of one sample's blocks into its statistics and into a table of what is taken
/// from each channel, what it is multiplied with, and what is added.
///
/// # Safety
/// `sums` holds every block's, `statistics` and `table` have room for this sample's.
unsafe fn settle(
    shape: &Shape,
    [origin, gamma, beta]: [&[f32]; 3],
    sums: SharedMut,
    statistics: SharedMut,
    table: SharedMut,
) {
    let Shape { channels, pixels, groups, eps, .. } = *shape;
    let (per_group, blocks) = (channels / groups, shape.blocks().1);
    let count = pixels as f64;
    for group in 0..groups {
        let members = group * per_group..(group + 1) * per_group;
        // SAFETY: the caller's promise.
        unsafe {
            // Each channel's mean and sum of squared deviations, then the group's (Chan et al.).
            let (mut mean, mut spread) = (0.0f64, 0.0f64);
            let total = |c: usize| {
                (0..blocks)
                    .map(|i| f64::from(*sums.at(i * 2 * channels + c)))
                    .fold(0.0, |sum, part| sum + part)
            };
            for (i, c) in members.clone().enumerate() {
                let (sum, squares) = (total(c), total(channels + c));
                let own_mean = f64::from(origin[c]) + sum / count;
                let difference = own_mean - mean;
                spread += squares - sum * sum / count;
                spread += difference * difference * count * i as f64 / (i + 1) as f64;
                mean += difference / (i + 1) as f64;
            }
            let variance = (spread / (count * per_group as f64)).max(0.0);
            // A NaN stays one.
            let variance = if spread.is_nan() { spread } else { variance };
            let scale = 1.0 / (variance + eps).sqrt();
            *statistics.at(2 * group) = mean as f32;
            *statistics.at(2 * group + 1) = scale as f32;
            for c in members {
                *table.at(c) = mean as f32;
                *table.at(channels + c) = gamma[c] * scale as f32;
                *table.at(2 * channels + c) = beta[c];
            }
        }
    }
}

/// `act((x - taken) * factor + shift)` for a block.
struct Apply<'a> {
    x: &'a [f32],
    table: &'a [f32],
    activation: Activation,
    to: SharedMut,
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let channels = self.table.len() / 3;
        let silu = self.activation == Activation::Silu;
        for (i, pixel) in self.x.chunks_exact(channels).enumerate() {
            for at in (0..channels).step_by(S::LANES) {
                let left = channels - at;
                // SAFETY: the masks end with the pixel.
                unsafe {
                    let part =
                        |i: usize| S::load_first(self.table.as_ptr().add(i * channels + at), left);
                    let x = S::sub(S::load_first(pixel.as_ptr().add(at), left), part(0));
                    let mut y = S::mul_add(x, part(1), part(2));
                    if silu {
                        y = S::mul(y, S::sigmoid(y));
                    }
                    S::store_first(self.to.at(i * channels + at), left, y);
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
    let Shape { samples, channels, groups, activation, .. } = shape;
    assert!(x.len() == samples * shape.picture() && gradient.len() == x.len());
    assert_eq!(statistics.len(), 2 * samples * groups);
    let (_, blocks) = shape.blocks();
    let mut dx = Output::new(x.len());
    let mut totals = Output::new(samples * 2 * channels);
    let mut sums = Scratch::take(samples * blocks * 2 * channels);
    let mut table = Scratch::take(samples * 4 * channels);
    let (dx_to, totals_to) = (dx.pointer(), totals.pointer());
    let [sums, table] = [&mut sums, &mut table].map(|s| SharedMut::new(s.slice()));
    let sample = |n: usize| &statistics[2 * n * groups..2 * (n + 1) * groups];
    let block = |n: usize, i: usize| {
        let Range { start, end } = shape.block(i);
        n * shape.picture() + start..n * shape.picture() + end
    };
    run(
        &shape,
        |n, i| {
            let block = block(n, i);
            isa.run(Slopes {
                operands: [&x[block.clone()], &gradient[block.clone()], gamma, beta],
                statistics: sample(n),
                activation,
                dz: dx_to.from(block.start),
                sums: sums.from((n * blocks + i) * 2 * channels),
            });
        },
        |n| {
            let (sums, totals) =
                (sums.from(n * blocks * 2 * channels), totals_to.from(2 * n * channels));
            // SAFETY: the blocks wrote their sums; this sample's totals and table.
            unsafe {
                balance(&shape, gamma, sample(n), [sums, totals, table.from(4 * n * channels)])
            };
        },
        |n, i| {
            let block = block(n, i);
            let (first, len) = (block.start, 4 * channels);
            // SAFETY: written above, and by this sample's task alone.
            let table = unsafe { std::slice::from_raw_parts(table.at(n * len).cast_const(), len) };
            isa.run(Spread { x: &x[block], table, dx: dx_to.from(first) });
        },
    );
    // SAFETY: every sample wrote its part of both whole.
    let (dx, totals) = unsafe { (dx.finish(), totals.finish()) };
    let mut sum = vec![0.0f32; 2 * channels];
    for sample in totals.chunks_exact((2 * channels).max(1)) {
        sum.iter_mut().zip(sample).for_each(|(sum, part)| *sum += part);
    }
    let dgamma = sum.split_off(channels);
    (dx, dgamma, sum)
}

/// Writes a block's `dz`, the gradient before the activation, and for each channel its sum and that
/// of `dz` times the normalised `x`.
struct Slopes<'a> {
    /// `x`, the gradient of the result, `gamma`, `beta`.
    operands: [&'a [f32]; 4],
    /// Of this sample.
    statistics: &'a [f32],
    activation: Activation,
    dz: SharedMut,
    sums: SharedMut,
}

impl Kernel for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let [x, gradient, gamma, beta] = self.operands;
        let channels = gamma.len();
        let per_group = channels / (self.statistics.len() / 2);
        let (mut means, mut scales) = (Scratch::take(channels), Scratch::take(channels));
        for c in 0..channels {
            means.slice()[c] = self.statistics[c / per_group * 2];
            scales.slice()[c] = self.statistics[c / per_group * 2 + 1];
        }
        let silu = self.activation == Activation::Silu;
        for at in (0..channels).step_by(S::LANES) {
            let left = channels - at;
            // SAFETY: the masks end with each pixel.
            unsafe {
                let mean = S::load_first(means.pointer().add(at), left);
                let scale = S::load_first(scales.pointer().add(at), left);
                let gamma = S::load_first(gamma.as_ptr().add(at), left);
                let beta = S::load_first(beta.as_ptr().add(at), left);
                let (mut sum, mut product) = (S::splat(0.0), S::splat(0.0));
                for p in (at..x.len()).step_by(channels) {
                    let x = S::load_first(x.as_ptr().add(p), left);
                    let mut dz = S::load_first(gradient.as_ptr().add(p), left);
                    let normal = S::mul(S::sub(x, mean), scale);
                    if silu {
                        dz = S::mul(dz, silu_slope::<S>(S::mul_add(normal, gamma, beta)));
                    }
                    sum = S::add(sum, dz);
                    product = S::mul_add(dz, normal, product);
                    S::store_first(self.dz.at(p), left, dz);
                }
                S::store_first(self.sums.at(at), left, sum);
                S::store_first(self.sums.at(channels + at), left, product);
            }
        }
    }
}

/// Adds up one sample's blocks, and lists for each channel the numbers that [`Spread`] takes.
///
/// # Safety
/// `sums` holds every block's, `totals` and `table` have room for this sample's.
unsafe fn balance(
    shape: &Shape,
    gamma: &[f32],
    statistics: &[f32],
    [sums, totals, table]: [SharedMut; 3],
) {
    let Shape { channels, pixels, groups, .. } = *shape;
    let (per_group, blocks) = (channels / groups, shape.blocks().1);
    let count = (per_group * pixels) as f32;
    // SAFETY: the caller's promise.
    unsafe {
        for at in 0..2 * channels {
            *totals.at(at) = (0..blocks).map(|i| *sums.at(i * 2 * channels + at)).sum();
        }
        for group in 0..groups {
            let members = group * per_group..(group + 1) * per_group;
            let (mut first, mut second) = (0.0f32, 0.0f32);
            for c in members.clone() {
                first += gamma[c] * *totals.at(c);
                second += gamma[c] * *totals.at(channels + c);
            }
            let (mean, scale) = (statistics[2 * group], statistics[2 * group + 1]);
            for c in members {
                *table.at(c) = mean;
                *table.at(channels + c) = gamma[c] * scale;
                *table.at(2 * channels + c) = first / count * scale;
                *table.at(3 * channels + c) = second / count * scale * scale;
            }
        }
    }
}

/// Turns a block's `dz` into `dx = (gamma dz - mean(gamma dz) - x_hat mean(gamma dz x_hat)) / sigma`.
struct Spread<'a> {
    x: &'a [f32],
    table: &'a [f32],
    dx: SharedMut,
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let channels = self.table.len() / 4;
        for (i, pixel) in self.x.chunks_exact(channels).enumerate() {
            for at in (0..channels).step_by(S::LANES) {
                let left = channels - at;
                // SAFETY: the masks end with the pixel.
                unsafe {
                    let part =
                        |i: usize| S::load_first(self.table.as_ptr().add(i * channels + at), left);
                    let x = S::sub(S::load_first(pixel.as_ptr().add(at), left), part(0));
                    let place = self.dx.at(i * channels + at);
                    let dz = S::mul(S::load_first(place, left), part(1));
                    let rest = S::sub(S::sub(dz, part(2)), S::mul(x, part(3)));
                    S::store_first(place, left, rest);
                }
            }
        }
    }
}
