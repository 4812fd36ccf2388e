//! One noise level.

/// A noise level: the pair of `x_t = alpha x_0 + sigma eps`, `eps ~ N(0, I)`.
///
/// Variance-preserving (`alpha^2 + sigma^2 = 1`), variance-exploding (`alpha = 1`) and
/// flow-matching (`alpha + sigma = 1`) processes are all levels of this one type.
///
/// ```
/// use sumi_process::NoiseLevel;
/// let level = NoiseLevel::variance_preserving(0.25);
/// assert_eq!(level.alpha, 0.5);
/// assert!((level.snr() - 1.0 / 3.0).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevel {
    /// The factor of the data.
    pub alpha: f64,
    /// The standard deviation of the noise.
    pub sigma: f64,
}

impl NoiseLevel {
    /// No noise at all: `x_t = x_0`.
    pub const CLEAN: Self = Self { alpha: 1.0, sigma: 0.0 };

    /// `alpha = sqrt(alpha_bar)`, `sigma = sqrt(1 - alpha_bar)` (DDPM, Eq. 4).
    pub fn variance_preserving(alpha_bar: f64) -> Self {
        Self { alpha: alpha_bar.sqrt(), sigma: (1.0 - alpha_bar).sqrt() }
    }

    /// Whether nothing but data is left.
    pub fn is_clean(self) -> bool {
        self.sigma == 0.0
    }

    /// `sigma / alpha`, what k-diffusion calls sigma: the level after the state is divided by
    /// `alpha`. Infinite where there is no signal.
    pub fn ratio(self) -> f64 {
        self.sigma / self.alpha
    }

    /// `lambda = log(alpha / sigma)`, half the log signal-to-noise ratio (DPM-Solver, section 2.2).
    pub fn half_log_snr(self) -> f64 {
        (self.alpha / self.sigma).ln()
    }

    /// The signal-to-noise ratio `alpha^2 / sigma^2`, infinite where there is no noise.
    pub fn snr(self) -> f64 {
        (self.alpha / self.sigma).powi(2)
    }

    /// `log(alpha^2 / sigma^2)`, in nats; it falls as the level rises.
    pub fn log_snr(self) -> f64 {
        2.0 * (self.alpha / self.sigma).ln()
    }
}
