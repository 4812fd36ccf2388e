//! How likely data is under a denoiser.

mod bound;
mod density;

pub use bound::{Bound, VariationalBound};
pub use density::{LogDensity, OdeLikelihood};

use std::ops::ControlFlow;

/// Is told, after every evaluation, which part of the work is done, from 0 to 1; `Break` ends it.
pub type Progress<'a> = &'a mut dyn FnMut(f64) -> ControlFlow<()>;
