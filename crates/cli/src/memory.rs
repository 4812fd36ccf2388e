//! The program's allocator.

/// `mi_option_purge_delay` of mimalloc 3: for how many milliseconds freed pages are kept.
const PURGE_DELAY: i32 = 15;

/// From now on, freed pages go back to the system at once: less memory, but every tensor then finds its pages
/// anew, which costs time where many of one size follow one another.
#[allow(unsafe_code)]
pub fn give_back_at_once() {
    // SAFETY: an option may be set at any time, from any thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}
