//! What a network predicts.

use crate::NoiseLevel;
use serde::{Deserialize, Serialize};

/// What the network's output means.
///
/// Each is a linear function of `x_0` and `eps`, so with `x_t = alpha x_0 + sigma eps` any of them
/// gives both; this is the one place where that happens.
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
}

/// A linear combination `first * a + second * b` of two things that its producer names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The factor of the first.
    pub first: f64,
    /// The factor of the second.
    pub second: f64,
}

impl Prediction {
    /// The training target as a combination of (`x_0`, `eps`).
    pub fn target(self, level: NoiseLevel) -> Linear {
        match self {
            Self::Epsilon => Linear { first: 0.0, second: 1.0 },
            Self::X0 => Linear { first: 1.0, second: 0.0 },
            Self::V => Linear { first: -level.sigma, second: level.alpha },
        }
    }

    /// `x_0` as a combination of (`x_t`, output).
    pub fn x0(self, level: NoiseLevel) -> Linear {
        let NoiseLevel { alpha, sigma } = level;
        let norm = alpha * alpha + sigma * sigma;
        match self {
            Self::Epsilon => Linear { first: 1.0 / alpha, second: -sigma / alpha },
            Self::X0 => Linear { first: 0.0, second: 1.0 },
            Self::V => Linear { first: alpha / norm, second: -sigma / norm },
        }
    }

    /// `eps` as a combination of (`x_t`, output).
    pub fn eps(self, level: NoiseLevel) -> Linear {
        let NoiseLevel { alpha, sigma } = level;
        let norm = alpha * alpha + sigma * sigma;
        match self {
            Self::Epsilon => Linear { first: 0.0, second: 1.0 },
            Self::X0 => Linear { first: 1.0 / sigma, second: -alpha / sigma },
            Self::V => Linear { first: sigma / norm, second: alpha / norm },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_gives_back_data_and_noise() {
        let (x0, eps) = (0.37, -1.21);
        for alpha_bar in [0.9999, 0.5, 4e-5] {
            let level = NoiseLevel::variance_preserving(alpha_bar);
            let x_t = level.alpha * x0 + level.sigma * eps;
            for prediction in [Prediction::Epsilon, Prediction::X0, Prediction::V] {
                let combine = |l: Linear, a: f64, b: f64| l.first * a + l.second * b;
                let output = combine(prediction.target(level), x0, eps);
                assert!((combine(prediction.x0(level), x_t, output) - x0).abs() < 1e-12);
                assert!((combine(prediction.eps(level), x_t, output) - eps).abs() < 1e-12);
            }
        }
    }
}
