//! Convolution as it is defined: for every tap of the kernel a matrix product,
//! `[pixels, inputs] [inputs, outputs]`, whose rows on the left are the pixels that the tap sees.

mod narrow;
mod weights;

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel, transpose},
    conv::{Added, Shape, Window},
    flex::Weight,
    gemm::{Product, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

pub(super) use weights::weight_gradient;

/// Output channels to a panel of the weight.
const PANEL: usize = 32;
/// Output pixels that are worked on together.
const PIXELS: usize = 64;
/// Length of the inner dimension that is worked through before the next pixels are.
const DEPTH: usize = 256;
/// Zeros, for taps that see none of the picture.
static ZEROS: [f32; DEPTH] = [0.0; DEPTH];

/// Which of its pixels a result is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// The result is the output, computed from the input.
    Forward,
    /// The result is the input's gradient, computed from the output's.
    Gradient,
}

impl View {
    /// Which pixel of its source the tap (`ky`, `kx`) of the result's pixel (`y`, `x`) sees.
    fn source(self, w: &Window, [y, x]: [usize; 2], [ky, kx]: [usize; 2]) -> Option<usize> {
        let inside = |at: Option<usize>, size: usize| at.filter(|&at| at < size);
        match self {
            Self::Forward => {
                let y = inside((y * w.stride + ky).checked_sub(w.top), w.height)?;
                let x = inside((x * w.stride + kx).checked_sub(w.left), w.width)?;
                Some(y / w.zoom * (w.width / w.zoom) + x / w.zoom)
            }
            Self::Gradient => {
                let along = |at: usize, k: usize, size| {
                    let at = at.checked_sub(k).filter(|at| at.is_multiple_of(w.stride));
                    inside(at.map(|at| at / w.stride), size)
                };
                let y = along(y + w.top, ky, w.out_h)?;
                let x = along(x + w.left, kx, w.out_w)?;
                Some(y * w.out_w + x)
            }
        }
    }
}

/// No such pixel.
const NONE: usize = usize::MAX;

/// Pixels of a result that see the same taps: every `step`th row and column.
struct Grid {
    taps: Vec<usize>,
    /// Which pixels of a picture these are.
    pixels: Vec<usize>,
    /// For each tap and each of the pixels which pixel of the source is seen, or [`NONE`].
    seen: Vec<usize>,
}

impl Grid {
    /// The pixels of `rows` and `columns` of a result that is `width` wide.
    fn new(
        view: View,
        w: &Window,
        [rows, columns]: [impl Iterator<Item = usize>; 2],
        width: usize,
    ) -> Self {
        let columns: Vec<usize> = columns.collect();
        let places: Vec<[usize; 2]> =
            rows.flat_map(|y| columns.iter().map(move |&x| [y, x])).collect();
        let mut grid = Self { taps: Vec::new(), pixels: Vec::new(), seen: Vec::new() };
        for tap in 0..w.taps() {
            let at = [tap / w.kernel_w, tap % w.kernel_w];
            let seen = places.iter().map(|&place| view.source(w, place, at).unwrap_or(NONE));
            let first = grid.seen.len();
            grid.seen.extend(seen);
            if grid.seen[first..].iter().all(|&pixel| pixel == NONE) {
                grid.seen.truncate(first);
            } else {
                grid.taps.push(tap);
            }
        }
        grid.pixels = places.into_iter().map(|[y, x]| y * width + x).collect();
        grid
    }

    /// All pixels of the result, in grids of equal remainder modulo the stride.
    fn all(view: View, w: &Window) -> Vec<Self> {
        let (step, height, width) = match view {
            View::Forward => (1, w.out_h, w.out_w),
            View::Gradient => (w.stride, w.height, w.width),
        };
        let phases = (0..step.min(height)).flat_map(|y| (0..step.min(width)).map(move |x| [y, x]));
        phases
            .map(|[y, x]| {
                let along = [(y..height).step_by(step), (x..width).step_by(step)];
                Self::new(view, w, along, width)
            })
            .collect()
    }
}

/// A convolution, or the one that computes its input's gradient.
struct Pass<'a> {
    view: View,
    window: Window,
    samples: usize,
    /// Channels and pixels of the source, and of the result.
    from: usize,
    /// Numbers from one pixel of the source to the next.
    pitch: usize,
    from_pixels: usize,
    to: usize,
    to_pixels: usize,
    source: &'a [f32],
    weight: Weight<'a>,
    added: Option<Added<'a>>,
    result: SharedMut,
}

/// Writes `y = bias + weight * windows of x`, and the residual where there is one.
pub(super) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
    y: SharedMut,
) {
    if narrow::suits(shape) {
        return narrow::forward(isa, shape, x, weight, added, y);
    }
    let pass = Pass {
        view: View::Forward,
        window: shape.window,
        samples: shape.samples,
        from: shape.inputs,
        pitch: shape.inputs,
        from_pixels: shape.window.source_pixels(),
        to: shape.outputs,
        to_pixels: shape.window.pixels(),
        source: x,
        weight,
        added: Some(added),
        result: y,
    };
    pass.run(isa);
}

/// Writes the gradient of `x`, given that of `y`.
pub(super) fn input_gradient(
    isa: Isa,
    shape: &Shape,
    dy: &[f32],
    weight: Weight<'_>,
    dx: SharedMut,
) {
    let w = shape.window;
    let (seen, channels) = (w.height * w.width, shape.inputs);
    let mut whole = Scratch::take(if w.zoom == 1 { 0 } else { shape.samples * seen * channels });
    let pass = Pass {
        view: View::Gradient,
        window: w,
        samples: shape.samples,
        from: shape.outputs,
        pitch: shape.outputs,
        from_pixels: w.pixels(),
        to: channels,
        to_pixels: seen,
        source: dy,
        weight,
        added: None,
        result: if w.zoom == 1 { dx } else { SharedMut::new(whole.slice()) },
    };
    pass.run(isa);
    if w.zoom == 1 {
        return;
    }
    let whole = whole.slice();
    // Every pixel of the input was seen zoom times zoom times.
    for (i, sample) in whole.chunks_exact(seen * channels).enumerate() {
        for at in 0..w.source_pixels() {
            let (y, x) = (at / (w.width / w.zoom), at % (w.width / w.zoom));
            for c in 0..channels {
                let places = (0..w.zoom).flat_map(|dy| (0..w.zoom).map(move |dx| [dy, dx]));
                let pixel = |[dy, dx]: [usize; 2]| (y * w.zoom + dy) * w.width + x * w.zoom + dx;
                let sum: f32 = places.map(|place| sample[pixel(place) * channels + c]).sum();
                // SAFETY: a pixel of the input's gradient.
                unsafe { *dx.at((i * w.source_pixels() + at) * channels + c) = sum };
            }
        }
    }
}

impl Pass<'_> {
    fn run(&self, isa: Isa) {
        let rows = self.from * self.window.taps();
        let panels = self.to.div_ceil(PANEL);
        let mut packed = Scratch::take(panels * rows * PANEL);
        let weights = SharedMut::new(packed.slice());
        parallel(panels, (1 << 16) / (rows * PANEL).max(1) + 1, |panels| {
            isa.run(Pack { pass: self, panels, to: weights });
        });
        for grid in Grid::all(self.view, &self.window) {
            let pixels = self.samples * grid.pixels.len();
            // Few pixels are shared out by channels.
            let parts = if pixels >= 4 * PIXELS { 1 } else { panels };
            let grain = (1 << 18) / (PIXELS.min(pixels.max(1)) * rows * self.to / parts).max(1) + 1;
            parallel(pixels.div_ceil(PIXELS) * parts, grain, |tasks| {
                isa.run(Tasks { pass: self, grid: &grid, parts, tasks, weights });
            });
        }
    }
}

/// Lays the weight out in panels, `[panel][channel of the source][tap][PANEL]`, filled up with
/// zeros.
struct Pack<'a> {
    pass: &'a Pass<'a>,
    panels: Range<usize>,
    to: SharedMut,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Pass { view, from, to, weight, .. } = *self.pass;
        let taps = self.pass.window.taps();
        let mut room = Scratch::take(0);
        for panel in self.panels {
            let place = self.to.at(panel * from * taps * PANEL);
            let first = panel * PANEL;
            let width = PANEL.min(to - first);
            // SAFETY: this task's own panels; rows of the weight.
            unsafe {
                if width < PANEL {
                    std::slice::from_raw_parts_mut(place, from * taps * PANEL).fill(0.0);
                }
                if view == View::Forward {
                    let row = from * taps;
                    let weight = weight.rows(first * row, [width, row, row], &mut room);
                    transpose::<S>(weight, width, row, (place, PANEL));
                    continue;
                }
                for o in 0..from {
                    let place = place.add(o * taps * PANEL);
                    let at = (o * to + first) * taps;
                    let (weight, _) = weight.rows(at, [1, width * taps, 0], &mut room);
                    if taps == 1 {
                        weight.copy_to_nonoverlapping(place, width);
                    } else {
                        transpose::<S>((weight, taps), width, taps, (place, PANEL));
                    }
                }
            }
        }
    }
}

/// Task `i` is the `i / parts`th lot of a grid's pixels and the `i % parts`th lot of panels.
struct Tasks<'a> {
    pass: &'a Pass<'a>,
    grid: &'a Grid,
    parts: usize,
    tasks: Range<usize>,
    weights: SharedMut,
}

impl Kernel for Tasks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let pass = self.pass;
        let panels = pass.to.div_ceil(PANEL);
        let pixels = self.grid.pixels.len();
        let all = pass.samples * pixels;
        let (mut rows, mut list) = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(PIXELS);
        let mut products = Scratch::take(PIXELS * PANEL);
        for task in self.tasks.clone() {
            let (lot, part) = (task / self.parts, task % self.parts);
            let lot = lot * PIXELS..((lot + 1) * PIXELS).min(all);
            let some = part * panels / self.parts..(part + 1) * panels / self.parts;
            places.clear();
            let (mut sample, mut pixel) = (lot.start / pixels, lot.start % pixels);
            for _ in lot {
                places.push((sample, pixel));
                pixel += 1;
                if pixel == pixels {
                    (sample, pixel) = (sample + 1, 0);
                }
            }
            for panel in some {
                let width = PANEL.min(pass.to - panel * PANEL).next_multiple_of(S::LANES);
                if self.grid.taps.is_empty() {
                    products.slice().fill(0.0);
                }
                let mut resume = false;
                for i in 0..self.grid.taps.len() {
                    for first in (0..pass.from).step_by(DEPTH) {
                        rows.clear();
                        rows.extend(places.iter().map(|&place| self.row(place, i, first)));
                        list.clear();
                        let right = self.panel(panel, self.grid.taps[i], first);
                        columns::<S>(&mut list, right, products.pointer(), width);
                        let depth = DEPTH.min(pass.from - first);
                        let stride = pass.window.taps() * PANEL;
                        let product = Product { resume, ..Product::new(stride, depth, PANEL) };
                        // SAFETY: pixels of the source or zeros, a whole panel, own products.
                        unsafe { multiply::<S>(&rows, &list, &product) };
                        resume = true;
                    }
                }
                // SAFETY: this task's own pixels and channels of the result.
                unsafe { self.write::<S>(&places, panel * PANEL, products.pointer()) };
            }
        }
    }
}

impl Tasks<'_> {
    /// The rows of a panel that meet the channels from `first` on through a tap.
    fn panel(&self, panel: usize, tap: usize, first: usize) -> *const f32 {
        let taps = self.pass.window.taps();
        self.weights.at(((panel * self.pass.from + first) * taps + tap) * PANEL).cast_const()
    }

    /// The channels from `first` on of what a sample's pixel sees through the grid's `i`th tap.
    #[inline(always)]
    fn row(&self, (sample, pixel): (usize, usize), i: usize, first: usize) -> *const f32 {
        match self.grid.seen[i * self.grid.pixels.len() + pixel] {
            NONE => ZEROS.as_ptr(),
            at => {
                let at = (sample * self.pass.from_pixels + at) * self.pass.pitch + first;
                self.pass.source.as_ptr().wrapping_add(at)
            }
        }
    }

    /// Writes the products of the pixels at `places` and of a panel from `channel` on.
    ///
    /// # Safety
    /// No other thread writes these pixels' channels.
    #[inline(always)]
    unsafe fn write<S: Simd>(
        &self,
        places: &[(usize, usize)],
        channel: usize,
        products: *const f32,
    ) {
        let pass = self.pass;
        let width = PANEL.min(pass.to - channel);
        for (i, &(sample, pixel)) in places.iter().enumerate() {
            let pixel = sample * pass.to_pixels + self.grid.pixels[pixel];
            let pixel = pixel * pass.to + channel;
            for at in (0..width).step_by(S::LANES) {
                let left = width - at;
                // SAFETY: the caller's promise; what is added is as large as the result.
                unsafe {
                    let mut value = S::load(products.add(i * PANEL + at));
                    if let Some(added) = pass.added {
                        let bias = added.of(sample, pass.to).as_ptr().add(channel + at);
                        let bias = S::load_first(bias, left);
                        value = added.to::<S>(value, bias, pixel + at, left);
                    }
                    S::store_first(pass.result.at(pixel + at), left, value);
                }
            }
        }
    }
}
