//! Convolution and its gradients over pictures laid out `[N, H, W, C]`.
//!
//! A 3x3 convolution of stride 1 multiplies in Winograd's domain, any other one directly. Which of
//! them it is depends on channels and pixels alone, never on the batch or the threads. One that takes
//! each channel by itself makes no matrix product, and has no gradients here.

mod depthwise;
mod direct;
mod pointwise;
mod winograd;

use crate::{
    Bounds, Padding,
    buffer::{Output, parallel},
    flex::Weight,
    profile::Kind,
    simd::{Isa, Kernel, Simd},
};

/// Fewer channels than this leave most of a vector empty, and then the transforms do not pay.
const FEW: usize = 1;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) samples: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Whether every channel is convolved by itself.
    pub(crate) depthwise: bool,
    pub(crate) window: Window,
}

/// How an output looks at its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Rows of the input, as the kernel sees it.
    pub(crate) height: usize,
    /// Columns of the input, as the kernel sees it.
    pub(crate) width: usize,
    /// How often every pixel of the input is repeated in both directions before the kernel sees it.
    pub(crate) zoom: usize,
    pub(crate) kernel_h: usize,
    pub(crate) kernel_w: usize,
    pub(crate) stride: usize,
    /// Rows of zeros above the input.
    pub(crate) top: usize,
    /// Columns of zeros to the left.
    pub(crate) left: usize,
    pub(crate) out_h: usize,
    pub(crate) out_w: usize,
}

impl Window {
    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel_h * self.kernel_w
    }

    /// Pixels of the input as it lies in memory.
    pub(crate) fn source_pixels(&self) -> usize {
        self.height / self.zoom * (self.width / self.zoom)
    }

    /// Pixels of the output.
    pub(crate) fn pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Whether every output sees the one pixel of the input that lies where it does.
    fn is_pointwise(&self) -> bool {
        let plain = (self.taps(), self.stride, self.zoom) == (1, 1, 1);
        plain && (self.out_h, self.out_w) == (self.height, self.width)
    }

    /// Whether the transforms cost less than what they save.
    fn suits_winograd(&self) -> bool {
        let tiles = self.out_h.div_ceil(4) * self.out_w.div_ceil(4);
        let one = (self.kernel_h, self.kernel_w, self.stride) == (3, 3, 1);
        one && self.top <= 2 && self.left <= 2 && 2 * 36 * tiles <= 9 * self.pixels() * 3 / 2
    }
}

impl Shape {
    /// Of `x` `[N, H, W, I]` under `weight` `[O, I, KH, KW]`, or `[I, 1, KH, KW]` for each channel by itself.
    pub(crate) fn new(
        x: [usize; 4],
        weight: [usize; 4],
        stride: usize,
        pad: Padding,
        zoom: usize,
    ) -> Self {
        let [samples, height, width, inputs] = x;
        let (height, width) = (height * zoom, width * zoom);
        let [outputs, weight_inputs, kernel_h, kernel_w] = weight;
        let depthwise = is_depthwise(x, weight);
        assert!(
            inputs == weight_inputs || depthwise,
            "conv2d: the picture has {inputs} channels, the weight expects {weight_inputs}"
        );
        assert!(inputs > 0, "conv2d: expected a picture with channels, got {x:?}");
        let (padded_h, padded_w) = (height + pad.top + pad.bottom, width + pad.left + pad.right);
        assert!(
            stride > 0 && kernel_h * kernel_w > 0 && padded_h >= kernel_h && padded_w >= kernel_w,
            "conv2d: a {kernel_h}x{kernel_w} kernel with stride {stride} does not fit a padded \
             picture of {padded_h}x{padded_w}"
        );
        let window = Window {
            height,
            width,
            zoom,
            kernel_h,
            kernel_w,
            stride,
            top: pad.top,
            left: pad.left,
            out_h: (padded_h - kernel_h) / stride + 1,
            out_w: (padded_w - kernel_w) / stride + 1,
        };
        Self { samples, inputs, outputs, depthwise, window }
    }

    /// `[N, OH, OW, O]`.
    pub(crate) fn output(&self) -> [usize; 4] {
        [self.samples, self.window.out_h, self.window.out_w, self.outputs]
    }

    /// What kind of layer it is: of a picture of one pixel, a linear one.
    pub(crate) fn kind(&self) -> Kind {
        let w = &self.window;
        if w.height * w.width * w.taps() == 1 { Kind::Linear } else { Kind::Convolution }
    }

    /// Floating-point operations of a product of the weight with all windows, two to a
    /// multiply-add.
    pub(crate) fn flops(&self) -> usize {
        2 * self.samples * self.window.pixels() * self.weight_len()
    }

    /// Numbers of the input.
    fn input_len(&self) -> usize {
        self.samples * self.window.source_pixels() * self.inputs
    }

    /// Numbers of the output.
    fn output_len(&self) -> usize {
        self.output().iter().product()
    }

    /// Numbers of the weight.
    fn weight_len(&self) -> usize {
        let inputs = if self.depthwise { 1 } else { self.inputs };
        self.outputs * inputs * self.window.taps()
    }
}

/// Whether a weight convolves each channel of a picture by itself.
pub(crate) fn is_depthwise(x: [usize; 4], weight: [usize; 4]) -> bool {
    x[3] > 1 && weight[..2] == [x[3], 1]
}

/// What is added to every output: one number a channel, the same for all samples or one for each,
/// and a picture where there is one. The sum is held between bounds.
#[derive(Clone, Copy)]
pub(crate) struct Added<'a> {
    pub(crate) bias: &'a [f32],
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) bounds: Bounds,
}

impl Added<'_> {
    fn check(&self, shape: &Shape) {
        let (o, n) = (shape.outputs, shape.samples);
        let bias = self.bias.len();
        assert!(
            bias == o || bias == n * o,
            "conv2d: expected a bias of {o} numbers, or of {n} times as many, got {bias}"
        );
        assert!(self.residual.is_none_or(|picture| picture.len() == shape.output_len()));
    }

    /// The bias of one sample.
    fn of(&self, sample: usize, outputs: usize) -> &[f32] {
        let first = if self.bias.len() == outputs { 0 } else { sample * outputs };
        &self.bias[first..first + outputs]
    }

    /// The `left` results at `place` from their products and their bias.
    ///
    /// # Safety
    /// They are results of the convolution that this was checked against.
    #[inline(always)]
    unsafe fn to<S: Simd>(
        &self,
        products: S::Vector,
        bias: S::Vector,
        place: usize,
        left: usize,
    ) -> S::Vector {
        // SAFETY: the residual is as large as the result.
        unsafe {
            let mut sum = S::add(products, bias);
            if let Some(residual) = self.residual {
                sum = S::add(sum, S::load_first(residual.as_ptr().add(place), left));
            }
            // In this order of arguments a NaN stays one.
            S::min(S::splat(self.bounds.high), S::max(S::splat(self.bounds.low), sum))
        }
    }
}

/// `y = bias + weight * windows of x`, and the residual where there is one.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
) -> Vec<f32> {
    assert_eq!(x.len(), shape.input_len());
    assert_eq!(weight.len(), shape.weight_len());
    added.check(shape);
    let mut y = Output::new(shape.output_len());
    if shape.depthwise {
        depthwise::forward(isa, shape, x, weight, added, y.pointer());
    } else if shape.window.suits_winograd() && shape.inputs >= FEW {
        winograd::forward(isa, shape, x, weight, added, y.pointer());
    } else if shape.window.is_pointwise() {
        pointwise::forward(isa, shape, x, weight, added, y.pointer());
    } else {
        direct::forward(isa, shape, x, weight, added, y.pointer());
    }
    // SAFETY: every way writes every pixel of every sample.
    unsafe { y.finish() }
}

/// The gradient of `x`, given that of `y`.
pub(crate) fn input_gradient(isa: Isa, shape: &Shape, dy: &[f32], weight: Weight<'_>) -> Vec<f32> {
    assert_eq!(dy.len(), shape.output_len());
    assert_eq!(weight.len(), shape.weight_len());
    let mut dx = Output::new(shape.input_len());
    if shape.window.suits_winograd() && shape.outputs >= FEW {
        winograd::input_gradient(isa, shape, dy, weight, dx.pointer());
    } else {
        direct::input_gradient(isa, shape, dy, weight, dx.pointer());
    }
    // SAFETY: either way writes every pixel of every sample.
    unsafe { dx.finish() }
}

/// The gradient of the weight, given that of `y`.
pub(crate) fn weight_gradient(isa: Isa, shape: &Shape, x: &[f32], dy: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), shape.input_len());
    assert_eq!(dy.len(), shape.output_len());
    let mut dw = Output::new(shape.weight_len());
    if shape.window.suits_winograd() && shape.inputs.min(shape.outputs) >= FEW {
        winograd::weight_gradient(isa, shape, x, dy, dw.pointer());
    } else {
        direct::weight_gradient(isa, shape, x, dy, dw.pointer());
    }
    // SAFETY: either way writes every tap of every channel.
    unsafe { dw.finish() }
}

/// The gradient of the bias: for each sample and channel the sum over the pixels, `[N, O]`, or
/// these added up in order, `[O]`, where all samples share a bias.
pub(crate) fn bias_gradient(isa: Isa, shape: &Shape, dy: &[f32], shared: bool) -> Vec<f32> {
    let (outputs, pixels) = (shape.outputs, shape.window.pixels());
    assert_eq!(dy.len(), shape.output_len());
    // A linear layer has a row where a picture has a sample: there, many to a chain.
    let chain = if shared { (256 / pixels.max(1)).max(1) } else { 1 };
    let chains = shape.samples.div_ceil(chain);
    let mut sums = Output::new(chains * outputs);
    let to = sums.pointer();
    parallel(chains, 16, |range| {
        for i in range {
            let rows = i * chain * pixels..((i + 1) * chain).min(shape.samples) * pixels;
            let part = &dy[rows.start * outputs..rows.end * outputs];
            // SAFETY: this chain's own place.
            let sum = unsafe { std::slice::from_raw_parts_mut(to.at(i * outputs), outputs) };
            isa.run(ColumnSums { from: part, to: sum });
        }
    });
    // SAFETY: every chain wrote its place.
    let sums = unsafe { sums.finish() };
    if !shared {
        return sums;
    }
    let mut total = vec![0.0f32; outputs];
    for part in sums.chunks_exact(outputs.max(1)) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// The sum of the rows of a matrix as wide as `to`.
struct ColumnSums<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.to.len();
        let rows = self.from.len() / width.max(1);
        for at in (0..width).step_by(S::LANES) {
            let left = width - at;
            // SAFETY: the masks end with each row.
            unsafe {
                let mut sum = S::splat(0.0);
                for row in 0..rows {
                    let from = self.from.as_ptr().add(row * width + at);
                    sum = S::add(sum, S::load_first(from, left));
                }
                S::store_first(self.to.as_mut_ptr().add(at), left, sum);
            }
        }
    }
}
