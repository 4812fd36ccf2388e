//! The convolution itself, and the one that computes the gradient of its input.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, parallel},
    conv::{Added, Shape},
    flex::Weight,
    gemm::{Column, Product, columns, multiply},
    simd::{Isa, Kernel, Simd},
};

use super::{
    PANEL, PARTS,
    kernel::{Kernels, Panels},
    spread,
    tiles::{Gather, Layout, Pictures, Scatter},
};

/// Tiles that are worked on together: few enough to stay in the cache, enough to be worth reading
/// all the kernels for.
const CHUNK: usize = 64;
/// Input channels whose transformed kernels fit into the cache of a core.
const DEPTH: usize = 64;

/// Writes `y = bias + weight * windows of x`, and the residual where there is one.
pub(crate) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
    y: SharedMut,
) {
    let (source, target) = (Pictures::input(shape), Pictures::output(shape));
    let kernels = Kernels::new(shape, weight);
    Pass { isa, source, target, from: x, kernels, added: Some(added), to: y }.run();
}

/// Writes the gradient of `x`, given that of `y`.
pub(crate) fn input_gradient(
    isa: Isa,
    shape: &Shape,
    dy: &[f32],
    weight: Weight<'_>,
    dx: SharedMut,
) {
    let source = Pictures::gradient_source(shape);
    let target = Pictures::gradient_target(shape);
    let kernels = Kernels::turned(shape, weight);
    Pass { isa, source, target, from: dy, kernels, added: None, to: dx }.run();
}

struct Pass<'a> {
    isa: Isa,
    source: Pictures,
    target: Pictures,
    from: &'a [f32],
    kernels: Kernels<'a>,
    added: Option<Added<'a>>,
    to: SharedMut,
}

impl Pass<'_> {
    /// Goes through the tiles chunk by chunk. Where there are chunks enough for all threads, each
    /// takes some, with transformed kernels that they share; else the threads share each chunk,
    /// and each transforms the kernels of the output channels that it makes.
    fn run(&self) {
        let tiles = self.source.tiles();
        let chunks: Vec<_> =
            (0..tiles).step_by(CHUNK).map(|at| at..(at + CHUNK).min(tiles)).collect();
        let threads = rayon::current_num_threads();
        if chunks.len() >= 2 * threads && (threads > 1 || self.few()) {
            self.each_thread_its_chunks(&chunks);
        } else {
            chunks.into_iter().for_each(|tiles| self.all_threads_one_chunk(tiles));
        }
    }

    fn each_thread_its_chunks(&self, chunks: &[Range<usize>]) {
        let panels = self.kernels.panels();
        let panel_len = Kernels::panel_len(self.kernels.from);
        let mut transformed = Scratch::take(panels * panel_len);
        let kernels = SharedMut::new(transformed.slice());
        parallel(panels, 1, |some| {
            let to = kernels.from(some.start * panel_len);
            self.transform(some, 0..self.kernels.from, to);
        });
        parallel(chunks.len(), 1, |some| {
            let mut seen = Scratch::take(self.layout().len());
            let seen = SharedMut::new(seen.slice());
            let mut products = Scratch::take(PARTS * spread(CHUNK * PANEL));
            let products = SharedMut::new(products.slice());
            for tiles in &chunks[some] {
                self.scatter(tiles.clone(), tiles.start, seen);
                for panel in 0..panels {
                    let kernels = kernels.from(panel * panel_len);
                    self.multiply(tiles, panel, 0..self.kernels.from, [seen, kernels, products]);
                    self.gather(tiles.clone(), panel, products);
                }
            }
        });
    }

    fn all_threads_one_chunk(&self, tiles: Range<usize>) {
        let mut seen = Scratch::take(self.layout().len());
        let seen = SharedMut::new(seen.slice());
        parallel(tiles.len(), 4, |some| {
            let some = tiles.start + some.start..tiles.start + some.end;
            self.scatter(some, tiles.start, seen);
        });
        parallel(self.kernels.panels(), 1, |some| {
            let mut transformed = Scratch::take(Kernels::panel_len(DEPTH));
            let kernels = SharedMut::new(transformed.slice());
            let mut products = Scratch::take(PARTS * spread(tiles.len() * PANEL));
            let products = SharedMut::new(products.slice());
            for panel in some {
                for first in (0..self.kernels.from).step_by(DEPTH) {
                    let channels = first..(first + DEPTH).min(self.kernels.from);
                    self.transform(panel..panel + 1, channels.clone(), kernels);
                    self.multiply(&tiles, panel, channels, [seen, kernels, products]);
                }
                self.gather(tiles.clone(), panel, products);
            }
        });
    }

    /// Whether there are so few channels that all transformed kernels stay in the cache.
    fn few(&self) -> bool {
        self.kernels.from * self.kernels.to <= 64 * 64
    }

    fn layout(&self) -> Layout {
        Layout::rows(CHUNK, self.source.channels)
    }

    /// Transforms the kernels of `panels` from `channels`, the first of which goes to the start of
    /// `to`.
    fn transform(&self, panels: Range<usize>, channels: Range<usize>, to: SharedMut) {
        self.isa.run(Panels { kernels: self.kernels, panels, channels, to });
    }

    /// Transforms `tiles` of the source; tile `first` goes to the start of `to`.
    fn scatter(&self, tiles: Range<usize>, first: usize, to: SharedMut) {
        let (pictures, layout) = (self.source, self.layout());
        self.isa.run(Scatter::<false> { pictures, from: self.from, tiles, first, to, layout });
    }

    /// Multiplies the transformed `tiles` with a panel's kernels from `channels`; the products go
    /// on from those of the channels before.
    fn multiply(
        &self,
        tiles: &Range<usize>,
        panel: usize,
        channels: Range<usize>,
        [seen, kernels, products]: [SharedMut; 3],
    ) {
        self.isa.run(Products {
            seen: seen.from(channels.start),
            layout: self.layout(),
            tiles: tiles.len(),
            depth: channels.len(),
            resume: channels.start > 0,
            kernels,
            width: PANEL.min(self.kernels.to - panel * PANEL),
            to: products,
        });
    }

    /// Transforms a panel's products back and writes them.
    fn gather(&self, tiles: Range<usize>, panel: usize, products: SharedMut) {
        self.isa.run(Gather {
            pictures: self.target,
            part: spread(tiles.len() * PANEL),
            tiles,
            from: products,
            channel: panel * PANEL,
            added: self.added,
            to: self.to,
        });
    }
}

/// The products of all components with one panel of kernels.
struct Products {
    seen: SharedMut,
    layout: Layout,
    tiles: usize,
    depth: usize,
    resume: bool,
    kernels: SharedMut,
    width: usize,
    to: SharedMut,
}

impl Kernel for Products {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut rows: Vec<*const f32> = Vec::with_capacity(self.tiles);
        let mut list: Vec<Column> = Vec::new();
        let width = self.width.next_multiple_of(S::LANES);
        let (from, to) = (Kernels::part(self.depth), spread(self.tiles * PANEL));
        let product = Product { resume: self.resume, ..Product::new(PANEL, self.depth, PANEL) };
        for p in 0..PARTS {
            rows.clear();
            let seen = self.seen.at(p * self.layout.part).cast_const();
            rows.extend((0..self.tiles).map(|t| seen.wrapping_add(t * self.layout.tile)));
            list.clear();
            columns::<S>(&mut list, self.kernels.at(p * from), self.to.at(p * to), width);
            // SAFETY: transformed tiles, whole panels, and components that this task alone writes.
            unsafe { multiply::<S>(&rows, &list, &product) };
        }
    }
}
