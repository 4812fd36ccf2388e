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
/// As many that stay in the cache of a core.
const CACHE: usize = 144 << 10;
/// Groups of tiles that threads may take at the same time where there are few channels.
const GROUPS: usize = 8;
/// Taps of a kernel.
const TAPS: usize = 9;

/// Writes the gradient of the weight, given that of `y`.
pub(crate) fn weight_gradient(isa: Isa, shape: &Shape, x: &[f32], dy: &[f32], dw: SharedMut) {
    let job = Job::new(isa, shape, x, dy);
    let mut sums = Scratch::take(job.groups * PARTS * job.part);
    let sums = SharedMut::new(sums.slice());
    if job.groups > 1 {
        // Few channels: each group of chunks stays in the cache of one thread.
        parallel(job.groups, 1, |groups| {
            for group in groups {
                job.group(group, sums.from(group * PARTS * job.part), |len, work| work(0..len));
            }
        });
    } else {
        job.group(0, sums, |len, work| parallel(len, 4, work));
    }
    let blocks = shape.inputs.div_ceil(BLOCK);
    parallel(shape.outputs.div_ceil(16) * blocks, 1, |tasks| {
        isa.run(Finish { shape, job: &job, tasks, sums, to: dw });
    });
}

/// How the tiles are shared out. It depends on the shape alone, for it decides where chains end.
struct Job<'a> {
    isa: Isa,
    x: &'a [f32],
    dy: &'a [f32],
    source: Pictures,
    target: Pictures,
    inputs: usize,
    /// Output channels in whole panels.
    outputs: usize,
    /// Tiles that are transformed together.
    chunk: usize,
    /// Groups of tiles with sums of their own.
    groups: usize,
    /// Distance between the components of the sums.
    part: usize,
}

impl<'a> Job<'a> {
    fn new(isa: Isa, shape: &Shape, x: &'a [f32], dy: &'a [f32]) -> Self {
        let (source, target) = (Pictures::input(shape), Pictures::output(shape));
        let (inputs, outputs) = (shape.inputs, shape.outputs.next_multiple_of(PANEL));
        let tiles = source.tiles().max(1);
        let each = PARTS * (inputs + outputs);
        let few = inputs * outputs <= 64 * 64;
        let chunk = match few {
            true => (CACHE / each).next_multiple_of(16).min(CHAIN),
            false => (ROOM / each).next_multiple_of(CHAIN),
        };
        let chunk = chunk.min(tiles);
        let groups = if few { tiles.div_ceil(chunk).min(GROUPS) } else { 1 };
        let part = spread(inputs.next_multiple_of(gemm::PANEL) * outputs);
        Self { isa, x, dy, source, target, inputs, outputs, chunk, groups, part }
    }

    /// Adds up the products over the tiles of a group. `each` calls its second argument on ranges
    /// that cover all numbers below its first.
    fn group(
        &self,
        group: usize,
        sums: SharedMut,
        each: impl Fn(usize, &(dyn Fn(Range<usize>) + Sync)),
    ) {
        let (isa, tiles) = (self.isa, self.source.tiles());
        let seen_layout = Layout::panels(self.chunk, self.inputs, gemm::PANEL);
        let made_layout = Layout::panels(self.chunk, self.outputs, PANEL);
        let mut seen = Scratch::take(seen_layout.len());
        let mut made = Scratch::take(made_layout.len());
        let [seen, made] = [&mut seen, &mut made].map(|s| SharedMut::new(s.slice()));
        let chunks = tiles.div_ceil(self.chunk);
        let chunks = group * chunks / self.groups..(group + 1) * chunks / self.groups;
        for (i, first) in chunks.map(|chunk| chunk * self.chunk).enumerate() {
            let count = self.chunk.min(tiles - first);
            each(count, &|some| {
                let tiles = first + some.start..first + some.end;
                let (from, to, layout) = (self.x, seen, seen_layout);
                let (pictures, some) = (self.source, tiles.clone());
                isa.run(Scatter::<false> { pictures, from, tiles: some, first, to, layout });
                let (from, to, layout) = (self.dy, made, made_layout);
                let pictures = self.target;
                isa.run(Scatter::<true> { pictures, from, tiles, first, to, layout });
            });
            let panels = self.outputs / PANEL;
            each(PARTS * panels, &|tasks| {
                let (seen, made) = ((seen, seen_layout), (made, made_layout));
                let (inputs, clear, to) = (self.inputs, i == 0, (sums, self.part));
                isa.run(Sums { tasks, panels, inputs, count, seen, made, clear, to });
            });
        }
    }
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
    job: &'a Job<'a>,
    tasks: Range<usize>,
    sums: SharedMut,
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
                        let from = self.sums.at((first + i) * self.job.outputs + channel);
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
                    let from = from.add((r * SEEN + c) * self.job.part);
                    *value = S::load(from);
                    for group in 1..self.job.groups {
                        let more = S::load(from.add(group * PARTS * self.job.part));
                        *value = S::add(*value, more);
                    }
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
