//! Convolution of every channel by itself: no matrix product, but for each output a sum over the taps.
//!
//! Outputs are made a vector of channels wide and several pixels long, so that a pixel of the input is read once for
//! all the outputs of a row that see it. Each is one chain over the taps, in order.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel, transpose},
    conv::{Added, Shape, Window},
    flex::Weight,
    simd::{Isa, Kernel, Simd},
};

/// Outputs of a row that are made together.
const RUN: usize = 4;
/// Multiply-adds that one thread takes at a time at least.
const GRAIN: usize = 1 << 16;

/// Writes `y = bias + weight * windows of x`, and the residual where there is one.
pub(super) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
    y: SharedMut,
) {
    let taps = shape.window.taps();
    let mut turned = Scratch::take(taps * shape.outputs);
    let weights = SharedMut::new(turned.slice());
    isa.run(Turn { weight, channels: shape.outputs, taps, to: weights });
    let row = shape.window.out_w * taps * shape.outputs;
    parallel(shape.samples * shape.window.out_h, GRAIN / row.max(1) + 1, |rows| {
        isa.run(Rows { shape, x, weights, added, rows, to: y });
    });
}

/// Lays the weight out as `[tap][channel]`.
struct Turn<'a> {
    weight: Weight<'a>,
    channels: usize,
    taps: usize,
    to: SharedMut,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { channels, taps, .. } = self;
        let mut room = Scratch::take(0);
        let from = self.weight.rows(0, [channels, taps, taps], &mut room);
        // SAFETY: the whole weight, and room for as much.
        unsafe { transpose::<S>(from, channels, taps, (self.to.at(0), channels)) };
    }
}

/// Rows of the output, counted through all samples.
struct Rows<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    weights: SharedMut,
    added: Added<'a>,
    rows: Range<usize>,
    to: SharedMut,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let w = &self.shape.window;
        for row in self.rows.clone() {
            // SAFETY: this task's own rows; the kernel is of that size.
            unsafe {
                match (w.kernel_h, w.kernel_w, w.stride) {
                    (3, 3, 1) => S::call(Row::<3, 1> { rows: &self, row }),
                    (3, 3, 2) => S::call(Row::<3, 2> { rows: &self, row }),
                    (5, 5, 1) => S::call(Row::<5, 1> { rows: &self, row }),
                    (5, 5, 2) => S::call(Row::<5, 2> { rows: &self, row }),
                    _ => S::call(AnyRow { rows: &self, row }),
                }
            }
        }
    }
}

/// Part of an output row: what its pixels see.
struct Seen {
    /// Rows of the kernel that see the picture.
    taps: Range<usize>,
    /// Where the row of the input that the first of them sees begins.
    input: usize,
    /// Where the output row begins.
    output: usize,
    sample: usize,
}

impl Seen {
    fn new(shape: &Shape, row: usize) -> Self {
        let w = &shape.window;
        let (sample, y) = (row / w.out_h, row % w.out_h);
        let first = y * w.stride;
        let taps =
            w.top.saturating_sub(first)..w.kernel_h.min((w.height + w.top).saturating_sub(first));
        let taps = taps.start.min(taps.end)..taps.end;
        let source = (first + taps.start).saturating_sub(w.top);
        let pitch = w.width * shape.inputs;
        Self {
            input: sample * w.source_pixels() * shape.inputs + source * pitch,
            output: row * w.out_w * shape.outputs,
            taps,
            sample,
        }
    }
}

/// Those outputs of a row whose windows lie within the row.
fn inside(w: &Window) -> Range<usize> {
    let first = w.left.div_ceil(w.stride);
    let end = (w.width + w.left).checked_sub(w.kernel_w).map_or(0, |last| last / w.stride + 1);
    let end = end.min(w.out_w);
    first.min(end)..end
}

/// One row under a square kernel of side `K` that moves by `STEP`.
struct Row<'a, const K: usize, const STEP: usize> {
    rows: &'a Rows<'a>,
    row: usize,
}

impl<const K: usize, const STEP: usize> Kernel for Row<'_, K, STEP> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Rows { shape, .. } = *self.rows;
        let seen = Seen::new(shape, self.row);
        let inside = inside(&shape.window);
        for at in (0..shape.outputs).step_by(S::LANES) {
            // SAFETY: pixels of this task's row.
            unsafe {
                for x in (0..inside.start).chain(inside.end..shape.window.out_w) {
                    self.rows.pixel::<S>(&seen, x, at);
                }
                let mut x = inside.start;
                if at + S::LANES <= shape.outputs {
                    while x + RUN <= inside.end {
                        self.run_of::<S, RUN, true>(&seen, x, at);
                        x += RUN;
                    }
                }
                while x < inside.end {
                    self.run_of::<S, 1, false>(&seen, x, at);
                    x += 1;
                }
            }
        }
    }
}

impl<const K: usize, const STEP: usize> Row<'_, K, STEP> {
    /// The outputs from `x` on, `P` of them, whose windows lie within the row; `WHOLE` where there is a whole
    /// vector of channels.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn run_of<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        seen: &Seen,
        x: usize,
        at: usize,
    ) {
        let Rows { shape, weights, .. } = *self.rows;
        let (w, channels) = (&shape.window, shape.outputs);
        let left = if WHOLE { S::LANES } else { channels - at };
        // SAFETY: the caller's promise; the masks end with the pixels and with the weight.
        unsafe {
            let mut sums = [S::splat(0.0); P];
            let first = seen.input + (x * STEP - w.left) * channels + at;
            let mut from = self.rows.x.as_ptr().wrapping_add(first);
            for ky in seen.taps.clone() {
                let mut taps = [S::splat(0.0); K];
                for kx in 0..K {
                    taps[kx] = S::load_first(weights.at((ky * K + kx) * channels + at), left);
                }
                for c in 0..(P - 1) * STEP + K {
                    let pixel = S::load_first(from.add(c * channels), left);
                    for p in 0..P {
                        if c >= p * STEP && c < p * STEP + K {
                            sums[p] = S::mul_add(pixel, taps[c - p * STEP], sums[p]);
                        }
                    }
                }
                from = from.wrapping_add(w.width * channels);
            }
            for p in 0..P {
                self.rows.write::<S>(seen, x + p, at, sums[p]);
            }
        }
    }
}

/// One row under any kernel.
struct AnyRow<'a> {
    rows: &'a Rows<'a>,
    row: usize,
}

impl Kernel for AnyRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let shape = self.rows.shape;
        let seen = Seen::new(shape, self.row);
        for at in (0..shape.outputs).step_by(S::LANES) {
            for x in 0..shape.window.out_w {
                // SAFETY: pixels of this task's row.
                unsafe { self.rows.pixel::<S>(&seen, x, at) };
            }
        }
    }
}

impl Rows<'_> {
    /// One output, whichever part of its window lies within the picture.
    #[inline(always)]
    unsafe fn pixel<S: Simd>(&self, seen: &Seen, x: usize, at: usize) {
        let (w, channels) = (&self.shape.window, self.shape.outputs);
        let left = channels - at;
        // SAFETY: the caller's promise; taps outside of the picture are left out.
        unsafe {
            let mut sum = S::splat(0.0);
            for ky in seen.taps.clone() {
                let row = seen.input + (ky - seen.taps.start) * w.width * channels + at;
                for kx in 0..w.kernel_w {
                    let Some(column) = (x * w.stride + kx).checked_sub(w.left) else { continue };
                    if column < w.width {
                        let pixel = self.x.as_ptr().add(row + column * channels);
                        let tap = self.weights.at((ky * w.kernel_w + kx) * channels + at);
                        let (pixel, tap) = (S::load_first(pixel, left), S::load_first(tap, left));
                        sum = S::mul_add(pixel, tap, sum);
                    }
                }
            }
            self.write::<S>(seen, x, at, sum);
        }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, seen: &Seen, x: usize, at: usize, sum: S::Vector) {
        let channels = self.shape.outputs;
        let (place, left) = (seen.output + x * channels + at, channels - at);
        // SAFETY: the caller's promise.
        unsafe {
            let bias = self.added.of(seen.sample, channels).as_ptr().add(at);
            let sum = self.added.to::<S>(sum, S::load_first(bias, left), place, left);
            S::store_first(self.to.at(place), left, sum);
        }
    }
}
