//! The gradient of the weight: `dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G`.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel, transpose},
    conv::Shape,
    gemm::{self, Turned, multiply_turned},
    simd::{Isa, Kernel, Simd},
};

use super::{
    PANEL, PARTS, SEEN, spread,
    tiles::{Layout, Pictures, Scatter},
    transform::{TapsGradient, Transform},
};

/// Tiles whose contributions form one chain; the chains' sums are then added up.
const CHAIN: usize = 256;
/// Numbers that the transformed tiles of a chunk may take.
const ROOM: usize = 4 << 20;
/// Taps of a kernel.
const TAPS: usize = 9;

/// Writes the gradient of the weight, given that of `y`.
pub(crate) fn weight_gradient(isa: Isa, shape: &Shape, x: &[f32], dy: &[f32], dw: SharedMut) {
    let (source, target) = (Pictures::input(shape), Pictures::output(shape));
    let (inputs, outputs) = (shape.inputs, shape.outputs.next_multiple_of(PANEL));
    let tiles = source.tiles();
    // How many go together depends on the shape alone, for it decides where chains end.
    let chunk = (ROOM / (PARTS * (inputs + outputs))).next_multiple_of(CHAIN).min(tiles.max(1));
    let seen_layout = Layout::panels(chunk, inputs, gemm::PANEL);
    let made_layout = Layout::panels(chunk, outputs, PANEL);
    let mut seen = Scratch::take(seen_layout.len());
    let mut made = Scratch::take(made_layout.len());
    let part = spread(inputs.next_multiple_of(gemm::PANEL) * outputs);
    let mut sums = Scratch::take(PARTS * part);
    let [seen, made, sums] = [&mut seen, &mut made, &mut sums].map(|s| SharedMut::new(s.slice()));
    for first in (0..tiles).step_by(chunk) {
        let count = chunk.min(tiles - first);
        parallel(count, 4, |some| {
            let tiles = first + some.start..first + some.end;
            let (pictures, layout) = (source, seen_layout);
            let some = tiles.clone();
            isa.run(Scatter::<false> { pictures, from: x, tiles: some, first, to: seen, layout });
            let (pictures, layout) = (target, made_layout);
            isa.run(Scatter::<true> { pictures, from: dy, tiles, first, to: made, layout });
        });
        let panels = outputs / PANEL;
        parallel(PARTS * panels, 1, |tasks| {
            let (seen, made) = ((seen, seen_layout), (made, made_layout));
            let clear = first == 0;
            isa.run(Sums { tasks, panels, inputs, count, seen, made, clear, to: (sums, part) });
        });
    }
    let blocks = shape.inputs.div_ceil(BLOCK);
    parallel(shape.outputs.div_ceil(16) * blocks, 1, |tasks| {
        isa.run(Finish { shape, tasks, sums, part, width: outputs, to: dw });
    });
}

/// Adds the products of some components and panels over the tiles of a chunk; task `i` is panel
/// `i % panels` of component `i / panels`.
struct Sums {
    tasks: Range<usize>,
    panels: usize,
    inputs: usize,
    count: usize,
    seen: (SharedMut, Layout),
    made: (SharedMut, Layout),
    /// Whether nothing was added yet.
    clear: bool,
    to: (SharedMut, usize),
}

impl Kernel for Sums {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let stride = self.panels * PANEL;
        for task in self.tasks {
            let (p, panel) = (task / self.panels, task % self.panels);
            let to = self.to.0.at(p * self.to.1 + panel * PANEL);
            if self.clear {
                for i in 0..self.inputs.next_multiple_of(gemm::PANEL) {
                    // SAFETY: this task's own panel of a row of the sums.
                    unsafe { std::slice::from_raw_parts_mut(to.add(i * stride), PANEL) }.fill(0.0);
                }
            }
            let (made, layout) = self.made;
            let right = made.at(p * layout.part + panel * layout.far).cast_const();
            for first in (0..self.count).step_by(CHAIN) {
                let depth = CHAIN.min(self.count - first);
                for (lot, row) in (0..self.inputs).step_by(gemm::PANEL).enumerate() {
                    let (seen, layout) = self.seen;
                    let left = seen.at(p * layout.part + lot * layout.far + first * layout.tile);
                    // SAFETY: panels of the chunk, and this task's own part of the sums.
                    unsafe {
                        multiply_turned::<S>(Turned {
                            left,
                            rows: gemm::PANEL.min(self.inputs - row),
                            right: right.add(first * PANEL),
                            width: PANEL,
                            depth,
                            result: to.add(row * stride),
                            stride,
                        });
                    }
                }
            }
        }
    }
}

/// Input channels that are turned back together.
const BLOCK: usize = 16;

/// Transforms the sums back and writes them as weights; task `i` is the `i % blocks`th block of
/// input channels of 16 output channels.
struct Finish<'a> {
    shape: &'a Shape,
    tasks: Range<usize>,
    sums: SharedMut,
    part: usize,
    /// Output channels to a row of the sums.
    width: usize,
    to: SharedMut,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { inputs, outputs, .. } = *self.shape;
        let blocks = inputs.div_ceil(BLOCK);
        let mut taps = Scratch::take(BLOCK * TAPS * S::LANES);
        for task in self.tasks.clone() {
            let first = task % blocks * BLOCK;
            let count = BLOCK.min(inputs - first);
            let channels = task / blocks * 16..outputs.min((task / blocks + 1) * 16);
            for channel in channels.step_by(S::LANES) {
                let lanes = S::LANES.min(outputs - channel);
                // SAFETY: the sums have whole vectors of every input channel's row; these
                // channels' weights are this task's own.
                unsafe {
                    for i in 0..count {
                        let from = self.sums.at((first + i) * self.width + channel);
                        self.taps::<S>(from, taps.pointer().add(i * TAPS * S::LANES));
                    }
                    let row = inputs * TAPS;
                    let to = self.to.at(channel * row + first * TAPS);
                    let from = (taps.pointer().cast_const(), S::LANES);
                    transpose::<S>(from, count * TAPS, lanes, (to, row));
                }
            }
        }
    }
}

impl Finish<'_> {
    /// The nine taps of one vector of kernels.
    #[inline(always)]
    unsafe fn taps<S: Simd>(&self, from: *const f32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut square = [[S::splat(0.0); SEEN]; SEEN];
            for (r, row) in square.iter_mut().enumerate() {
                for (c, value) in row.iter_mut().enumerate() {
                    *value = S::load(from.add((r * SEEN + c) * self.part));
                }
            }
            for (r, row) in TapsGradient::square::<S>(&square).iter().enumerate() {
                for (c, &value) in row.iter().enumerate() {
                    S::store(to.add((r * 3 + c) * S::LANES), value);
                }
            }
        }
    }
}
