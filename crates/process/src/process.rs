//! How noise is added over time.

use crate::{NoiseLevel, Path, Posterior, Schedule};

/// A process: which noise level belongs to which time.
///
/// Its time `t` is a training timestep for [`Process::Discrete`], `sigma` itself for
/// [`Process::Edm`], and a number from 0 (data) to 1 (noise) for the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Process {
    /// A table of betas (DDPM).
    Discrete(Schedule),
    /// The variance-preserving SDE: `log alpha = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2`
    /// (Song et al., Score SDE, Appendix C).
    Vp {
        /// `beta(0)`, published as 0.1.
        beta_min: f64,
        /// `beta(1)`, published as 20.
        beta_max: f64,
    },
    /// The sub-VP SDE: the same `alpha`, with `sigma = 1 - alpha^2` (Score SDE, Appendix C).
    SubVp {
        /// `beta(0)`, published as 0.1.
        beta_min: f64,
        /// `beta(1)`, published as 20.
        beta_max: f64,
    },
    /// The variance-exploding SDE: `sigma = sigma_min (sigma_max / sigma_min)^t` (Score SDE,
    /// Appendix C).
    Ve {
        /// The smallest level, published as 0.01.
        sigma_min: f64,
        /// The largest level, published as 50 for CIFAR-10.
        sigma_max: f64,
    },
    /// EDM: `sigma = t` (Karras et al., Elucidating the Design Space, Table 1).
    Edm {
        /// The smallest level that is sampled, published as 0.002.
        sigma_min: f64,
        /// The largest, published as 80.
        sigma_max: f64,
    },
    /// Rectified flow: `alpha = 1 - t`, `sigma = t` (Liu et al., Flow Straight and Fast, Eq. 1).
    Flow,
}

/// The cleanest time of the continuous processes that would have no noise at 0 (Score SDE,
/// Appendix C).
const EARLIEST: f64 = 1e-5;

impl Process {
    /// The curve that its levels lie on.
    pub fn path(&self) -> Path {
        match self {
            Self::Discrete(_) | Self::Vp { .. } => Path::VariancePreserving,
            Self::SubVp { .. } => Path::SubVariancePreserving,
            Self::Ve { .. } | Self::Edm { .. } => Path::VarianceExploding,
            Self::Flow => Path::Flow,
        }
    }

    /// The times of the least and the most noise that networks are trained on.
    pub fn times(&self) -> (f64, f64) {
        match self {
            Self::Discrete(schedule) => (0.0, (schedule.timesteps() - 1) as f64),
            Self::Vp { .. } | Self::SubVp { .. } | Self::Flow => (EARLIEST, 1.0),
            Self::Ve { .. } => (0.0, 1.0),
            Self::Edm { sigma_min, sigma_max } => (*sigma_min, *sigma_max),
        }
    }

    /// The noise level at time `t`; between the timesteps of a table by linear interpolation of the
    /// log signal-to-noise ratio.
    pub fn level(&self, t: f64) -> NoiseLevel {
        match *self {
            Self::Discrete(ref schedule) => schedule.level_between(t),
            Self::Vp { beta_min, beta_max } | Self::SubVp { beta_min, beta_max } => {
                let log_alpha = -0.25 * t * t * (beta_max - beta_min) - 0.5 * t * beta_min;
                self.path().at_alpha(log_alpha.exp())
            }
            Self::Ve { sigma_min, sigma_max } => {
                NoiseLevel { alpha: 1.0, sigma: sigma_min * (sigma_max / sigma_min).powf(t) }
            }
            Self::Edm { .. } => NoiseLevel { alpha: 1.0, sigma: t },
            Self::Flow => NoiseLevel { alpha: 1.0 - t, sigma: t },
        }
    }

    /// The time of a level, held to [`Self::times`]: how a network that was trained on times is asked
    /// about a level.
    pub fn time_of(&self, level: NoiseLevel) -> f64 {
        let (earliest, latest) = self.times();
        let t = match *self {
            Self::Discrete(ref schedule) => schedule.timestep_of(level),
            Self::Vp { beta_min, beta_max } | Self::SubVp { beta_min, beta_max } => {
                // The root of t^2 (beta_max - beta_min) / 4 + t beta_min / 2 + log alpha. The level's
                // ratio, not its alpha, is what a rescaled state keeps.
                let c = -self.path().at_ratio(level.ratio()).alpha.ln();
                let slope = beta_max - beta_min;
                4.0 * c / (beta_min + (beta_min * beta_min + 4.0 * slope * c).sqrt())
            }
            Self::Ve { sigma_min, sigma_max } => {
                (level.ratio() / sigma_min).ln() / (sigma_max / sigma_min).ln()
            }
            Self::Edm { .. } => level.ratio(),
            Self::Flow => level.sigma / (level.alpha + level.sigma),
        };
        t.clamp(earliest, latest)
    }

    /// What the network is told of a level: the timestep, `1000 t` for the continuous processes, and
    /// EDM's `c_noise = log(sigma) / 4`.
    pub fn network_time(&self, level: NoiseLevel) -> f64 {
        match self {
            Self::Discrete(_) => self.time_of(level),
            Self::Edm { .. } => 0.25 * self.time_of(level).ln(),
            Self::Vp { .. } | Self::SubVp { .. } | Self::Ve { .. } | Self::Flow => {
                1000.0 * self.time_of(level)
            }
        }
    }

    /// The level at which sampling starts.
    pub fn noisiest(&self) -> NoiseLevel {
        self.level(self.times().1)
    }

    /// The posterior of one training step below `level`: on a table down to the timestep before, and
    /// on a continuous process down by a thousandth of its time.
    pub fn posterior_below(&self, level: NoiseLevel) -> Posterior {
        let t = self.time_of(level);
        let below = match self {
            Self::Discrete(_) if t < 1.0 => NoiseLevel::CLEAN,
            Self::Discrete(_) => self.level(t - 1.0),
            Self::Ve { .. } if t < 1e-3 => NoiseLevel::CLEAN,
            Self::Edm { .. } => self.level(t * 0.99),
            _ if t < 1e-3 + EARLIEST => NoiseLevel::CLEAN,
            _ => self.level(t - 1e-3),
        };
        Posterior::between(level, below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BetaSchedule;

    fn all() -> Vec<Process> {
        vec![
            Process::Discrete(Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap()),
            Process::Vp { beta_min: 0.1, beta_max: 20.0 },
            Process::SubVp { beta_min: 0.1, beta_max: 20.0 },
            Process::Ve { sigma_min: 0.01, sigma_max: 50.0 },
            Process::Edm { sigma_min: 0.002, sigma_max: 80.0 },
            Process::Flow,
        ]
    }

    #[test]
    fn noise_rises_and_times_are_found_again() {
        for process in all() {
            let (earliest, latest) = process.times();
            let time = |i: i32| earliest + (latest - earliest) * f64::from(i) / 40.0;
            for i in 0..=40 {
                let level = process.level(time(i));
                let found = process.time_of(level);
                assert!((found - time(i)).abs() <= 1e-9 * latest, "{process:?}: {found}");
                assert!(i == 0 || level.ratio() > process.level(time(i - 1)).ratio());
                let on_path = process.path().at_ratio(level.ratio());
                assert!((on_path.alpha - level.alpha).abs() < 1e-12, "{process:?} at {i}");
            }
        }
    }

    #[test]
    fn continuous_vp_is_ddpm_in_the_limit() {
        // beta_t = beta(t) / T with beta from 0.1 to 20 (Score SDE, Appendix C).
        let ddpm = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        let vp = Process::Vp { beta_min: 0.1, beta_max: 20.0 };
        for t in [99, 499, 899] {
            let continuous = 2.0 * vp.level((t + 1) as f64 / 1000.0).alpha.ln();
            assert!((continuous / ddpm.alpha_bar(t).ln() - 1.0).abs() < 0.01, "{t}");
        }
    }

    #[test]
    fn networks_are_told_what_they_were_trained_on() {
        let [discrete, vp, _, _, edm, flow] = all().try_into().unwrap();
        assert_eq!(discrete.network_time(discrete.level(37.0)), 37.0);
        assert!((vp.network_time(vp.level(0.25)) - 250.0).abs() < 1e-9);
        assert!((edm.network_time(edm.level(2.0)) - 0.25 * 2f64.ln()).abs() < 1e-15);
        assert_eq!(flow.network_time(flow.level(0.5)), 500.0);
    }
}
