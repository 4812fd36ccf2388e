//! How noise is added, and what the closed forms say about taking it away.
//!
//! Everything is `f64` and knows neither tensors, networks, files nor randomness. A *noise level*
//! is the pair `(alpha, sigma)` of `x_t = alpha x_0 + sigma eps`; a [`Path`] is a curve of such pairs; a
//! [`Process`] runs along one in time, on the table of a [`Schedule`] or continuously; a [`Posterior`] is
//! the Gaussian `q(x_s | x_t, x_0)` between two levels; a [`Parameterisation`] says what a network puts
//! out about a process and how that becomes `x_0`.

mod level;
mod likelihood;
mod path;
mod posterior;
mod prediction;
mod process;
mod schedule;
mod weighting;

pub use level::NoiseLevel;
pub use likelihood::{Gaussian, NORMAL_CDF, bits_per_dim, dequantised_bits_per_dim, prior_kl};
pub use path::Path;
pub use posterior::{Posterior, ReverseVariance};
pub use prediction::{Linear, Parameterisation, Prediction, SIGMA_DATA};
pub use process::Process;
pub use schedule::{BetaSchedule, Schedule, ScheduleError};
pub use weighting::Weighting;
