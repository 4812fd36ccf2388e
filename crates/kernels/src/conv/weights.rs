//! The gradient of the weights: the product of the output's gradient with the windows of the
//! pictures, over all pixels of all samples in their order.

use std::ops::Range;

use rayon::prelude::*;

use super::{Shape, bands};
use crate::{
    buffer::{Output, Scratch, SharedMut, parallel, transpose},
    gemm::{Column, Product, Strided, columns, multiply},
    simd::{Isa, Kernel, Simd},
    window::Packer,
};

/// Pixels whose contributions to the weights form one chain; the chains' sums are then added up.
const CHAIN: usize = 256;
/// Output channels to a block of the weight gradient.
const BLOCK: usize = 32;

/// The gradients of the weights and of the bias, given that of `y`.
pub(crate) fn weight_gradient(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let weights = shape.outputs * shape.inputs * shape.window.taps();
    shape.check(x, weights, dy);
    let pixels = shape.window.out_h * shape.window.out_w;
    let width = BLOCK.min(shape.outputs.next_multiple_of(isa.lanes()));
    let blocks = shape.outputs.div_ceil(width);
    let mut turned = Output::new(blocks * width * shape.samples * pixels);
    let mut sums = Output::new(shape.samples * shape.outputs);
    let (turned_to, sums_to) = (turned.pointer(), sums.pointer());
    parallel(shape.samples, 1, |range| {
        isa.run(Turn { shape, dy, width, samples: range, to: turned_to, sums: sums_to });
    });
    // SAFETY: every sample wrote its part of both whole.
    let (turned, sums) = unsafe { (turned.finish(), sums.finish()) };
    let mut db = vec![0.0f32; shape.outputs];
    for sample in sums.chunks_exact(shape.outputs.max(1)) {
        db.iter_mut().zip(sample).for_each(|(total, part)| *total += part);
    }
    let mut dw = Output::new(weights);
    let to = dw.pointer();
    let group = (CHAIN / pixels.max(1)).max(1);
    let bands: Vec<_> = bands(&shape.window, CHAIN)
        .into_iter()
        .map(|band| (band.clone(), Packer::new(&shape.window, &band, isa.lanes())))
        .collect();
    let channels = 8usize.max(16 / shape.window.taps());
    let parts = shape.inputs.div_ceil(channels);
    (0..parts * blocks).into_par_iter().with_max_len(1).for_each(|task| {
        let (part, block) = (task / blocks, task % blocks);
        let range = part * channels..((part + 1) * channels).min(shape.inputs);
        isa.run(WeightBlock {
            shape,
            x,
            turned: &turned,
            width,
            group,
            bands: &bands,
            range,
            block,
            to,
        });
    });
    // SAFETY: the blocks cover the weights, and each was written whole.
    (unsafe { dw.finish() }, db)
}

/// Transposes the output's gradient of some samples to [block, sample, pixel, channel of block],
/// and sums it over each sample's pixels.
struct Turn<'a> {
    shape: &'a Shape,
    dy: &'a [f32],
    width: usize,
    samples: Range<usize>,
    to: SharedMut,
    sums: SharedMut,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { samples, outputs, window, .. } = *self.shape;
        let pixels = window.out_h * window.out_w;
        for n in self.samples {
            let dy = &self.dy[n * outputs * pixels..(n + 1) * outputs * pixels];
            for (block, first) in (0..outputs).step_by(self.width).enumerate() {
                let rows = self.width.min(outputs - first);
                let to = self.to.at((block * samples + n) * pixels * self.width);
                // SAFETY: this sample's place in this block; masks end with each channel.
                unsafe {
                    transpose::<S>(dy.as_ptr().add(first * pixels), rows, pixels, to, self.width);
                    for p in 0..pixels {
                        for o in rows..self.width {
                            *to.add(p * self.width + o) = 0.0;
                        }
                    }
                }
            }
            for (o, channel) in dy.chunks_exact(pixels.max(1)).enumerate() {
                // SAFETY: the masks end with the channel; the sums' places are this sample's.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for at in (0..pixels).step_by(S::LANES) {
                        let left = pixels - at;
                        sum = S::add(sum, S::load_first(channel.as_ptr().add(at), left));
                    }
                    *self.sums.at(n * outputs + o) = S::sum(sum);
                }
            }
        }
    }
}

/// The weight gradient of some input channels and one block of output channels.
struct WeightBlock<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    turned: &'a [f32],
    width: usize,
    group: usize,
    bands: &'a [(Range<usize>, Packer)],
    range: Range<usize>,
    block: usize,
    to: SharedMut,
}

impl Kernel for WeightBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { samples, inputs, outputs, window } = *self.shape;
        let (taps, source) = (window.taps(), window.height * window.width);
        let pixels = window.out_h * window.out_w;
        let direct = window.is_direct(S::LANES);
        let rows = self.range.len() * taps;
        let mut sums = Scratch::take(rows * self.width);
        sums.slice().fill(0.0);
        let valid = self.width.min(outputs - self.block * self.width);
        let mut scratch = Scratch::take(0);
        let (mut list, mut left): (Vec<Column>, Vec<*const f32>) = (Vec::new(), Vec::new());
        for (band, packer) in self.bands {
            let sample_pitch = self.range.len() * packer.pitch;
            if !direct {
                scratch.resize(self.group * sample_pitch);
                scratch.slice().fill(0.0);
            }
            for n0 in (0..samples).step_by(self.group) {
                let segments = self.group.min(samples - n0);
                left.clear();
                if direct {
                    let first = (n0 * inputs + self.range.start) * source;
                    let x = self.x.as_ptr().wrapping_add(first + band.start * window.out_w);
                    left.extend((0..rows).map(|c| x.wrapping_add(c * source)));
                } else {
                    // SAFETY: the scratch was made this large.
                    unsafe {
                        self.pack::<S>(packer, n0..n0 + segments, scratch.pointer(), &mut left)
                    };
                }
                let place = (self.block * samples + n0) * pixels + band.start * window.out_w;
                let right = self.turned.as_ptr().wrapping_add(place * self.width);
                list.clear();
                columns::<S>(&mut list, right, sums.pointer(), valid);
                let product = Product {
                    segments,
                    left_step: if direct { inputs * source } else { sample_pitch },
                    right_step: pixels * self.width,
                    add: true,
                    ..Product::new(Strided(self.width), band.len() * window.out_w, self.width)
                };
                // SAFETY: the rows were just packed, the block's pixels are whole vectors, and
                // the sums are this task's own.
                unsafe { multiply::<S, _>(&left, &list, &product) };
            }
        }
        let sums = sums.slice();
        for o in 0..valid {
            let row = (self.block * self.width + o) * inputs * taps + self.range.start * taps;
            for r in 0..rows {
                // SAFETY: this task's own part of the weights.
                unsafe { *self.to.at(row + r) = sums[r * self.width + o] };
            }
        }
    }
}

impl WeightBlock<'_> {
    /// Packs these channels of some samples to `to`, and lists where the first sample's rows are.
    ///
    /// # Safety
    /// `to` has room for all of them and holds zeros where nothing is packed.
    #[inline(always)]
    unsafe fn pack<S: Simd>(
        &self,
        packer: &Packer,
        samples: Range<usize>,
        to: *mut f32,
        left: &mut Vec<*const f32>,
    ) {
        let Shape { inputs, window, .. } = *self.shape;
        let (channels, source) = (self.range.len(), window.height * window.width);
        for (i, n) in samples.enumerate() {
            let from = &self.x[(n * inputs + self.range.start) * source..][..channels * source];
            let to = to.wrapping_add(i * channels * packer.pitch);
            // SAFETY: the channels exist, the rest is promised.
            unsafe { packer.pack::<S>(from.as_ptr(), source, channels, to) };
        }
        for c in 0..channels {
            let channel = to.wrapping_add(c * packer.pitch).cast_const();
            left.extend(packer.taps.iter().map(|&tap| channel.wrapping_add(tap)));
        }
    }
}
