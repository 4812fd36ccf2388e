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

/// Sets how many threads compute on the CPU, 0 for what `RAYON_NUM_THREADS` says or else one to
/// each core; to be called before the first tensor operation, by the thread that will run them: it
/// computes along, so that no other has to be woken for small work. Results do not depend on it.
///
/// # Errors
/// [`ThreadsError`] if the pool already runs with another number of threads.
pub fn set_threads(n: usize) -> Result<(), ThreadsError> {
    let named = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok().filter(|&n| n > 0);
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let asked = if n > 0 { n } else { named().unwrap_or_else(cores) };
    let mut builder = rayon::ThreadPoolBuilder::new().num_threads(asked);
    // A pool of the caller alone would stand still whenever the caller waits for another thread.
    if asked > 1 {
        builder = builder.use_current_thread();
    }
    let built = builder.build_global();
    let running = rayon::current_num_threads();
    if built.is_ok() || running == asked { Ok(()) } else { Err(ThreadsError { asked, running }) }
}

/// How many threads compute on the CPU.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
