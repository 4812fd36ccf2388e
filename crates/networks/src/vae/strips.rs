//! A chain of layers over pictures in strips of rows.
//!
//! Each layer works through its feature map from top to bottom, a strip at a time, with the rows above and below that its
//! convolutions reach into; strips that no later one needs are given back on the way. Normalisations take their
//! statistics from all strips first. So what comes out is what the whole picture gives, but for rounding: there are no
//! tiles, hence no seams. No more than two feature maps are ever held.

use super::layers::Layer;
use burn::tensor::Tensor;
use std::collections::VecDeque;
use sumi_nn::{Activation, Conv2d, Downsample, GroupNorm, GroupStatistics, ResnetBlock, Upsample};

/// Numbers to a strip: enough that the rows above and below weigh little, and few enough that a strip's memory does.
const STRIP: usize = 8 << 20;

/// The whole chain, picture by picture.
///
/// # Shapes
/// `x` `[N, H, W, C]`, result `[N, H', W', C']`.
pub(super) fn forward(layers: &[Layer], x: Tensor<4>) -> Tensor<4> {
    forward_in(layers, x, STRIP)
}

/// [`forward`] in strips of so many numbers.
fn forward_in(layers: &[Layer], x: Tensor<4>, strip: usize) -> Tensor<4> {
    let pictures = (0..x.dims()[0]).map(|n| {
        let first = Strips::new(x.clone().narrow(0, n, 1), strip);
        layers.iter().fold(first, |x, layer| x.through(layer)).into_whole()
    });
    Tensor::cat(pictures.collect(), 0)
}

/// A feature map of one picture, of which the rows from some row on are held.
struct Strips {
    /// From top to bottom, `[1, rows, W, C]` each.
    held: VecDeque<Tensor<4>>,
    /// The first row that is held.
    first: usize,
    /// One past the last.
    end: usize,
    /// Numbers to a strip.
    strip: usize,
}

/// Rows from, and up to but not including.
type Rows = (usize, usize);

impl Strips {
    fn new(x: Tensor<4>, strip: usize) -> Self {
        let end = x.dims()[1];
        Self { held: VecDeque::from([x]), first: 0, end, strip }
    }

    /// An empty one, to be filled from the top.
    fn like(&self) -> Self {
        Self { held: VecDeque::new(), first: 0, end: 0, strip: self.strip }
    }

    fn push(&mut self, strip: Tensor<4>) {
        self.end += strip.dims()[1];
        self.held.push_back(strip);
    }

    /// Width and channels.
    fn row(&self) -> [usize; 2] {
        self.held.front().map_or([0; 2], |strip| [strip.dims()[2], strip.dims()[3]])
    }

    /// Width, and the channels going into or coming out of a convolution, whichever are more.
    fn row_with(&self, conv: &Conv2d) -> [usize; 2] {
        let [width, channels] = self.row();
        [width, channels.max(conv.weight.lazy_shape()[0])]
    }

    /// The rows of each strip of a map of this height, with rows of this size: an even number, which halving and
    /// doubling want.
    fn ranges(&self, height: usize, row: [usize; 2]) -> impl Iterator<Item = Rows> + use<> {
        let rows = (self.strip / (row[0] * row[1]).max(1) / 2 * 2).max(2);
        (0..height).step_by(rows).map(move |at| (at, (at + rows).min(height)))
    }

    /// Rows that are held.
    fn rows(&self, (from, to): Rows) -> Tensor<4> {
        let mut parts = Vec::new();
        let mut at = self.first;
        for strip in &self.held {
            let rows = strip.dims()[1];
            let (start, end) = (from.max(at), to.min(at + rows));
            if start < end {
                parts.push(strip.clone().narrow(1, start - at, end - start));
            }
            at += rows;
        }
        Tensor::cat(parts, 1)
    }

    /// Gives back the strips that end above `row`.
    fn forget_above(&mut self, row: usize) {
        while let Some(strip) = self.held.front() {
            let rows = strip.dims()[1];
            if self.first + rows > row {
                break;
            }
            self.first += rows;
            self.held.pop_front();
        }
    }

    fn into_whole(self) -> Tensor<4> {
        Tensor::cat(self.held.into(), 1)
    }

    fn statistics(&self) -> Option<GroupStatistics> {
        self.held.iter().map(GroupStatistics::new).reduce(GroupStatistics::and)
    }

    fn through(self, layer: &Layer) -> Self {
        // What results of other sizes have left is of no use to this layer's.
        sumi_kernels::release_memory();
        match layer {
            Layer::Conv(conv) => self.convolve(conv, |x| x),
            Layer::Residual(resnet) => self.residual(resnet),
            // Every pixel looks at all.
            Layer::Attention(attention) => {
                let strip = self.strip;
                Self::new(attention.forward(self.into_whole()), strip)
            }
            Layer::Downsample(downsample) => self.halve(downsample),
            Layer::Upsample(upsample) => self.double(upsample),
            Layer::Out(norm, conv) => {
                let statistics = self.statistics();
                self.convolve(conv, |x| normalise(norm, x, statistics.as_ref()))
            }
        }
    }

    /// A convolution that keeps the size, of what `prepare` makes of the rows.
    fn convolve(mut self, conv: &Conv2d, prepare: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let mut y = self.like();
        for range in self.ranges(self.end, self.row_with(conv)) {
            let reach = Reach::of(conv, range, self.end);
            y.push(reach.layer(conv).forward(prepare(self.rows(reach.rows))));
            self.forget_above(reach.next());
        }
        y
    }

    /// [`ResnetBlock::forward`] without a time embedding.
    fn residual(mut self, resnet: &ResnetBlock) -> Self {
        let ResnetBlock { norm1, conv1, norm2, conv2, conv_shortcut, .. } = resnet;
        let (height, statistics) = (self.end, self.statistics());
        let (mut h, mut shortcut) = (self.like(), self.like());
        for range in self.ranges(height, self.row_with(conv1)) {
            let reach = Reach::of(conv1, range, height);
            let normal = normalise(norm1, self.rows(reach.rows), statistics.as_ref());
            h.push(reach.layer(conv1).forward(normal));
            if let Some(conv) = conv_shortcut {
                shortcut.push(conv.forward(self.rows(range)));
                self.forget_above(reach.next());
            }
        }
        let mut x = if conv_shortcut.is_some() { shortcut } else { self };
        let statistics = h.statistics();
        let mut y = h.like();
        for range in h.ranges(height, h.row_with(conv2)) {
            let reach = Reach::of(conv2, range, height);
            let normal = normalise(norm2, h.rows(reach.rows), statistics.as_ref());
            y.push(reach.layer(conv2).forward_onto(normal, None, Some(x.rows(range))));
            h.forget_above(reach.next());
            x.forget_above(range.1);
        }
        y
    }

    /// The window of a pixel begins at twice its place and reaches a row further than two.
    fn halve(mut self, downsample: &Downsample) -> Self {
        let mut y = self.like();
        let height = self.end;
        // A row of the result is made from two.
        let [width, channels] = self.row();
        for (from, to) in self.ranges(height / 2, [2 * width, channels]) {
            y.push(downsample.forward(self.rows((2 * from, (2 * to + 1).min(height)))));
            self.forget_above(2 * to);
        }
        y
    }

    fn double(mut self, upsample: &Upsample) -> Self {
        let mut y = self.like();
        let [width, channels] = self.row();
        for (from, to) in self.ranges(2 * self.end, [2 * width, channels]) {
            let reach = Reach::around((from / 2, to / 2), 1, self.end);
            let doubled = upsample.forward(self.rows(reach.rows));
            y.push(cut(doubled, 2 * reach.above, to - from));
            self.forget_above(reach.next());
        }
        y
    }
}

/// Rows in memory of their own: a view would keep all rows that there are.
fn cut(x: Tensor<4>, from: usize, count: usize) -> Tensor<4> {
    let half = count / 2;
    let parts = [(from, half), (from + half, count - half)];
    Tensor::cat(parts.map(|(from, count)| x.clone().narrow(1, from, count)).to_vec(), 1)
}

/// Statistics are lacking only where there are no rows.
fn normalise(norm: &GroupNorm, x: Tensor<4>, statistics: Option<&GroupStatistics>) -> Tensor<4> {
    match statistics {
        Some(statistics) => norm.forward_part(x, statistics, Activation::Silu),
        None => x,
    }
}

/// The rows that a strip of a result is computed from.
struct Reach {
    /// All of them.
    rows: Rows,
    /// How many lie above the strip's own.
    above: usize,
    /// How many lie below.
    below: usize,
}

impl Reach {
    /// Of a convolution that keeps the size.
    fn of(conv: &Conv2d, range: Rows, height: usize) -> Self {
        Self::around(range, conv.weight.lazy_shape()[2] / 2, height)
    }

    /// So many rows above and below, where there are so many.
    fn around((from, to): Rows, margin: usize, height: usize) -> Self {
        let rows = (from.saturating_sub(margin), (to + margin).min(height));
        Self { rows, above: from - rows.0, below: rows.1 - to }
    }

    /// A convolution that takes these rows to the strip.
    fn layer(&self, conv: &Conv2d) -> Conv2d {
        conv.padded(self.above == 0, self.below == 0)
    }

    /// The first row that the next strip needs.
    fn next(&self) -> usize {
        self.rows.1 - 2 * self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vae::{AutoencoderConfig, AutoencoderKl};
    use burn::tensor::{Device, TensorData};
    use sumi_nn::{Init, assign, parameter_shapes};
    use sumi_testkit::{formula, relative_error};

    fn numbers(x: Tensor<4>) -> Vec<f64> {
        x.try_into_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
    }

    #[test]
    fn strips_give_what_the_whole_gives() {
        let config = AutoencoderConfig {
            block_out_channels: vec![8, 16, 16],
            down_block_types: vec!["DownEncoderBlock2D".into(); 3],
            up_block_types: vec!["UpDecoderBlock2D".into(); 3],
            norm_num_groups: 4,
            ..AutoencoderConfig::default()
        };
        let device = Device::flex();
        let model = AutoencoderKl::new(&config, &mut Init::new(&device, 0)).unwrap();
        let weights = parameter_shapes(&model).into_iter().map(|(name, shape)| {
            let values = formula::weight(&name, &shape);
            (name, (shape, values))
        });
        let weights = weights.collect();
        let model = assign(model, weights).unwrap();
        let input = |shape: [usize; 4]| {
            let values = formula::uniform("input", shape.iter().product());
            let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, shape), &device)
        };
        let chains = [
            (model.decoder_layers(), input([2, 11, 6, 4])),
            (model.encoder_layers(), input([2, 44, 24, 3])),
        ];
        for (layers, x) in chains {
            let whole = layers.iter().fold(x.clone(), |x, layer| layer.forward(x));
            for strip in [1, 400, 1000, 10_000, 1 << 20] {
                let strips = forward_in(&layers, x.clone(), strip);
                assert_eq!(strips.dims(), whole.dims());
                let error = relative_error(&numbers(strips), &numbers(whole.clone()));
                // Convolutions and statistics whose sums are made in another order.
                assert!(error < 1e-5, "strips of {strip} numbers: {error:e}");
            }
        }
    }
}
