//! Memory for results, taken up again when a tensor is dropped.
//!
//! A network's results have the same few sizes in every layer and at every step. Given back to the
//! system and asked for again, their pages would be cleared and mapped anew each time, which takes
//! longer than to compute them.

use std::{
    mem::MaybeUninit,
    sync::{Mutex, PoisonError},
};

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

/// Fewer numbers than this are left to the allocator.
const SMALL: usize = 16 * 1024;

/// Buffers that nobody uses.
struct Pool {
    free: Vec<Vec<f32>>,
    /// Numbers that they have room for.
    kept: usize,
    /// Numbers in tensors, now and at most.
    used: usize,
    most: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), kept: 0, used: 0, most: 0 });

fn with_pool<R>(work: impl FnOnce(&mut Pool) -> R) -> R {
    // What a panic left half done is at worst a wrong count.
    work(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Gives back the memory that is kept for later results. To be called where results of other sizes follow, between one
/// network and another: what is kept for the one is of no use to the other.
pub fn release_memory() {
    // What is not kept is freed after the lock.
    let _free = with_pool(|pool| {
        (pool.kept, pool.most) = (0, pool.used);
        std::mem::take(&mut pool.free)
    });
}

/// An empty vector with room for `len` numbers.
pub(crate) fn take(len: usize) -> Vec<f32> {
    // Tests take new memory each time, so that reading past its end is found.
    if len < SMALL || cfg!(test) {
        return Vec::with_capacity(len);
    }
    let found = with_pool(|pool| {
        let fits = |buffer: &Vec<f32>| (len..=len + len / 4).contains(&buffer.capacity());
        // Of equals the one given back last, which is most likely still in the cache.
        let best = (0..pool.free.len())
            .rev()
            .filter(|&i| fits(&pool.free[i]))
            .min_by_key(|&i| pool.free[i].capacity())?;
        let buffer = pool.free.remove(best);
        pool.kept -= buffer.capacity();
        Some(buffer)
    });
    found.unwrap_or_else(|| Vec::with_capacity(len))
}

/// The bytes of a result, whose memory comes back here.
pub(crate) fn bytes(numbers: Vec<f32>) -> Bytes {
    if numbers.len() < SMALL {
        return Bytes::from_elems(numbers);
    }
    let len = size_of_val(numbers.as_slice());
    // What is given up is freed after the lock.
    let _free = with_pool(|pool| {
        pool.used += numbers.capacity();
        // More is in use than ever, none of it what is kept: that is of sizes that are no longer asked for.
        if pool.used <= pool.most {
            return Vec::new();
        }
        (pool.kept, pool.most) = (0, pool.used);
        std::mem::take(&mut pool.free)
    });
    // SAFETY: the vector has that many bytes, and all of them are initialised.
    unsafe { Bytes::from_controller(Box::new(Pooled(numbers)), len) }
}

/// A result in use.
struct Pooled(Vec<f32>);

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        let room = buffer.capacity();
        buffer.clear();
        // What cannot be kept is freed after the lock.
        let _rest = with_pool(|pool| {
            pool.used = pool.used.saturating_sub(room);
            // No more is ever held than was once in use.
            if pool.used + pool.kept + room > pool.most {
                return Some(buffer);
            }
            pool.kept += room;
            pool.free.push(buffer);
            None
        });
    }
}

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let len = size_of_val(self.0.as_slice());
        // SAFETY: the vector's own bytes, for as long as it is borrowed; the caller writes only
        // what is initialised.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let len = size_of_val(self.0.as_slice());
        // SAFETY: the vector's own bytes, for as long as it is borrowed.
        Ok(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) })
    }
}
