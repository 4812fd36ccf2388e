//! The gradient of the weight, directly: for every tap the product of the pixels that it sees,
//! transposed, with the output's gradient, over all pixels of all samples in their order.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel},
    conv::Shape,
    gemm::{self, Turned, multiply_turned},
    simd::{Isa, Kernel, Simd},
};

use super::{Grid, NONE, PANEL, View};

/// Pixels whose contributions form one chain; the chains' sums are then added up.
const CHAIN: usize = 256;

/// Writes the gradient of the weight, given that of `y`.
pub(crate) fn weight_gradient(isa: Isa, shape: &Shape, x: &[f32], dy: &[f32], dw: SharedMut) {
    let outputs = shape.outputs;
    let pixels = shape.samples * shape.window.pixels();
    let panels = outputs.div_ceil(PANEL);
    let mut packed = Scratch::take(panels * pixels * PANEL);
    let made = SharedMut::new(packed.slice());
    parallel(pixels, CHAIN, |some| {
        for pixel in some {
            let from = &dy[pixel * outputs..(pixel + 1) * outputs];
            for (panel, from) in from.chunks(PANEL).enumerate() {
                // SAFETY: this pixel's own place in the panel.
                let to = unsafe {
                    let to = made.at((panel * pixels + pixel) * PANEL);
                    std::slice::from_raw_parts_mut(to, PANEL)
                };
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(0.0);
            }
        }
    });
    let lots = shape.inputs.div_ceil(gemm::PANEL);
    let w = &shape.window;
    let grid = Grid::new(View::Forward, w, [0..w.out_h, 0..w.out_w], w.out_w);
    for tap in (0..w.taps()).filter(|tap| !grid.taps.contains(tap)) {
        for at in (tap..shape.weight_len()).step_by(w.taps()) {
            // SAFETY: a weight that no picture ever meets.
            unsafe { *dw.at(at) = 0.0 };
        }
    }
    parallel(grid.taps.len() * lots, 1, |tasks| {
        isa.run(Lots { shape, grid: &grid, tasks, lots, x, made, to: dw });
    });
}

/// Task `i` is lot `i % lots` of input channels under the grid's tap `i / lots`.
struct Lots<'a> {
    shape: &'a Shape,
    grid: &'a Grid,
    tasks: Range<usize>,
    lots: usize,
    x: &'a [f32],
    made: SharedMut,
    to: SharedMut,
}

impl Kernel for Lots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { inputs, outputs, .. } = *self.shape;
        let panels = outputs.div_ceil(PANEL);
        let stride = panels * PANEL;
        let pixels = self.shape.samples * self.shape.window.pixels();
        let taps = self.shape.window.taps();
        let mut seen = Scratch::take(CHAIN * gemm::PANEL);
        let mut sums = Scratch::take(gemm::PANEL * stride);
        for task in self.tasks.clone() {
            let (tap, first) = (task / self.lots, task % self.lots * gemm::PANEL);
            let rows = gemm::PANEL.min(inputs - first);
            sums.slice().fill(0.0);
            for chain in (0..pixels).step_by(CHAIN) {
                let depth = CHAIN.min(pixels - chain);
                self.pack(chain..chain + depth, tap, first..first + rows, seen.slice());
                for panel in 0..panels {
                    // SAFETY: panels of the chain, and this task's own sums.
                    unsafe {
                        multiply_turned::<S>(Turned {
                            left: seen.pointer(),
                            rows,
                            right: self.made.at((panel * pixels + chain) * PANEL),
                            width: PANEL,
                            depth,
                            result: sums.pointer().add(panel * PANEL),
                            stride,
                        });
                    }
                }
            }
            let sums = sums.slice();
            for o in 0..outputs {
                for i in 0..rows {
                    let at = (o * inputs + first + i) * taps + self.grid.taps[tap];
                    // SAFETY: these weights are this task's own.
                    unsafe { *self.to.at(at) = sums[i * stride + o] };
                }
            }
        }
    }
}

impl Lots<'_> {
    /// The `channels` of what some pixels see through a tap.
    #[inline(always)]
    fn pack(&self, pixels: Range<usize>, tap: usize, channels: Range<usize>, to: &mut [f32]) {
        let (w, inputs) = (&self.shape.window, self.shape.inputs);
        let seen = &self.grid.seen[tap * w.pixels()..(tap + 1) * w.pixels()];
        let (mut sample, mut pixel) = (pixels.start / w.pixels(), pixels.start % w.pixels());
        for to in to.chunks_exact_mut(gemm::PANEL).take(pixels.len()) {
            let (own, rest) = to.split_at_mut(channels.len());
            match seen[pixel] {
                NONE => own.fill(0.0),
                at => {
                    let at = (sample * w.source_pixels() + at) * inputs + channels.start;
                    own.copy_from_slice(&self.x[at..at + own.len()]);
                }
            }
            rest.fill(0.0);
            pixel += 1;
            if pixel == seen.len() {
                (sample, pixel) = (sample + 1, 0);
            }
        }
    }
}
