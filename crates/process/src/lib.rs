//! How noise is added, and what the closed forms say about taking it away.
//!
//! Everything is `f64` and knows neither tensors, networks, files nor randomness. A *noise level*
//! is the pair `(alpha, sigma)` of `x_t = alpha x_0 + sigma eps`; a [`Schedule`] is a table of such
//! levels indexed by the training timestep; a [`Posterior`] is the Gaussian `q(x_s | x_t, x_0)`
//! between two of them; a [`Prediction`] says what a network puts out and how that becomes `x_0`.

mod level;
mod posterior;
mod prediction;
mod schedule;

pub use level::NoiseLevel;
pub use posterior::{Posterior, ReverseVariance};
pub use prediction::{Linear, Prediction};
pub use schedule::{BetaSchedule, Schedule, ScheduleError};
