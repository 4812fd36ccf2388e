//! From kernels to transformed kernels.

use std::ops::Range;

use crate::{
    buffer::{Scratch, SharedMut, transpose},
    conv::Shape,
    flex::Weight,
    simd::{Kernel, Simd},
};

use super::{
    PANEL, PARTS, SEEN, spread,
    transform::{Taps, Transform},
};

/// Taps of a kernel.
const TAPS: usize = 9;

/// The kernels of a convolution, or of the one that computes its input's gradient: channels
/// exchanged, kernels turned by half a circle.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a> {
    weight: Weight<'a>,
    /// Channels that the convolution reads.
    pub(super) from: usize,
    /// Channels that it makes.
    pub(super) to: usize,
    turned: bool,
}

impl<'a> Kernels<'a> {
    pub(super) fn new(shape: &Shape, weight: Weight<'a>) -> Self {
        Self { weight, from: shape.inputs, to: shape.outputs, turned: false }
    }

    pub(super) fn turned(shape: &Shape, weight: Weight<'a>) -> Self {
        Self { weight, from: shape.outputs, to: shape.inputs, turned: true }
    }

    /// Panels of output channels.
    pub(super) fn panels(&self) -> usize {
        self.to.div_ceil(PANEL)
    }

    /// Distance between the components of a panel's kernels from `count` channels.
    pub(super) fn part(count: usize) -> usize {
        spread(count * PANEL)
    }

    /// Numbers that a panel's transformed kernels from `count` channels take.
    pub(super) fn panel_len(count: usize) -> usize {
        PARTS * Self::part(count)
    }

    /// Lays the kernels from `count` channels from `first` on to a vector of output channels from
    /// `channel` on side by side: tap `k` of the i-th at `(i * TAPS + k) * LANES`.
    ///
    /// # Safety
    /// `to` has room for them, and there are that many input channels.
    #[inline(always)]
    unsafe fn side_by_side<S: Simd>(
        &self,
        first: usize,
        count: usize,
        channel: usize,
        [to, room]: [&mut Scratch; 2],
    ) {
        let lanes = S::LANES.min(self.to - channel);
        if lanes < S::LANES {
            to.slice().fill(0.0);
        }
        let to = to.pointer();
        // SAFETY: rows of the weight, and room for their transpose.
        unsafe {
            if self.turned {
                for i in 0..count {
                    let at = ((first + i) * self.to + channel) * TAPS;
                    let (from, _) = self.weight.rows(at, [1, lanes * TAPS, 0], room);
                    let to = to.add(i * TAPS * S::LANES);
                    transpose::<S>((from, TAPS), lanes, TAPS, (to, S::LANES));
                }
            } else {
                let row = self.from * TAPS;
                let at = channel * row + first * TAPS;
                let from = self.weight.rows(at, [lanes, count * TAPS, row], room);
                transpose::<S>(from, lanes, count * TAPS, (to, S::LANES));
            }
        }
    }
}

/// Transforms some panels' kernels from some channels, to
/// `[panel][component][input channel][PANEL]`, filled up with zeros.
pub(super) struct Panels<'a> {
    pub(super) kernels: Kernels<'a>,
    pub(super) panels: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) to: SharedMut,
}

impl Kernel for Panels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let kernels = &self.kernels;
        let channels = self.channels.clone();
        let part = Kernels::part(channels.len());
        let block = 16;
        let mut taps = Scratch::take(block * TAPS * S::LANES);
        let mut room = Scratch::take(0);
        for (i, panel) in self.panels.clone().enumerate() {
            let to = self.to.at(i * Kernels::panel_len(channels.len()));
            for first in channels.clone().step_by(block) {
                let count = block.min(channels.end - first);
                for at in (0..PANEL).step_by(S::LANES) {
                    let channel = panel * PANEL + at;
                    if channel < kernels.to {
                        let to = [&mut taps, &mut room];
                        // SAFETY: the scratch was made for a block.
                        unsafe { kernels.side_by_side::<S>(first, count, channel, to) };
                    } else {
                        taps.slice().fill(0.0);
                    }
                    for i in 0..count {
                        // SAFETY: this task's own panel.
                        unsafe {
                            let from = taps.pointer().add(i * TAPS * S::LANES);
                            let to = to.add((first - channels.start + i) * PANEL + at);
                            write::<S>(from, kernels.turned, to, part);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms one vector of kernels.
///
/// # Safety
/// `from` holds their taps, `to` has room for their components.
#[inline(always)]
unsafe fn write<S: Simd>(from: *const f32, turned: bool, to: *mut f32, part: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut square = [[S::splat(0.0); 3]; 3];
        for (r, row) in square.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                let tap = if turned { 8 - (r * 3 + c) } else { r * 3 + c };
                *value = S::load(from.add(tap * S::LANES));
            }
        }
        for (r, row) in Taps::square::<S>(&square).iter().enumerate() {
            for (c, &value) in row.iter().enumerate() {
                S::store(to.add((r * SEEN + c) * part), value);
            }
        }
    }
}
