//! From pictures to transformed tiles and back.

use std::ops::Range;

use crate::{
    buffer::SharedMut,
    conv::{Added, Shape},
    simd::{Kernel, Simd},
};

use super::{
    PANEL, PARTS, SEEN, TILE, spread,
    transform::{Picture, Tile, TileGradient, Transform},
};

/// No such row or column.
const NONE: usize = usize::MAX;

/// Pictures as a convolution of stride 1 sees or makes them, cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pictures {
    /// How many there are.
    pub(super) samples: usize,
    /// As seen, after every pixel was repeated `zoom` times in both directions.
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) zoom: usize,
    pub(super) channels: usize,
    /// Where the first tile's window begins: this many rows above and columns left of the picture.
    pub(super) top: usize,
    pub(super) left: usize,
    /// Tiles from top to bottom, and from left to right.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Pictures {
    /// The input of a convolution.
    pub(super) fn input(shape: &Shape) -> Self {
        let w = &shape.window;
        Self {
            samples: shape.samples,
            height: w.height,
            width: w.width,
            zoom: w.zoom,
            channels: shape.inputs,
            top: w.top,
            left: w.left,
            rows: w.out_h.div_ceil(TILE),
            columns: w.out_w.div_ceil(TILE),
        }
    }

    /// Its output.
    pub(super) fn output(shape: &Shape) -> Self {
        let (height, width) = (shape.window.out_h, shape.window.out_w);
        let channels = shape.outputs;
        Self { height, width, zoom: 1, channels, top: 0, left: 0, ..Self::input(shape) }
    }

    /// Its output, as the gradient of the input is computed from it.
    pub(super) fn gradient_source(shape: &Shape) -> Self {
        let w = &shape.window;
        Self {
            top: 2 - w.top,
            left: 2 - w.left,
            rows: w.height.div_ceil(TILE),
            columns: w.width.div_ceil(TILE),
            ..Self::output(shape)
        }
    }

    /// The input, as its gradient is written.
    pub(super) fn gradient_target(shape: &Shape) -> Self {
        let Self { rows, columns, .. } = Self::gradient_source(shape);
        Self { top: 0, left: 0, rows, columns, ..Self::input(shape) }
    }

    /// Tiles of all pictures.
    pub(super) fn tiles(&self) -> usize {
        self.samples * self.rows * self.columns
    }

    /// Numbers of one picture in memory.
    fn picture(&self) -> usize {
        self.height / self.zoom * (self.width / self.zoom) * self.channels
    }

    /// Where the rows and columns of the square of `N` pixels lie that tile `tile` begins with:
    /// the offset of the picture, of each row within it and of each column within a row.
    #[inline(always)]
    fn places<const N: usize>(&self, tile: usize) -> Places<N> {
        let (sample, at) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        let (y, x) = (at / self.columns * TILE, at % self.columns * TILE);
        let shift = u32::from(self.zoom == 2);
        let pitch = (self.width >> shift) * self.channels;
        let along = |first: usize, before: usize, size: usize, pitch: usize| {
            std::array::from_fn(|i| match (first + i).checked_sub(before) {
                Some(at) if at < size => (at >> shift) * pitch,
                _ => NONE,
            })
        };
        Places {
            sample,
            picture: sample * self.picture(),
            rows: along(y, self.top, self.height, pitch),
            columns: along(x, self.left, self.width, self.channels),
        }
    }
}

struct Places<const N: usize> {
    sample: usize,
    picture: usize,
    rows: [usize; N],
    columns: [usize; N],
}

impl<const N: usize> Places<N> {
    /// The offset of a pixel, where there is one.
    #[inline(always)]
    fn pixel(&self, r: usize, c: usize) -> Option<usize> {
        let there = self.rows[r] | self.columns[c] != NONE;
        there.then(|| self.picture + self.rows[r] + self.columns[c])
    }

    /// The square of pixels, zero where there is none, `left` channels of each from `channel` on.
    ///
    /// # Safety
    /// `from` holds the pictures.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn load<S: Simd>(
        &self,
        from: *const f32,
        channel: usize,
        left: usize,
    ) -> [[S::Vector; N]; N] {
        // SAFETY: the pixels lie in their picture, the channels in their pixel.
        unsafe {
            let mut square = [[S::splat(0.0); N]; N];
            for r in 0..N {
                for c in 0..N {
                    if let Some(at) = self.pixel(r, c) {
                        square[r][c] = S::load_first(from.add(at + channel), left);
                    }
                }
            }
            square
        }
    }
}

/// Where transformed tiles go: component `p` of channel `c` of tile `t` to
/// `p * part + t * tile + c / lot * far + c % lot`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) part: usize,
    pub(super) tile: usize,
    /// Channels that lie side by side, a power of two and a whole number of vectors.
    pub(super) lot: usize,
    pub(super) far: usize,
}

impl Layout {
    /// For `tiles` tiles, whose channels lie side by side.
    pub(super) fn rows(tiles: usize, channels: usize) -> Self {
        Self { part: spread(tiles * channels), tile: channels, lot: 1 << 63, far: 0 }
    }

    /// For `tiles` tiles, in panels of `lot` channels that are filled up with zeros.
    pub(super) fn panels(tiles: usize, channels: usize, lot: usize) -> Self {
        let lots = channels.div_ceil(lot);
        Self { part: spread(lots * tiles * lot), tile: lot, lot, far: tiles * lot }
    }

    /// Numbers that all components take.
    pub(super) fn len(&self) -> usize {
        PARTS * self.part
    }
}

/// Transforms the tiles that a convolution reads (`GRADIENT` false: `B^T d B`) or those of the
/// output's gradient (true: `A y A^T`).
pub(super) struct Scatter<'a, const GRADIENT: bool> {
    pub(super) pictures: Pictures,
    pub(super) from: &'a [f32],
    pub(super) tiles: Range<usize>,
    /// The tile that lies first at `to`.
    pub(super) first: usize,
    pub(super) to: SharedMut,
    pub(super) layout: Layout,
}

impl<const GRADIENT: bool> Kernel for Scatter<'_, GRADIENT> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Layout { part, tile, lot, far } = self.layout;
        let channels = self.pictures.channels;
        // Panels are filled up with zeros, rows are not.
        let whole = if far == 0 { channels } else { channels.next_multiple_of(lot) };
        assert_eq!(self.from.len(), self.pictures.samples * self.pictures.picture());
        for t in self.tiles.clone() {
            let to = self.to.at((t - self.first) * tile);
            let seen = self.pictures.places::<SEEN>(t);
            let own = self.pictures.places::<TILE>(t);
            for channel in (0..whole).step_by(S::LANES) {
                let left = channels.saturating_sub(channel);
                let stored = whole - channel;
                let from = self.from.as_ptr();
                let lots = channel >> lot.trailing_zeros();
                let to = to.wrapping_add(lots * far + (channel & (lot - 1)));
                // SAFETY: this task's own tiles; the pictures are as long as asserted.
                unsafe {
                    let square = if GRADIENT {
                        TileGradient::square::<S>(&own.load::<S>(from, channel, left))
                    } else {
                        Picture::square::<S>(&seen.load::<S>(from, channel, left))
                    };
                    for (r, row) in square.iter().enumerate() {
                        for (c, &value) in row.iter().enumerate() {
                            S::store_first(to.add((r * SEEN + c) * part), stored, value);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the products of one panel of output channels back, `A^T m A`, and writes them with
/// all that is added to them.
pub(super) struct Gather<'a> {
    pub(super) pictures: Pictures,
    pub(super) tiles: Range<usize>,
    /// Components of the tiles, each `[tiles, PANEL]`, `part` apart.
    pub(super) from: SharedMut,
    pub(super) part: usize,
    /// The panel's first channel.
    pub(super) channel: usize,
    /// `None`: nothing is added.
    pub(super) added: Option<Added<'a>>,
    pub(super) to: SharedMut,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let channels = self.pictures.channels;
        let width = PANEL.min(channels - self.channel);
        for (i, t) in self.tiles.clone().enumerate() {
            let places = self.pictures.places::<TILE>(t);
            for at in (0..width).step_by(S::LANES) {
                let left = width - at;
                // SAFETY: this task's own components, and pixels of its own tiles and channels.
                unsafe {
                    let from = self.from.at(i * PANEL + at);
                    let mut square = [[S::splat(0.0); SEEN]; SEEN];
                    for (r, row) in square.iter_mut().enumerate() {
                        for (c, value) in row.iter_mut().enumerate() {
                            *value = S::load(from.add((r * SEEN + c) * self.part));
                        }
                    }
                    let square = Tile::square::<S>(&square);
                    if self.pictures.zoom == 2 {
                        self.pool::<S>(&places, &square, at, left);
                    } else {
                        self.write::<S>(&places, &square, at, left);
                    }
                }
            }
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    unsafe fn write<S: Simd>(
        &self,
        places: &Places<TILE>,
        square: &[[S::Vector; TILE]; TILE],
        at: usize,
        left: usize,
    ) {
        let channel = self.channel + at;
        // SAFETY: pixels of this tile, channels of this panel; what is added is as large as the
        // result.
        unsafe {
            let mut bias = S::splat(0.0);
            if let Some(added) = self.added {
                let of_sample = added.of(places.sample, self.pictures.channels);
                bias = S::load_first(of_sample.as_ptr().add(channel), left);
            }
            for (r, row) in square.iter().enumerate() {
                for (c, &value) in row.iter().enumerate() {
                    let Some(pixel) = places.pixel(r, c) else { continue };
                    let place = pixel + channel;
                    let value = match self.added {
                        Some(added) => added.to::<S>(value, bias, place, left),
                        None => value,
                    };
                    S::store_first(self.to.at(place), left, value);
                }
            }
        }
    }

    /// As [`Gather::write`], for a picture every pixel of which was seen four times: their sum.
    #[inline(always)]
    unsafe fn pool<S: Simd>(
        &self,
        places: &Places<TILE>,
        square: &[[S::Vector; TILE]; TILE],
        at: usize,
        left: usize,
    ) {
        for (r, rows) in square.chunks_exact(2).enumerate() {
            for c in 0..TILE / 2 {
                let Some(pixel) = places.pixel(2 * r, 2 * c) else { continue };
                // SAFETY: as above; a picture seen at twice its size has even sides.
                unsafe {
                    let upper = S::add(rows[0][2 * c], rows[0][2 * c + 1]);
                    let lower = S::add(rows[1][2 * c], rows[1][2 * c + 1]);
                    let to = self.to.at(pixel + self.channel + at);
                    S::store_first(to, left, S::add(upper, lower));
                }
            }
        }
    }
}
