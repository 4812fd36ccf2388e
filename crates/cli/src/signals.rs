//! Ctrl-C and SIGTERM.

use crate::error::CliError;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Becomes true when the user, or the system, asks to stop. Asking twice ends the process at once.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Starts listening.
    ///
    /// # Errors
    /// A system that does not let the process listen.
    pub fn listen() -> Result<Self, CliError> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag still false and only sets it.
            let twice = signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&flag),
            );
            let once = signal_hook::flag::register(signal, Arc::clone(&flag));
            twice
                .and(once)
                .map_err(|error| CliError::Failed(format!("cannot listen for signals: {error}")))?;
        }
        Ok(Self(flag))
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
