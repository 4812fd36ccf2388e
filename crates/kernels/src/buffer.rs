//! Memory: outputs written by several threads, scratch that each thread keeps, splitting of work.

use std::{cell::RefCell, ops::Range};

use rayon::prelude::*;

use crate::{pool, simd::Simd};

/// A result that is being written, its contents arbitrary until then.
pub(crate) struct Output {
    data: Vec<f32>,
    len: usize,
}

impl Output {
    /// Room for `len` numbers; poisoned with NaN where tests run.
    pub(crate) fn new(len: usize) -> Self {
        let mut data = pool::take(len);
        if cfg!(test) {
            data.resize(len, f32::NAN);
            data.clear();
        }
        Self { data, len }
    }

    /// Where to write it.
    pub(crate) fn pointer(&mut self) -> SharedMut {
        SharedMut(self.data.as_mut_ptr())
    }

    /// The finished result.
    ///
    /// # Safety
    /// All `len` numbers have been written.
    pub(crate) unsafe fn finish(mut self) -> Vec<f32> {
        // SAFETY: the capacity is at least `len`, and the caller wrote every number.
        unsafe { self.data.set_len(self.len) };
        self.data
    }
}

/// A pointer that several threads write through, each to places of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(*mut f32);

// SAFETY: the threads that share it write to disjoint places; every use states why.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// Of a slice that outlives the use.
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The rest from `offset` numbers on.
    pub(crate) fn from(self, offset: usize) -> Self {
        Self(self.at(offset))
    }

    /// The place `offset` numbers on.
    #[inline(always)]
    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Working memory on a cache line boundary, with stale contents; given back to its thread when
/// dropped, so that the next operation does not fault its pages in again.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    /// Room for `len` numbers and one vector more, which may be read but means nothing.
    pub(crate) fn take(len: usize) -> Self {
        let lines = KEPT.with_borrow_mut(|kept| {
            // The smallest that is large enough, or else the largest.
            let needed = len.div_ceil(16) + 1;
            let fits = |lines: &Vec<Line>| (lines.len() < needed, lines.len().abs_diff(needed));
            let best = (0..kept.len()).min_by_key(|&i| fits(&kept[i]));
            // Tests take new memory each time, so that reading past its end is found.
            best.filter(|_| !cfg!(test)).map(|i| kept.swap_remove(i)).unwrap_or_default()
        });
        let mut scratch = Self { lines, len: 0 };
        scratch.resize(len);
        if cfg!(test) {
            scratch.lines.fill(Line([f32::NAN; 16]));
        }
        scratch
    }

    /// Makes room for `len` numbers.
    pub(crate) fn resize(&mut self, len: usize) {
        let needed = len.div_ceil(16) + 1;
        if self.lines.len() < needed {
            self.lines.resize(needed, Line([0.0; 16]));
        }
        self.len = len;
    }

    /// Its numbers.
    pub(crate) fn slice(&mut self) -> &mut [f32] {
        // SAFETY: a line is sixteen f32 without padding, and there are enough lines.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// Its start.
    pub(crate) fn pointer(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if cfg!(test) {
            return;
        }
        KEPT.with_borrow_mut(|kept| kept.push(lines));
    }
}

/// Calls `work` on ranges that cover `0..total`, in parallel, in ranges of at least `grain`.
///
/// How many ranges there are depends on the number of threads, so `work` must compute each item
/// by itself.
pub(crate) fn parallel(total: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
    let threads = rayon::current_num_threads();
    let pieces = (4 * threads).min(total / grain.max(1)).max(1);
    if pieces == 1 || threads == 1 {
        if total > 0 {
            work(0..total);
        }
        return;
    }
    (0..pieces)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| work(total * i / pieces..total * (i + 1) / pieces));
}

/// Writes the transpose of `from` (`rows` by `columns`) to `to`; either comes with the distance
/// between its rows.
///
/// # Safety
/// Both are valid for their whole extent and do not overlap.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Simd>(
    (from, from_stride): (*const f32, usize),
    rows: usize,
    columns: usize,
    (to, to_stride): (*mut f32, usize),
) {
    let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
    // SAFETY: within both matrices.
    unsafe {
        for c in (0..whole_columns).step_by(8) {
            for r in (0..whole_rows).step_by(8) {
                let (from, to) = (from.add(r * from_stride + c), to.add(c * to_stride + r));
                S::turn8(from, from_stride, to, to_stride);
            }
        }
        for c in 0..columns {
            let first = if c < whole_columns { whole_rows } else { 0 };
            for r in first..rows {
                *to.add(c * to_stride + r) = *from.add(r * from_stride + c);
            }
        }
    }
}
