//! How many threads the kernels use.

/// The number of threads was already settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected to set {asked} threads, but the thread pool already runs with {running}: set the \
     number before the first tensor operation, or with the environment variable RAYON_NUM_THREADS"
)]
pub struct ThreadsError {
    /// What was asked for.
    pub asked: usize,
    /// What there is.
    pub running: usize,
}

/// Sets how many threads compute on the CPU, 0 for one to each core; to be called before the first
/// tensor operation. Results do not depend on it.
///
/// # Errors
/// [`ThreadsError`] if the pool already runs with another number of threads.
pub fn set_threads(n: usize) -> Result<(), ThreadsError> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
    let running = rayon::current_num_threads();
    let asked = match n {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    if built.is_ok() || running == asked { Ok(()) } else { Err(ThreadsError { asked, running }) }
}

/// How many threads compute on the CPU.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
