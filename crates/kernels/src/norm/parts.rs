//! Group normalisation of a picture that is seen in parts.

use burn::tensor::Tensor;

use super::{Apply, GRAIN, Moments, Shape};
use crate::{
    Activation,
    buffer::{Output, Scratch, SharedMut, parallel},
    flex, is_plain,
    profile::{self, Direction, Kind},
    simd::Isa,
};

/// What group normalisation has to know of a picture: of every channel the mean and the sum of squared
/// deviations from it, gathered from the picture's parts.
#[derive(Clone, Debug)]
pub struct GroupStatistics {
    pixels: f64,
    /// `[C]`.
    mean: Tensor<1>,
    /// `[C]`.
    spread: Tensor<1>,
}

impl GroupStatistics {
    /// Of a part of a picture, `[1, H, W, C]`.
    pub fn new(x: &Tensor<4>) -> Self {
        let [n, h, w, channels] = x.dims();
        let pixels = n * h * w;
        if is_plain(x) && pixels > 0 {
            let _span = profile::span(Kind::Normalisation, Direction::Forward, 0);
            let x = flex::primitive(x.clone());
            let sums = moments(Isa::best(), x.slice(), channels);
            let [mean, spread] = sums.map(|sums| flex::wrap(flex::tensor(sums, [channels].into())));
            return Self { pixels: pixels as f64, mean, spread };
        }
        let x = x.clone().reshape([pixels, channels]);
        let mean = x.clone().mean_dim(0);
        let spread = (x - mean.clone()).square().sum_dim(0);
        let [mean, spread] = [mean, spread].map(|x| x.reshape([channels]));
        Self { pixels: pixels as f64, mean, spread }
    }

    /// Of two parts together (Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    /// Variances, Eq. 2.1).
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let pixels = self.pixels + other.pixels;
        let share = other.pixels / pixels;
        let difference = other.mean - self.mean.clone();
        let between = difference.clone().square() * (self.pixels * share);
        Self {
            pixels,
            mean: self.mean + difference * share,
            spread: self.spread + other.spread + between,
        }
    }

    /// What is taken from each channel, what it is multiplied with, and what is added, `[3 C]`.
    fn table(&self, [gamma, beta]: [Tensor<1>; 2], groups: usize, eps: f64) -> Tensor<1> {
        let channels = self.mean.dims()[0];
        let grouped = |x: &Tensor<1>| x.clone().reshape([groups, channels / groups]);
        let means = grouped(&self.mean);
        let mean = means.clone().mean_dim(1);
        let between = (means - mean.clone()).square().mean_dim(1);
        let variance = between + grouped(&self.spread).mean_dim(1) / self.pixels;
        let of_channels = |x: Tensor<2>| x.expand([groups, channels / groups]).reshape([channels]);
        let factor = gamma / of_channels((variance + eps).sqrt());
        Tensor::cat(vec![of_channels(mean), factor, beta], 0)
    }
}

/// [`crate::group_norm`] of a part of a picture whose statistics are known.
///
/// # Shapes
/// `x` `[1, H, W, C]`, kept; `gamma` and `beta` `[C]`; `groups` divides C.
pub fn group_norm_part(
    x: Tensor<4>,
    scaling: [Tensor<1>; 2],
    statistics: &GroupStatistics,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    let table = statistics.table(scaling, groups, eps);
    if is_plain(&x) && is_plain(&table) {
        let _span = profile::span(Kind::Normalisation, Direction::Forward, 0);
        let extents = x.dims();
        let (x, table) = (flex::primitive(x), flex::primitive(table));
        let y = apply(Isa::best(), x.slice(), table.slice(), activation);
        return flex::wrap(flex::tensor(y, extents.into()));
    }
    let channels = x.dims()[3];
    let part =
        |i: usize| table.clone().narrow(0, i * channels, channels).reshape([1, 1, 1, channels]);
    let y = (x - part(0)) * part(1) + part(2);
    match activation {
        Activation::Identity => y,
        Activation::Silu => crate::silu(y),
    }
}

/// The shape of one picture, for its blocks.
fn shape(x: &[f32], channels: usize) -> Shape {
    let pixels = x.len() / channels.max(1);
    let activation = Activation::Identity;
    Shape { samples: 1, channels, pixels, groups: 1, eps: 0.0, activation }
}

/// For each channel the mean, and the sum of squared deviations from it.
fn moments(isa: Isa, x: &[f32], channels: usize) -> [Vec<f32>; 2] {
    let shape = shape(x, channels);
    assert!(shape.pixels > 0 && x.len() == shape.picture());
    let (pixels, blocks) = shape.blocks();
    let mut sums = Scratch::take(blocks * 2 * channels);
    let to = SharedMut::new(sums.slice());
    let origin = &x[..channels];
    parallel(blocks, GRAIN.div_ceil(pixels * channels), |range| {
        for i in range {
            isa.run(Moments { x: &x[shape.block(i)], origin, to: to.from(i * 2 * channels) });
        }
    });
    let sums = sums.slice();
    let count = shape.pixels as f64;
    let total = |c: usize| (0..blocks).map(|i| f64::from(sums[i * 2 * channels + c])).sum::<f64>();
    let moments = |c: usize| {
        let (sum, squares) = (total(c), total(channels + c));
        let spread = squares - sum * sum / count;
        // A NaN stays one.
        let spread = if spread < 0.0 { 0.0 } else { spread };
        ((f64::from(origin[c]) + sum / count) as f32, spread as f32)
    };
    let (mean, spread) = (0..channels).map(moments).unzip();
    [mean, spread]
}

/// `act((x - taken) * factor + shift)`, channel by channel.
fn apply(isa: Isa, x: &[f32], table: &[f32], activation: Activation) -> Vec<f32> {
    let shape = shape(x, table.len() / 3);
    assert!(table.len() == 3 * shape.channels && x.len() == shape.picture());
    let (pixels, blocks) = shape.blocks();
    let mut y = Output::new(x.len());
    let to = y.pointer();
    parallel(blocks, GRAIN.div_ceil((pixels * shape.channels).max(1)), |range| {
        for block in range.map(|i| shape.block(i)) {
            let to = to.from(block.start);
            isa.run(Apply { x: &x[block], table, activation, to });
        }
    });
    // SAFETY: the blocks cover the output, and each was written whole.
    unsafe { y.finish() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Numbers, assert_near};
    use burn::tensor::{Device, TensorData};

    #[test]
    fn parts_are_normalised_as_the_whole() {
        let mut numbers = Numbers::new(7);
        let (h, w, c) = (37, 29, 12);
        // Every channel at a level of its own, far from 0.
        let x = numbers.vec(h * w * c).into_iter().enumerate();
        let x: Vec<f32> = x.map(|(i, x)| x + 20.0 + (i % c) as f32).collect();
        let scaling = [numbers.vec(c), numbers.vec(c)];
        for device in [Device::flex(), Device::flex().autodiff()] {
            let x = Tensor::<4>::from_data(TensorData::new(x.clone(), [1, h, w, c]), &device);
            let scaling =
                scaling.clone().map(|x| Tensor::from_data(TensorData::from(x.as_slice()), &device));
            let parts = || [(0, 5), (5, 1), (6, 31)].map(|(at, len)| x.clone().narrow(1, at, len));
            let all = parts();
            let statistics =
                all.iter().map(GroupStatistics::new).reduce(GroupStatistics::and).unwrap();
            for activation in [Activation::Identity, Activation::Silu] {
                let [gamma, beta] = scaling.clone();
                let whole = crate::group_norm(x.clone(), gamma, beta, 4, 1e-5, activation);
                let parts = parts()
                    .map(|x| group_norm_part(x, scaling.clone(), &statistics, 4, 1e-5, activation));
                let found = Tensor::cat(parts.to_vec(), 1).try_into_vec_as::<f32>().unwrap();
                let expected = whole.try_into_vec_as::<f32>().unwrap();
                let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
                // Rounding of means of about 25 at a spread of about 2.
                assert_near(&found, &expected, 1e-5, "in parts");
            }
        }
    }
}
