//! What a network predicts.

use crate::{NoiseLevel, Posterior, Process};
use serde::{Deserialize, Serialize};

/// What the network's output means.
///
/// A [`Parameterisation`] turns it into `x_0` and `eps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise `eps` (DDPM, Eq. 11).
    #[default]
    Epsilon,
    /// The data `x_0`.
    X0,
    /// `v = alpha eps - sigma x_0` (Salimans and Ho, Progressive Distillation, Appendix D).
    V,
    /// The velocity `dx/dt = eps - x_0` of the straight path from data to noise (Liu et al., Flow
    /// Straight and Fast, Eq. 1).
    Velocity,
    /// The score `grad log p(x_t) = -eps / sigma`, by way of the network's output divided by `sigma`
    /// (Song and Ermon, Improved Techniques for Training Score-Based Models, section 3.3): the
    /// output itself is `-eps`.
    Score,
    /// The mean of the posterior `q(x_{t-1} | x_t, x_0)` (DDPM, Eq. 8).
    Mean,
    /// EDM's `F`: `x_0 = c_skip x_t + c_out F(c_in x_t, c_noise)` with data of standard deviation
    /// `sigma_data` = 0.5 (Karras et al., Elucidating the Design Space, Table 1).
    Edm,
}

/// The standard deviation of data in [-1, 1] that EDM reckons with.
pub const SIGMA_DATA: f64 = 0.5;

/// A linear combination `first * a + second * b` of two things that its producer names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The factor of the first.
    pub first: f64,
    /// The factor of the second.
    pub second: f64,
}

impl Prediction {
    /// The training target as a combination of (`x_0`, `eps`). `step` is the posterior of one training
    /// step below `level`, which [`Prediction::Mean`] is the mean of.
    fn target(self, level: NoiseLevel, step: impl FnOnce() -> Posterior) -> Linear {
        let NoiseLevel { alpha, sigma } = level;
        let of = |first, second| Linear { first, second };
        match self {
            Self::Epsilon => of(0.0, 1.0),
            Self::X0 => of(1.0, 0.0),
            Self::V => of(-sigma, alpha),
            Self::Velocity => of(-1.0, 1.0),
            Self::Score => of(0.0, -1.0),
            Self::Mean => {
                let q = step();
                of(q.coef_x0 + q.coef_xt * alpha, q.coef_xt * sigma)
            }
            Self::Edm => {
                let Edm { c_skip, c_out, .. } = Edm::at(level);
                of((1.0 - c_skip * alpha) / c_out, -c_skip * sigma / c_out)
            }
        }
    }
}

/// EDM's preconditioning on any path (Elucidating the Design Space, Eq. 7, after dividing the state
/// by `alpha`).
struct Edm {
    c_skip: f64,
    c_out: f64,
    c_in: f64,
}

impl Edm {
    fn at(level: NoiseLevel) -> Self {
        let NoiseLevel { alpha, sigma } = level;
        let (data, total) = (SIGMA_DATA * SIGMA_DATA, (alpha * SIGMA_DATA).hypot(sigma));
        Self {
            c_skip: alpha * data / (total * total),
            c_out: sigma * SIGMA_DATA / total,
            c_in: 1.0 / total,
        }
    }
}

/// What a network sees and says: what it predicts about which process.
///
/// With `x_t = alpha x_0 + sigma eps` every prediction is a linear function of `x_0` and `eps`, so any
/// of them gives both; this is the one place where that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameterisation {
    /// What the network predicts.
    pub prediction: Prediction,
    /// How its pictures were noised.
    pub process: Process,
}

impl Parameterisation {
    /// The training target as a combination of (`x_0`, `eps`).
    pub fn target(&self, level: NoiseLevel) -> Linear {
        self.prediction.target(level, || self.process.posterior_below(level))
    }

    /// `x_0` as a combination of (`x_t`, output).
    pub fn x0(&self, level: NoiseLevel) -> Linear {
        // output = a x_0 + b eps and x_t = alpha x_0 + sigma eps, solved for x_0.
        let Linear { first: a, second: b } = self.target(level);
        let NoiseLevel { alpha, sigma } = level;
        let determinant = alpha * b - sigma * a;
        Linear { first: b / determinant, second: -sigma / determinant }
    }

    /// `eps` as a combination of (`x_t`, output).
    pub fn eps(&self, level: NoiseLevel) -> Linear {
        let Linear { first: a, second: b } = self.target(level);
        let NoiseLevel { alpha, sigma } = level;
        let determinant = alpha * b - sigma * a;
        Linear { first: -a / determinant, second: alpha / determinant }
    }

    /// What `x_t` is multiplied by before the network sees it.
    pub fn input_scale(&self, level: NoiseLevel) -> f64 {
        match self.prediction {
            Prediction::Edm => Edm::at(level).c_in,
            _ => 1.0,
        }
    }

    /// What the network is told of the level.
    pub fn network_time(&self, level: NoiseLevel) -> f64 {
        self.process.network_time(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BetaSchedule, Schedule};

    const ALL: [Prediction; 7] = [
        Prediction::Epsilon,
        Prediction::X0,
        Prediction::V,
        Prediction::Velocity,
        Prediction::Score,
        Prediction::Mean,
        Prediction::Edm,
    ];

    fn processes() -> [Process; 4] {
        let ddpm = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        [
            Process::Discrete(ddpm),
            Process::SubVp { beta_min: 0.1, beta_max: 20.0 },
            Process::Edm { sigma_min: 0.002, sigma_max: 80.0 },
            Process::Flow,
        ]
    }

    fn combine(l: Linear, a: f64, b: f64) -> f64 {
        l.first * a + l.second * b
    }

    #[test]
    fn every_prediction_gives_back_data_and_noise() {
        let (x0, eps) = (0.37, -1.21);
        for process in processes() {
            let (earliest, latest) = process.times();
            for prediction in ALL {
                let p = Parameterisation { prediction, process: process.clone() };
                // The last level of a flow has no signal to give back.
                for part in [0.001, 0.3, 0.97] {
                    let level =
                        process.level((earliest + (latest - earliest) * part).round_to(0.001));
                    let x_t = level.alpha * x0 + level.sigma * eps;
                    let output = combine(p.target(level), x0, eps);
                    // Where little noise is left, dividing by it costs digits.
                    let bound = 1e-9;
                    let found = combine(p.x0(level), x_t, output);
                    assert!((found - x0).abs() < bound, "{prediction:?} {process:?} {found}");
                    let found = combine(p.eps(level), x_t, output);
                    assert!((found - eps).abs() < bound, "{prediction:?} {process:?} {found}");
                }
            }
        }
    }

    trait RoundTo {
        fn round_to(self, unit: f64) -> f64;
    }

    impl RoundTo for f64 {
        /// Timesteps are whole; continuous times are far coarser than this.
        fn round_to(self, unit: f64) -> f64 {
            (self / unit).round() * unit
        }
    }

    #[test]
    fn edm_target_and_input_have_unit_variance() {
        // With x_0 of standard deviation sigma_data (EDM, Appendix B.6).
        let process = Process::Edm { sigma_min: 0.002, sigma_max: 80.0 };
        let p = Parameterisation { prediction: Prediction::Edm, process };
        for sigma in [0.002, 0.5, 80.0] {
            let level = NoiseLevel { alpha: 1.0, sigma };
            let Linear { first, second } = p.target(level);
            assert!(((first * SIGMA_DATA).hypot(second) - 1.0).abs() < 1e-12);
            let x_t = SIGMA_DATA.hypot(sigma);
            assert!((p.input_scale(level) * x_t - 1.0).abs() < 1e-12);
            // c_skip and c_out by their own formulas.
            let Linear { first: c_skip, second: c_out } = p.x0(level);
            let total = SIGMA_DATA.powi(2) + sigma * sigma;
            assert!((c_skip - SIGMA_DATA.powi(2) / total).abs() < 1e-12);
            assert!((c_out - sigma * SIGMA_DATA / total.sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn the_mean_is_the_posteriors() {
        let [process, ..] = processes();
        let p = Parameterisation { prediction: Prediction::Mean, process: process.clone() };
        let (x0, eps) = (0.37, -1.21);
        let level = process.level(500.0);
        let q = process.posterior_below(level);
        let x_t = level.alpha * x0 + level.sigma * eps;
        let mean = q.coef_x0 * x0 + q.coef_xt * x_t;
        assert!((combine(p.target(level), x0, eps) - mean).abs() < 1e-12);
    }
}
