//! Oracles, tolerances and golden files for the tests of the other crates.
//!
//! A development dependency only, and below every other crate: it knows no type of theirs.

mod close;
pub mod formula;
pub mod golden;
pub mod hostile;
mod mixture;

pub use close::{assert_close, relative_error};
pub use mixture::{GaussianMixture, NoisedMixture};
