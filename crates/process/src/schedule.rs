//! Discrete noise schedules.

use crate::{NoiseLevel, Path, Posterior};
use serde::{Deserialize, Serialize};

/// The shape of `beta_t`, the variance that forward step `t` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BetaSchedule {
    /// `beta` rises evenly from `beta_start` to `beta_end` (DDPM, section 4).
    #[default]
    Linear,
    /// `sqrt(beta)` rises evenly (latent diffusion; `scaled_linear` in diffusers).
    ScaledLinear,
    /// `alpha_bar(t) = cos^2((t/T + 0.008) / 1.008 * pi/2)`, `beta` clipped at 0.999
    /// (Improved DDPM, Eq. 17; `squaredcos_cap_v2` in diffusers). It has no end points to set.
    Cosine,
    /// `beta` rises along a sigmoid over [-6, 6] (GeoDiff; `sigmoid` in diffusers).
    Sigmoid,
    /// `alpha_bar(t) = 1 - sqrt(t/T + 0.0001)`, `beta` clipped at 0.999 (Diffusion-LM, Appendix A).
    /// It has no end points to set.
    Sqrt,
}

impl BetaSchedule {
    /// Whether `beta_start` and `beta_end` shape it.
    pub fn has_end_points(self) -> bool {
        !matches!(self, Self::Cosine | Self::Sqrt)
    }
}

/// A schedule that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// There has to be at least one timestep.
    #[error("timesteps: expected at least 1, found {0}")]
    NoTimesteps(usize),
    /// A beta is a variance and takes less than everything.
    #[error("{name}: expected a number above 0 and below 1, found {found}")]
    Beta {
        /// Which of the two.
        name: &'static str,
        /// What was given.
        found: f64,
    },
    /// So many steps of such betas leave no signal that a number could hold.
    #[error(
        "timesteps: expected so few that some signal is left at the end, found {timesteps}, after \
         which alpha_bar is 0; take fewer timesteps or smaller betas"
    )]
    NoSignal {
        /// How many there are.
        timesteps: usize,
    },
    /// A trained table has one beta for every timestep.
    #[error("trained_betas[{index}]: expected a number above 0 and at most 1, found {found}")]
    TrainedBeta {
        /// Where.
        index: usize,
        /// What was given.
        found: f64,
    },
}

/// A discrete variance-preserving process: one noise level for every training timestep.
///
/// `x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps` with
/// `alpha_bar_t = prod_{i<=t} (1 - beta_i)` (DDPM, Eq. 4). Timesteps count from 0.
///
/// ```
/// use sumi_process::{BetaSchedule, Schedule};
/// let ddpm = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02)?;
/// assert!((ddpm.alpha_bar(999) - 4.03582976538e-5).abs() < 1e-15);
/// # Ok::<(), sumi_process::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    betas: Vec<f64>,
    alpha_bars: Vec<f64>,
}

impl Schedule {
    /// A schedule of `timesteps` betas; `beta_start` and `beta_end` are not used by
    /// [`BetaSchedule::Cosine`].
    ///
    /// # Errors
    /// No timesteps, or an end point outside (0, 1).
    pub fn new(
        shape: BetaSchedule,
        timesteps: usize,
        beta_start: f64,
        beta_end: f64,
    ) -> Result<Self, ScheduleError> {
        for (name, found) in [("beta_start", beta_start), ("beta_end", beta_end)] {
            if !(found > 0.0 && found < 1.0) {
                return Err(ScheduleError::Beta { name, found });
            }
        }
        let from_alpha_bar = |alpha_bar: fn(f64) -> f64| -> Vec<f64> {
            let t_max = timesteps as f64;
            let beta =
                |t: usize| 1.0 - alpha_bar((t + 1) as f64 / t_max) / alpha_bar(t as f64 / t_max);
            (0..timesteps).map(|t| beta(t).min(0.999)).collect()
        };
        let betas = match shape {
            BetaSchedule::Linear => linspace(beta_start, beta_end, timesteps),
            BetaSchedule::ScaledLinear => linspace(beta_start.sqrt(), beta_end.sqrt(), timesteps)
                .into_iter()
                .map(|root| root * root)
                .collect(),
            BetaSchedule::Cosine => from_alpha_bar(cosine_alpha_bar),
            BetaSchedule::Sigmoid => linspace(-6.0, 6.0, timesteps)
                .into_iter()
                .map(|x| beta_start + (beta_end - beta_start) / (1.0 + (-x).exp()))
                .collect(),
            BetaSchedule::Sqrt => from_alpha_bar(|t| 1.0 - (t + 1e-4).sqrt()),
        };
        Self::from_betas(betas)
    }

    /// A schedule from a table of betas.
    ///
    /// # Errors
    /// An empty table, or a beta outside (0, 1].
    pub fn from_betas(betas: Vec<f64>) -> Result<Self, ScheduleError> {
        if betas.is_empty() {
            return Err(ScheduleError::NoTimesteps(0));
        }
        if let Some((index, &found)) =
            betas.iter().enumerate().find(|&(_, &beta)| !(beta > 0.0 && beta <= 1.0))
        {
            return Err(ScheduleError::TrainedBeta { index, found });
        }
        let mut product = 1.0;
        let alpha_bars: Vec<f64> = betas
            .iter()
            .map(|beta| {
                product *= 1.0 - beta;
                product
            })
            .collect();
        // Below the smallest normal number nothing can be divided by it.
        match product >= f64::MIN_POSITIVE {
            true => Ok(Self { betas, alpha_bars }),
            false => Err(ScheduleError::NoSignal { timesteps: betas.len() }),
        }
    }

    /// The same schedule, stretched so that the last timestep has no signal left: `sqrt(alpha_bar)`
    /// is shifted to end at 0 and scaled to start where it did (Lin et al., Common Diffusion Noise
    /// Schedules and Sample Steps are Flawed, Algorithm 1).
    ///
    /// What a network predicts at that timestep has to tell the data: `v` or `x0`, not `eps`.
    pub fn with_zero_terminal_snr(&self) -> Self {
        let first = self.alpha_bars[0].sqrt();
        let last = self.alpha_bar(self.timesteps() - 1).sqrt();
        let stretch = first / (first - last);
        let root = |alpha_bar: f64| (alpha_bar.sqrt() - last) * stretch;
        // One timestep alone has no room to be stretched in.
        let alpha_bars: Vec<f64> = match self.timesteps() {
            1 => vec![0.0],
            _ => self.alpha_bars.iter().map(|&a| root(a).powi(2)).collect(),
        };
        let before = std::iter::once(1.0).chain(alpha_bars.iter().copied());
        let betas = alpha_bars.iter().zip(before).map(|(a, before)| 1.0 - a / before).collect();
        Self { betas, alpha_bars }
    }

    /// The same schedule with another `alpha_bar` at its last timestep, for the solvers that divide by
    /// it where [`Self::with_zero_terminal_snr`] left 0.
    pub fn with_last_alpha_bar(mut self, alpha_bar: f64) -> Self {
        if let Some(last) = self.alpha_bars.last_mut() {
            *last = alpha_bar;
        }
        self
    }

    /// `T`, how many timesteps there are.
    pub fn timesteps(&self) -> usize {
        self.betas.len()
    }

    /// All `beta_t`.
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// All `alpha_bar_t`.
    pub fn alpha_bars(&self) -> &[f64] {
        &self.alpha_bars
    }

    /// `alpha_bar_t`; past the last timestep it is the last one's.
    pub fn alpha_bar(&self, timestep: usize) -> f64 {
        self.alpha_bars[timestep.min(self.timesteps() - 1)]
    }

    /// The noise level of a timestep.
    pub fn level(&self, timestep: usize) -> NoiseLevel {
        NoiseLevel::variance_preserving(self.alpha_bar(timestep))
    }

    /// The noise level at a time between timesteps, by linear interpolation of the log
    /// signal-to-noise ratio; the inverse of [`Self::timestep_of`].
    pub fn level_between(&self, t: f64) -> NoiseLevel {
        let low = t.max(0.0).floor() as usize;
        let (below, above) = (self.level(low), self.level(low + 1));
        match t.max(0.0).fract() {
            0.0 => below,
            _ if above.alpha == 0.0 => below,
            part => {
                let (a, b) = (below.half_log_snr(), above.half_log_snr());
                Path::VariancePreserving.at_half_log_snr(a + (b - a) * part)
            }
        }
    }

    /// The posterior `q(x_{t-1} | x_t, x_0)`; before timestep 0 there is no noise.
    pub fn posterior(&self, timestep: usize) -> Posterior {
        let previous = match timestep {
            0 => NoiseLevel::CLEAN,
            t => self.level(t - 1),
        };
        Posterior::between(self.level(timestep), previous)
    }

    /// The timestep whose level is `level`: a whole number for a level of the table, between two
    /// by linear interpolation of the log signal-to-noise ratio, and clamped to `[0, T - 1]`.
    ///
    /// This is how a network that was trained on timesteps is asked about a noise level.
    pub fn timestep_of(&self, level: NoiseLevel) -> f64 {
        let log_snr = level.log_snr();
        let last = self.timesteps() - 1;
        // Log signal-to-noise falls with t: find the first timestep that is at least as noisy.
        let upper = self
            .alpha_bars
            .partition_point(|&a| NoiseLevel::variance_preserving(a).log_snr() > log_snr);
        if upper == 0 {
            return 0.0;
        }
        if upper > last {
            return last as f64;
        }
        let (low, high) = (self.level(upper - 1).log_snr(), self.level(upper).log_snr());
        match log_snr == high {
            true => upper as f64,
            // Above a last timestep without signal, whose log_snr is not finite, it is nearest.
            false if high == f64::NEG_INFINITY => (upper - 1) as f64,
            false => upper as f64 - (log_snr - high) / (low - high),
        }
    }
}

/// `n` numbers from `start` to `end`, both included; a single one is `start`.
fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let steps = n.saturating_sub(1).max(1) as f64;
    (0..n).map(|i| start + (end - start) * (i as f64 / steps)).collect()
}

fn cosine_alpha_bar(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, digits: i32) {
        // The references are printed to so many significant digits: half a unit of the last.
        let bound = expected.abs() * 10f64.powi(1 - digits);
        assert!((actual - expected).abs() <= bound, "{actual:e} is not {expected:e}");
    }

    #[test]
    fn ddpm_table() {
        let s = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        close(s.alpha_bar(0), 0.9999, 15);
        close(s.alpha_bar(499), 0.0785872428818, 12);
        close(s.alpha_bar(999), 4.03582976538e-5, 12);
        let p = s.posterior(1);
        close(p.variance, 5.4531876613e-5, 11);
        close(p.coef_x0, 0.54529149951, 11);
        close(p.coef_xt, 0.454708498991, 12);
        let p = s.posterior(999);
        close(p.variance, 0.0199999835266, 12);
        close(p.coef_x0, 1.28351487172e-4, 12);
        close(p.coef_xt, 0.989948678268, 12);
        close(p.forward_variance, 0.02, 12);
    }

    #[test]
    fn cosine_and_scaled_linear_tables() {
        let s = Schedule::new(BetaSchedule::Cosine, 1000, 1e-4, 0.02).unwrap();
        close(s.betas()[0], 4.1284224822e-5, 11);
        close(s.alpha_bar(499), 0.493843590441, 12);
        close(s.alpha_bar(999), 2.4288e-9, 5);
        assert_eq!(s.betas()[999], 0.999);
        let s = Schedule::new(BetaSchedule::Cosine, 4000, 1e-4, 0.02).unwrap();
        close(s.betas()[0], 9.86581881368e-6, 12);
        let s = Schedule::new(BetaSchedule::ScaledLinear, 1000, 0.00085, 0.012).unwrap();
        close(s.alpha_bar(0), 0.99915, 12);
        close(s.alpha_bar(499), 0.277669650456, 12);
        close(s.alpha_bar(999), 0.00466009851308, 12);
        let sqrt = Schedule::new(BetaSchedule::Sqrt, 2000, 1e-4, 0.02).unwrap();
        close(sqrt.betas()[0], 0.0146413105332, 12);
        close(sqrt.alpha_bar(999), 0.295780314819, 12);
        let sigmoid = Schedule::new(BetaSchedule::Sigmoid, 1000, 1e-4, 0.02).unwrap();
        // 1e-4 + 0.0199 / (1 + e^6), and the same from the other end.
        close(sigmoid.betas()[0], 1.4920520082e-04, 10);
        close(sigmoid.betas()[999], 1.9950794799e-02, 10);
        let sigma = |t| 1.0 / s.level(t).snr().sqrt();
        close(sigma(0), 0.0291671582, 9);
        close(sigma(999), 14.6146412293, 12);
    }

    #[test]
    fn zero_terminal_snr_keeps_the_first_level_and_loses_the_last() {
        let sd = Schedule::new(BetaSchedule::ScaledLinear, 1000, 0.00085, 0.012).unwrap();
        let zero = sd.with_zero_terminal_snr();
        close(zero.alpha_bar(0), sd.alpha_bar(0), 12);
        assert_eq!((zero.alpha_bar(999), zero.betas()[999]), (0.0, 1.0));
        assert!(zero.alpha_bars().windows(2).all(|w| w[1] < w[0]));
        // sqrt(alpha_bar) is shifted by its last value and stretched by one factor.
        let root = |s: &Schedule, t| s.alpha_bar(t).sqrt();
        let factor = root(&sd, 0) / (root(&sd, 0) - root(&sd, 999));
        close(root(&zero, 499), (root(&sd, 499) - root(&sd, 999)) * factor, 12);
        assert_eq!(zero.timestep_of(zero.level(999)), 999.0);
        assert_eq!(zero.clone().with_last_alpha_bar(2f64.powi(-24)).alpha_bar(999), 2f64.powi(-24));
    }

    #[test]
    fn levels_fall_and_are_found_again() {
        for shape in [
            BetaSchedule::Linear,
            BetaSchedule::ScaledLinear,
            BetaSchedule::Cosine,
            BetaSchedule::Sigmoid,
            BetaSchedule::Sqrt,
        ] {
            for timesteps in [1, 2, 10, 1000] {
                let s = Schedule::new(shape, timesteps, 1e-4, 0.02).unwrap();
                assert!(s.alpha_bars().windows(2).all(|w| w[1] < w[0]));
                for t in 0..timesteps {
                    assert_eq!(s.timestep_of(s.level(t)), t as f64);
                    let between = s.level_between(t as f64 + 0.3);
                    let end = (t as f64 + 0.3).min((timesteps - 1) as f64);
                    assert!((s.timestep_of(between) - end).abs() < 1e-6);
                }
            }
        }
        let s = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        assert_eq!(s.timestep_of(NoiseLevel::CLEAN), 0.0);
        assert_eq!(s.timestep_of(NoiseLevel { alpha: 0.0, sigma: 1.0 }), 999.0);
        let between = s.timestep_of(NoiseLevel::variance_preserving(0.5));
        assert!(between.fract() > 0.0 && s.alpha_bar(between as usize) > 0.5);
    }

    #[test]
    fn impossible_schedules_are_refused() {
        let linear = BetaSchedule::Linear;
        assert_eq!(
            Schedule::new(linear, 0, 1e-4, 0.02).unwrap_err(),
            ScheduleError::NoTimesteps(0)
        );
        for (start, end) in [(0.0, 0.02), (1e-4, 1.0), (f64::NAN, 0.02), (-1.0, 0.02)] {
            assert!(matches!(
                Schedule::new(linear, 10, start, end).unwrap_err(),
                ScheduleError::Beta { .. }
            ));
        }
        assert!(Schedule::from_betas(vec![0.1, f64::NAN]).is_err());
        assert_eq!(
            Schedule::new(linear, 100_000, 1e-4, 0.02).unwrap_err(),
            ScheduleError::NoSignal { timesteps: 100_000 }
        );
    }
}
