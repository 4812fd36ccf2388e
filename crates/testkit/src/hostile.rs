//! What tests of parsers need: an allocator that notes peaks, and files that are damaged at random.
#![allow(unsafe_code, reason = "an allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, noting how much each thread holds at most; for `#[global_allocator]`.
#[derive(Debug)]
pub struct Noting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    HELD.set(HELD.get() + change);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may be held at once.
        note(size as isize);
        note(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work` and tells how many bytes this thread held at most beyond what it held before; 0 where
/// [`Noting`] is not the allocator.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// How many damaged inputs each parser meets: 20,000, or what the environment variable
/// `SUMI_MUTATIONS` says, as before a release.
///
/// # Panics
/// If the variable is not a number.
pub fn mutations() -> usize {
    let set = std::env::var("SUMI_MUTATIONS").ok();
    set.map_or(20_000, |count| count.parse().expect("SUMI_MUTATIONS is a number"))
}

/// Values that overflow, wrap or end something.
const TELLING: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, (1 << 42) + 1, u64::MAX];

/// Xorshift: small, and the same on every machine.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed that is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// A file with one to four places changed, cut, doubled or overwritten with a telling number.
pub fn mutate(valid: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..1 + dice.roll(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.roll(bytes.len());
        match dice.roll(7) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, dice.roll(256) as u8),
            4 => drop(bytes.drain(at..bytes.len().min(at + 1 + dice.roll(8)))),
            5 => {
                // A telling number of one to eight bytes in either order.
                let width = 1 << dice.roll(4);
                let value = TELLING[dice.roll(TELLING.len())];
                let number = if dice.roll(2) == 0 {
                    value.to_le_bytes()[..width].to_vec()
                } else {
                    value.to_be_bytes()[8 - width..].to_vec()
                };
                let end = bytes.len().min(at + width);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ => {
                // A piece of the file somewhere else in it.
                let from = dice.roll(bytes.len());
                let piece = bytes[from..bytes.len().min(from + dice.roll(32))].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_damage() {
        let of = |seed| mutate(b"a file of some bytes", &mut Dice::new(seed));
        assert_eq!(of(7), of(7));
        let differ = (1..50).filter(|&seed| of(seed) != b"a file of some bytes").count();
        assert!(differ > 40, "{differ}");
    }
}
