//! Convolutions that see one pixel, and linear layers: a single product, `[rows, inputs] [outputs, inputs]^T`.
//!
//! Of the two matrices the smaller one is laid out in panels, and the other one is read as it lies. A task is
//! a lot of rows of the one under some panels of the other, small enough that what it reads again and again
//! stays in the second cache. Each element is one chain over the inputs, in order, so it does not matter
//! which is which.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel, transpose},
    conv::{Added, Shape},
    flex::Weight,
    gemm::{Product, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

/// Columns to a panel.
const PANEL: usize = 32;
/// Rows to a lot.
const LOT: usize = 256;
/// Panels that a lot meets in one task at most.
const SPAN: usize = 8;
/// Length of the inner dimension that is worked through before the next panel is.
const DEPTH: usize = 256;
/// Tasks that there should be at least.
const TASKS: usize = 16;

/// Rows of as many numbers each as the product has inputs.
#[derive(Clone, Copy)]
struct Side<'a> {
    numbers: Weight<'a>,
    rows: usize,
}

/// A product under way.
struct Pass<'a> {
    shape: &'a Shape,
    left: Side<'a>,
    right: Side<'a>,
    /// Whether the weight is on the left, so that the product comes out turned.
    turned: bool,
    added: Added<'a>,
    result: SharedMut,
}

impl Pass<'_> {
    /// How many lots there are, and how many spans of panels.
    fn tasks(&self) -> (usize, usize) {
        let (lots, panels) = (self.left.rows.div_ceil(LOT), self.right.rows.div_ceil(PANEL));
        let few = TASKS.div_ceil(lots.max(1));
        (lots, panels.div_ceil(SPAN).max(few.min(panels)))
    }
}

/// Writes `y = x weight^T + bias`, and the residual where there is one.
pub(super) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
    result: SharedMut,
) {
    let pixels = Side { numbers: x.into(), rows: shape.samples * shape.window.pixels() };
    let channels = Side { numbers: weight, rows: shape.outputs };
    let turned = pixels.rows < channels.rows;
    let [left, right] = if turned { [channels, pixels] } else { [pixels, channels] };
    let pass = Pass { shape, left, right, turned, added, result };
    let inputs = shape.inputs;
    let panels = right.rows.div_ceil(PANEL);
    let mut packed = Scratch::take(panels * inputs * PANEL);
    let packed = SharedMut::new(packed.slice());
    parallel(panels, (1 << 16) / (inputs * PANEL).max(1) + 1, |panels| {
        isa.run(Pack { side: right, inputs, panels, to: packed });
    });
    let (lots, spans) = pass.tasks();
    let work = LOT.min(left.rows) * inputs * right.rows.div_ceil(spans.max(1));
    parallel(lots * spans, (1 << 18) / work.max(1) + 1, |tasks| {
        isa.run(Tasks { pass: &pass, packed, tasks });
    });
}

/// Lays rows out in panels of [`PANEL`], `[panel][input][PANEL]`, filled up with zeros.
struct Pack<'a> {
    side: Side<'a>,
    inputs: usize,
    panels: Range<usize>,
    to: SharedMut,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { side, inputs, panels, to } = self;
        let mut room = Scratch::take(0);
        for panel in panels {
            let first = panel * PANEL;
            let rows = PANEL.min(side.rows - first);
            let place = to.at(first * inputs);
            // SAFETY: this task's own panels; rows that exist.
            unsafe {
                if rows < PANEL {
                    std::slice::from_raw_parts_mut(place, inputs * PANEL).fill(0.0);
                }
                let from = side.numbers.rows(first * inputs, [rows, inputs, inputs], &mut room);
                transpose::<S>(from, rows, inputs, (place, PANEL));
            }
        }
    }
}

/// Task `i` is the `i / spans`th lot of rows under the `i % spans`th span of panels.
struct Tasks<'a> {
    pass: &'a Pass<'a>,
    packed: SharedMut,
    tasks: Range<usize>,
}

impl Kernel for Tasks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Pass { left, right, turned, shape, .. } = *self.pass;
        let ((_, spans), inputs) = (self.pass.tasks(), shape.inputs);
        let panels = right.rows.div_ceil(PANEL);
        let (mut rows, mut list) = (Vec::with_capacity(LOT), Vec::new());
        let [mut room, mut products, mut tile] = [(); 3].map(|()| Scratch::take(0));
        for task in self.tasks.clone() {
            let (lot, span) = (task / spans, task % spans);
            let lot = lot * LOT..((lot + 1) * LOT).min(left.rows);
            let some = span * panels / spans..(span + 1) * panels / spans;
            let across = some.start * PANEL..(some.end * PANEL).min(right.rows);
            let width = across.len().next_multiple_of(S::LANES);
            products.resize(lot.len() * width);
            for first in (0..inputs).step_by(DEPTH) {
                let depth = DEPTH.min(inputs - first);
                let extents = [lot.len(), depth, inputs];
                let (from, stride) =
                    left.numbers.rows(lot.start * inputs + first, extents, &mut room);
                rows.clear();
                rows.extend((0..lot.len()).map(|row| from.wrapping_add(row * stride)));
                list.clear();
                for panel in some.clone() {
                    let right = self.packed.at((panel * inputs + first) * PANEL).cast_const();
                    let at = (panel - some.start) * PANEL;
                    let to = products.pointer().wrapping_add(at);
                    columns::<S>(&mut list, right, to, PANEL.min(width - at));
                }
                let product = Product::new(PANEL, depth, width);
                // SAFETY: rows of the left side, whole panels of the right one, own products.
                unsafe { multiply::<S>(&rows, &list, &Product { resume: first > 0, ..product }) };
            }
            // SAFETY: this task's own part of the result.
            unsafe {
                if !turned {
                    self.write::<S>(lot, across, (products.pointer(), width));
                    continue;
                }
                let height = lot.len().next_multiple_of(S::LANES);
                tile.resize(across.len() * height);
                let to = tile.pointer();
                let from = (products.pointer().cast_const(), width);
                transpose::<S>(from, lot.len(), across.len(), (to, height));
                self.write::<S>(across, lot, (to, height));
            }
        }
    }
}

impl Tasks<'_> {
    /// Writes the products of some rows of the result and some of its columns.
    ///
    /// # Safety
    /// No other thread writes these.
    #[inline(always)]
    unsafe fn write<S: Simd>(
        &self,
        rows: Range<usize>,
        channels: Range<usize>,
        (products, stride): (*const f32, usize),
    ) {
        let Pass { shape, added, result, .. } = *self.pass;
        let (outputs, pixels) = (shape.outputs, shape.window.pixels());
        for (i, row) in rows.enumerate() {
            let bias = &added.of(row / pixels, outputs)[channels.clone()];
            let place = row * outputs + channels.start;
            for at in (0..channels.len()).step_by(S::LANES) {
                let left = channels.len() - at;
                // SAFETY: the caller's promise; what is added is as large as the result.
                unsafe {
                    let value = S::load_first(products.add(i * stride + at), left);
                    let bias = S::load_first(bias.as_ptr().add(at), left);
                    let value = added.to::<S>(value, bias, place + at, left);
                    S::store_first(result.at(place + at), left, value);
                }
            }
        }
    }
}
