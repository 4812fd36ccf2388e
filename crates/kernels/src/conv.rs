//! Convolution and its two gradients, each a matrix product over the windows of the pictures.

mod weights;

use std::ops::Range;

use crate::{
    Padding,
    buffer::{Output, Scratch, SharedMut, parallel},
    gemm::{Listed, Product, Start, columns, multiply},
    simd::{Isa, Kernel, Simd},
    window::{Packer, Window},
};

pub(crate) use weights::weight_gradient;

/// Length of the inner dimension that is worked through before the next rows of the result are.
const DEPTH: usize = 576;
/// Output pixels that are worked on together: few enough that their windows stay in the cache.
const BAND: usize = 512;
/// The shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) samples: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) window: Window,
}

impl Shape {
    /// Of `x` [N, I, H, W] under `weight` [O, I, KH, KW].
    pub(crate) fn new(x: [usize; 4], weight: [usize; 4], stride: usize, pad: Padding) -> Self {
        let [samples, inputs, height, width] = x;
        let [outputs, weight_inputs, kernel_h, kernel_w] = weight;
        assert_eq!(
            inputs, weight_inputs,
            "conv2d: the picture has {inputs} channels, the weight expects {weight_inputs}"
        );
        let (padded_h, padded_w) = (height + pad.top + pad.bottom, width + pad.left + pad.right);
        assert!(
            stride > 0 && kernel_h * kernel_w > 0 && padded_h >= kernel_h && padded_w >= kernel_w,
            "conv2d: a {kernel_h}x{kernel_w} kernel with stride {stride} does not fit a padded \
             picture of {padded_h}x{padded_w}"
        );
        let window = Window {
            height,
            width,
            kernel_h,
            kernel_w,
            stride,
            top: pad.top as isize,
            left: pad.left as isize,
            out_h: (padded_h - kernel_h) / stride + 1,
            out_w: (padded_w - kernel_w) / stride + 1,
        };
        Self { samples, inputs, outputs, window }
    }

    /// [N, O, OH, OW].
    pub(crate) fn output(&self) -> [usize; 4] {
        [self.samples, self.outputs, self.window.out_h, self.window.out_w]
    }

    fn check(&self, x: &[f32], weight: usize, y: &[f32]) {
        let Window { height, width, out_h, out_w, .. } = self.window;
        assert_eq!(x.len(), self.samples * self.inputs * height * width);
        assert_eq!(weight, self.outputs * self.inputs * self.window.taps());
        assert_eq!(y.len(), self.samples * self.outputs * out_h * out_w);
    }
}

/// Splits the rows of the output into bands of about `pixels`, with whole vectors in all but the
/// last.
fn bands(window: &Window, pixels: usize) -> Vec<Range<usize>> {
    let (height, width) = (window.out_h, window.out_w);
    let count = (height * width).div_ceil(pixels).clamp(1, height.max(1));
    let vectors = 16 >> width.trailing_zeros().min(4);
    let rows = if count == 1 { height } else { height.div_ceil(count).next_multiple_of(vectors) };
    (0..height).step_by(rows.max(1)).map(|r| r..(r + rows).min(height)).collect()
}

/// `y = bias + weight * windows of x`.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let mut y = Output::new(shape.output().iter().product());
    assert_eq!(bias.len(), shape.outputs);
    let pass = Pass::new(isa, *shape, x, weight, Some(bias), y.pointer());
    pass.run(isa);
    // SAFETY: the pass wrote every sample's every band.
    unsafe { y.finish() }
}

/// The product of a matrix with the windows of all samples.
struct Pass<'a> {
    shape: Shape,
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    y: SharedMut,
    /// Samples that are worked on together.
    group: usize,
    bands: Vec<(Range<usize>, Packer)>,
}

impl<'a> Pass<'a> {
    fn new(
        isa: Isa,
        shape: Shape,
        x: &'a [f32],
        weight: &'a [f32],
        bias: Option<&'a [f32]>,
        y: SharedMut,
    ) -> Self {
        let window = &shape.window;
        assert_eq!(x.len(), shape.samples * shape.inputs * window.height * window.width);
        assert_eq!(weight.len(), shape.outputs * shape.inputs * window.taps());
        let group = (128 / (window.out_h * window.out_w).max(1)).max(1);
        let bands = bands(window, BAND)
            .into_iter()
            .map(|band| (band.clone(), Packer::new(window, &band, isa.lanes())))
            .collect();
        Self { shape, x, weight, bias, y, group, bands }
    }

    fn run(&self, isa: Isa) {
        let groups = self.shape.samples.div_ceil(self.group);
        parallel(groups * self.bands.len(), 1, |items| isa.run(Items { pass: self, items }));
    }
}

/// Some of a pass's groups and bands; item `i` is group `i % groups` of band `i / groups`.
struct Items<'a> {
    pass: &'a Pass<'a>,
    items: Range<usize>,
}

impl Kernel for Items<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let pass = self.pass;
        let Shape { samples, inputs, outputs, window } = pass.shape;
        let direct = window.is_direct(S::LANES);
        let groups = samples.div_ceil(pass.group);
        let (taps, source) = (window.taps(), window.height * window.width);
        let block = (DEPTH / taps).clamp(1, inputs);
        let pixels = window.out_h * window.out_w;
        let mut scratch = Scratch::take(0);
        let mut zeroed = usize::MAX;
        let (mut list, mut left) = (Vec::new(), Vec::new());
        for item in self.items {
            let (band, packer) = &pass.bands[item / groups];
            let first = item % groups * pass.group;
            let chosen = first..(first + pass.group).min(samples);
            let sample_pitch = if direct { inputs * source } else { block * packer.pitch };
            if !direct && zeroed != item / groups {
                scratch.resize(pass.group * sample_pitch);
                scratch.slice().fill(0.0);
                zeroed = item / groups;
            }
            let pitch = if direct { source } else { packer.pitch };
            let offsets: Vec<usize> = (0..block)
                .flat_map(|c| packer.taps.iter().map(move |tap| c * pitch + tap))
                .collect();
            for c0 in (0..inputs).step_by(block) {
                let depth = block.min(inputs - c0);
                list.clear();
                for (i, n) in chosen.clone().enumerate() {
                    let from = pass.x.as_ptr().wrapping_add((n * inputs + c0) * source);
                    let result = pass.y.at(n * outputs * pixels + band.start * window.out_w);
                    let mut right = from.wrapping_add(band.start * window.out_w);
                    if !direct {
                        let to = scratch.pointer().wrapping_add(i * sample_pitch);
                        // SAFETY: the channels exist, and the scratch was made this large.
                        unsafe { packer.pack::<S>(from, source, depth, to) };
                        right = to;
                    }
                    columns::<S>(&mut list, right, result, band.len() * window.out_w);
                }
                left.clear();
                let row = inputs * taps;
                left.extend(
                    (0..outputs).map(|o| pass.weight.as_ptr().wrapping_add(o * row + c0 * taps)),
                );
                let start = match pass.bias {
                    _ if c0 > 0 => Start::Resume,
                    Some(bias) => Start::Bias(bias.as_ptr()),
                    None => Start::Zero,
                };
                let product = Product::new(Listed(&offsets), depth * taps, pixels);
                // SAFETY: rows of the weights, windows just packed (or a picture of whole
                // vectors), and pixels of the output that only this item writes.
                unsafe { multiply::<S, _>(&left, &list, &Product { start, ..product }) };
            }
        }
    }
}

/// The gradient of `x`, given that of `y`.
///
/// The input pixels of equal remainder modulo the stride see a sub-kernel of their own, with which
/// they are a convolution of stride 1 over the gradient.
pub(crate) fn input_gradient(isa: Isa, shape: &Shape, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    let window = &shape.window;
    let (planes, pixels) = (shape.samples * shape.inputs, window.height * window.width);
    assert_eq!(dy.len(), shape.output().iter().product::<usize>());
    let mut dx = Output::new(planes * pixels);
    if window.stride == 1 {
        let (phase, weight) = phase(shape, weight, 0, 0);
        Pass::new(isa, phase, dy, &weight, None, dx.pointer()).run(isa);
        // SAFETY: the pass wrote every sample's every band.
        return unsafe { dx.finish() };
    }
    let to = dx.pointer();
    for (py, px) in (0..window.stride).flat_map(|py| (0..window.stride).map(move |px| (py, px))) {
        let (phase, weight) = phase(shape, weight, py, px);
        let Window { out_h, out_w, .. } = phase.window;
        let mut part = vec![0.0f32; planes * out_h * out_w];
        if !weight.is_empty() && !part.is_empty() {
            Pass::new(isa, phase, dy, &weight, None, SharedMut::new(&mut part)).run(isa);
        }
        if part.is_empty() {
            continue;
        }
        parallel(planes * out_h, 256, |range| {
            for (row, values) in range.clone().zip(part[range.start * out_w..].chunks_exact(out_w))
            {
                let y = row % out_h * window.stride + py;
                let at = row / out_h * pixels + y * window.width + px;
                for (x, value) in values.iter().enumerate() {
                    // SAFETY: a pixel of this row, which this thread alone writes.
                    unsafe { *to.at(at + x * window.stride) = *value };
                }
            }
        });
    }
    // SAFETY: the phases together cover every pixel.
    unsafe { dx.finish() }
}

/// The convolution, and its weights, by which the input pixels at rows `py` and columns `px`
/// modulo the stride see the output's gradient.
fn phase(shape: &Shape, weight: &[f32], py: usize, px: usize) -> (Shape, Vec<f32>) {
    let w = &shape.window;
    // Of one dimension: the first tap that falls on this phase, how many do, the padding.
    let along = |offset: isize, p: usize, kernel: usize| {
        let shifted = p + offset as usize;
        let first = shifted % w.stride;
        let taps = kernel.saturating_sub(first).div_ceil(w.stride);
        (first, taps, taps as isize - 1 - (shifted / w.stride) as isize)
    };
    let (first_y, taps_y, top) = along(w.top, py, w.kernel_h);
    let (first_x, taps_x, left) = along(w.left, px, w.kernel_w);
    let mut turned = Vec::with_capacity(shape.inputs * shape.outputs * taps_y * taps_x);
    for i in 0..shape.inputs {
        for o in 0..shape.outputs {
            let kernel = &weight[(o * shape.inputs + i) * w.taps()..][..w.taps()];
            for y in (0..taps_y).rev() {
                for x in (0..taps_x).rev() {
                    let (ky, kx) = (first_y + y * w.stride, first_x + x * w.stride);
                    turned.push(kernel[ky * w.kernel_w + kx]);
                }
            }
        }
    }
    let window = Window {
        height: w.out_h,
        width: w.out_w,
        kernel_h: taps_y,
        kernel_w: taps_x,
        stride: 1,
        top,
        left,
        out_h: w.height.saturating_sub(py).div_ceil(w.stride),
        out_w: w.width.saturating_sub(px).div_ceil(w.stride),
    };
    let samples = shape.samples;
    (Shape { samples, inputs: shape.outputs, outputs: shape.inputs, window }, turned)
}
