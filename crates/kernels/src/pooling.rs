//! The mean or the greatest of every window of a picture, channel by channel.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::{
    buffer::{Output, SharedMut, parallel},
    flex, is_plain,
    simd::{Isa, Kernel, Simd},
    stock,
};

/// Numbers that one thread takes at a time at least.
const GRAIN: usize = 16 * 1024;

/// How a window moves over a picture to pool it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Pixels from one window to the next.
    pub step: usize,
    /// By how many rows and columns windows reach beyond the picture on every side, where there is nothing; less than
    /// the window's.
    pub padding: usize,
}

/// The mean of every window, over those of its pixels that the picture has.
///
/// # Shapes
/// `[N, H, W, C]` to `[N, (H + 2 padding - KH) / step + 1, (W + 2 padding - KW) / step + 1, C]`.
pub fn average_pool(x: Tensor<4>, pooling: Pooling) -> Tensor<4> {
    pool(x, pooling, Of::Mean)
}

/// The greatest number of every window.
///
/// # Shapes
/// Those of [`average_pool`].
pub fn max_pool(x: Tensor<4>, pooling: Pooling) -> Tensor<4> {
    pool(x, pooling, Of::Greatest)
}

/// What is made of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Mean,
    Greatest,
}

fn pool(x: Tensor<4>, pooling: Pooling, of: Of) -> Tensor<4> {
    let shape = Shape::new(x.dims(), pooling);
    if !is_plain(&x) {
        return match of {
            Of::Mean => stock::average_pool(x, pooling),
            Of::Greatest => stock::max_pool(x, pooling),
        };
    }
    let y = forward(Isa::best(), &shape, flex::primitive(x).slice(), of);
    flex::wrap(flex::tensor(y, shape.output().into()))
}

/// The extents of a picture and of what is made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    x: [usize; 4],
    pooling: Pooling,
    height: usize,
    width: usize,
}

impl Shape {
    pub(crate) fn new(x: [usize; 4], pooling: Pooling) -> Self {
        let Pooling { window, step, padding } = pooling;
        let padded = [x[1] + 2 * padding, x[2] + 2 * padding];
        assert!(
            step > 0 && (0..2).all(|i| padding < window[i] && window[i] <= padded[i]),
            "a pooling window of {window:?} with step {step} and padding {padding} does not fit a picture of {x:?}"
        );
        let along = |i: usize| (padded[i] - window[i]) / step + 1;
        Self { x, pooling, height: along(0), width: along(1) }
    }

    /// `[N, OH, OW, C]`.
    pub(crate) fn output(&self) -> [usize; 4] {
        [self.x[0], self.height, self.width, self.x[3]]
    }

    /// Those rows or columns of the picture that the window `at` sees.
    fn seen(&self, dim: usize, at: usize) -> Range<usize> {
        let Pooling { window, step, padding } = self.pooling;
        let first = at * step;
        first.saturating_sub(padding)..(first + window[dim] - padding).min(self.x[dim + 1])
    }
}

/// Every window's mean or greatest.
pub(crate) fn forward(isa: Isa, shape: &Shape, x: &[f32], of: Of) -> Vec<f32> {
    assert_eq!(x.len(), shape.x.iter().product::<usize>());
    let [samples, height, width, channels] = shape.output();
    let mut y = Output::new(samples * height * width * channels);
    let to = y.pointer();
    parallel(samples * height, GRAIN / (width * channels).max(1) + 1, |rows| {
        isa.run(Rows { shape, x, of, rows, to });
    });
    // SAFETY: the ranges cover the rows, and each was written whole.
    unsafe { y.finish() }
}

/// Rows of the result, counted through all samples.
struct Rows<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    of: Of,
    rows: Range<usize>,
    to: SharedMut,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let shape = self.shape;
        let [_, height, width, channels] = shape.output();
        let [_, source_height, source_width, _] = shape.x;
        for row in self.rows.clone() {
            let sample = row / height * source_height;
            let rows = shape.seen(0, row % height);
            for column in 0..width {
                let columns = shape.seen(1, column);
                let first = (sample + rows.start) * source_width + columns.start;
                let from = self.x[first * channels..].as_ptr();
                let window = [rows.len(), columns.len()];
                let to = self.to.from((row * width + column) * channels);
                // SAFETY: the window lies within the sample; this task's own row.
                unsafe {
                    match self.of {
                        Of::Mean => mean::<S>((from, source_width), window, channels, to),
                        Of::Greatest => greatest::<S>((from, source_width), window, channels, to),
                    }
                }
            }
        }
    }
}

/// The mean of a window whose first pixel is at `from`, in a picture `pitch` pixels wide.
///
/// # Safety
/// The window's pixels may be read, `channels` numbers written.
#[inline(always)]
unsafe fn mean<S: Simd>(
    (from, pitch): (*const f32, usize),
    [rows, columns]: [usize; 2],
    channels: usize,
    to: SharedMut,
) {
    for at in (0..channels).step_by(S::LANES) {
        let left = channels - at;
        // SAFETY: the caller's promise; the masks end with the pixels.
        unsafe {
            let mut sum = S::splat(0.0);
            for r in 0..rows {
                for c in 0..columns {
                    let pixel = from.add((r * pitch + c) * channels + at);
                    sum = S::add(sum, S::load_first(pixel, left));
                }
            }
            let mean = S::div(sum, S::splat((rows * columns) as f32));
            S::store_first(to.at(at), left, mean);
        }
    }
}

/// The greatest number of each channel of a window; a NaN in it may be passed over.
///
/// # Safety
/// As for [`mean`].
#[inline(always)]
unsafe fn greatest<S: Simd>(
    (from, pitch): (*const f32, usize),
    [rows, columns]: [usize; 2],
    channels: usize,
    to: SharedMut,
) {
    for at in (0..channels).step_by(S::LANES) {
        let left = channels - at;
        // SAFETY: the caller's promise; the masks end with the pixels.
        unsafe {
            let mut most = S::splat(f32::NEG_INFINITY);
            for r in 0..rows {
                for c in 0..columns {
                    let pixel = from.add((r * pitch + c) * channels + at);
                    most = S::max(most, S::load_first(pixel, left));
                }
            }
            S::store_first(to.at(at), left, most);
        }
    }
}
