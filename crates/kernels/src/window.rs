//! Pictures laid out so that every tap of a convolution reads contiguous pixels.
//!
//! For each channel and each kernel column the picture is copied once, shifted by that column,
//! with zeros where it reaches into the padding and with its rows sorted by their remainder modulo
//! the stride. What the tap (ky, kx) sees of the picture then lies at one place, in the order of
//! the output's pixels: the rows of the matrix that "im2col" would build, KH times smaller.

use std::ops::Range;

use crate::simd::Simd;

/// How an output looks at its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) kernel_h: usize,
    pub(crate) kernel_w: usize,
    pub(crate) stride: usize,
    /// Rows of zeros above the input; negative where rows of the input are left out.
    pub(crate) top: isize,
    /// Columns of zeros to the left.
    pub(crate) left: isize,
    pub(crate) out_h: usize,
    pub(crate) out_w: usize,
}

impl Window {
    /// Whether the input can be read where it lies: one tap, every pixel, whole vectors.
    pub(crate) fn is_direct(&self, lanes: usize) -> bool {
        let one_tap = self.kernel_h * self.kernel_w * self.stride == 1;
        let same = (self.top, self.left) == (0, 0)
            && (self.out_h, self.out_w) == (self.height, self.width);
        let pixels = self.height * self.width;
        // Channels a page apart would all fall on the same few places of the cache.
        one_tap && same && pixels.is_multiple_of(lanes) && !pixels.is_multiple_of(1024)
    }

    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel_h * self.kernel_w
    }
}

/// How the copies are made, for a band of output rows.
pub(crate) struct Packer {
    /// Numbers that the copies of one channel take.
    pub(crate) pitch: usize,
    /// Where each tap's pixels lie within them.
    pub(crate) taps: Vec<usize>,
    copies: Copies,
}

enum Copies {
    /// Every copy is the channel itself, shifted and masked.
    Shifted(Vec<Shift>),
    /// From where to where each pixel goes.
    Pixels(Vec<(u32, u32)>),
}

/// One copy: where it goes, how far on its source begins, the mask of each vector.
struct Shift {
    to: usize,
    from: isize,
    len: usize,
    masks: Vec<u32>,
}

impl Packer {
    /// For the output rows `band` and vectors of `lanes`.
    pub(crate) fn new(window: &Window, band: &Range<usize>, lanes: usize) -> Self {
        let Window { kernel_h, kernel_w, stride, out_w, .. } = *window;
        let rows = (band.len() - 1) * stride + kernel_h;
        // Row q of the padded band lies at phases[q % stride] + q / stride.
        let phases: Vec<usize> = (0..stride)
            .scan(0, |next, phase| {
                let at = *next;
                *next += rows.saturating_sub(phase).div_ceil(stride);
                Some(at)
            })
            .collect();
        let place = |q: usize| (phases[q % stride] + q / stride) * out_w;
        let copy = rows * out_w;
        let taps = (0..kernel_h)
            .flat_map(|ky| (0..kernel_w).map(move |kx| (ky, kx)))
            .map(|(ky, kx)| kx * copy + place(ky))
            .collect();
        let first = (band.start * stride) as isize - window.top;
        let copies = if stride == 1 && out_w == window.width {
            let shifts = (0..kernel_w).map(|kx| {
                let shift = shift(window, kx, first, rows, lanes);
                Shift { to: kx * copy + shift.to, ..shift }
            });
            Copies::Shifted(shifts.filter(|shift| shift.len > 0).collect())
        } else {
            let mut pixels = Vec::new();
            for kx in 0..kernel_w {
                for q in 0..rows {
                    let y = first + q as isize;
                    if y < 0 || y >= window.height as isize {
                        continue;
                    }
                    for ox in 0..out_w {
                        let x = (ox * stride + kx) as isize - window.left;
                        if x >= 0 && x < window.width as isize {
                            let from = y as usize * window.width + x as usize;
                            pixels.push((from as u32, (kx * copy + place(q) + ox) as u32));
                        }
                    }
                }
            }
            Copies::Pixels(pixels)
        };
        let pitch = kernel_w * copy;
        // As for `is_direct`: keep the channels off the same places of the cache.
        let pitch = if pitch.is_multiple_of(256) { pitch + 16 } else { pitch };
        Self { pitch, taps, copies }
    }

    /// Copies `channels` channels that are `distance` apart, to places that are `pitch` apart and
    /// hold zeros wherever [`Packer::pack`] never writes.
    ///
    /// # Safety
    /// `from` is valid for all the channels, `to` for all their copies and a vector more.
    #[inline(always)]
    pub(crate) unsafe fn pack<S: Simd>(
        &self,
        from: *const f32,
        distance: usize,
        channels: usize,
        to: *mut f32,
    ) {
        for channel in 0..channels {
            let from = from.wrapping_add(channel * distance);
            let to = to.wrapping_add(channel * self.pitch);
            match &self.copies {
                Copies::Shifted(shifts) => {
                    for shift in shifts {
                        let (from, to) =
                            (from.wrapping_offset(shift.from), to.wrapping_add(shift.to));
                        for (i, &mask) in shift.masks.iter().enumerate() {
                            let at = i * S::LANES;
                            // SAFETY: the mask admits only pixels of the channel, and the stores
                            // end with the copy.
                            unsafe {
                                let v = S::load_masked(from.wrapping_add(at), mask);
                                if at + S::LANES <= shift.len {
                                    S::store(to.add(at), v);
                                } else {
                                    S::store_masked(to.add(at), S::first(shift.len - at), v);
                                }
                            }
                        }
                    }
                }
                Copies::Pixels(pixels) => {
                    for &(source, target) in pixels {
                        // SAFETY: both were computed from the window, within channel and copies.
                        unsafe { *to.add(target as usize) = *from.add(source as usize) };
                    }
                }
            }
        }
    }
}

/// The copy for kernel column `kx` of the rows that exist among `rows` rows from `first` on.
fn shift(window: &Window, kx: usize, first: isize, rows: usize, lanes: usize) -> Shift {
    let width = window.width;
    let from_row = first.clamp(0, window.height as isize) as usize;
    let to_row = (first + rows as isize).clamp(0, window.height as isize) as usize;
    let len = to_row.saturating_sub(from_row) * width;
    let offset = kx as isize - window.left;
    let masks = (0..len.div_ceil(lanes))
        .map(|vector| {
            (0..lanes).fold(0, |mask, lane| {
                let at = vector * lanes + lane;
                let x = (at % width) as isize + offset;
                let inside = at < len && x >= 0 && x < width as isize;
                mask | u32::from(inside) << lane
            })
        })
        .collect();
    let skipped = (from_row as isize - first) as usize;
    let from = (from_row * width) as isize + offset;
    Shift { to: skipped * width, from, len, masks }
}
