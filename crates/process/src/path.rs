//! The curves on which noise levels lie.

use crate::NoiseLevel;
use serde::{Deserialize, Serialize};

/// Which of the pairs (`alpha`, `sigma`) a process passes through, whatever its clock.
///
/// A solver that needs a level between two steps of its grid asks for it here, by its ratio
/// `sigma / alpha`: on each path there is one level of every ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// `alpha^2 + sigma^2 = 1` (DDPM, Eq. 4; VP SDE).
    #[default]
    VariancePreserving,
    /// `sigma = 1 - alpha^2` (Song et al., Score-Based Generative Modeling through SDEs, Appendix C).
    SubVariancePreserving,
    /// `alpha = 1` (VE SDE; EDM).
    VarianceExploding,
    /// `alpha + sigma = 1` (rectified flow).
    Flow,
}

impl Path {
    /// The level whose `sigma / alpha` is `ratio`.
    pub fn at_ratio(self, ratio: f64) -> NoiseLevel {
        if ratio == f64::INFINITY && self != Self::VarianceExploding {
            return NoiseLevel { alpha: 0.0, sigma: 1.0 };
        }
        let alpha = match self {
            Self::VariancePreserving => 1.0 / (1.0 + ratio * ratio).sqrt(),
            // The positive root of alpha^2 + ratio alpha - 1, without cancellation.
            Self::SubVariancePreserving => 2.0 / (ratio + (ratio * ratio + 4.0).sqrt()),
            Self::VarianceExploding => 1.0,
            Self::Flow => 1.0 / (1.0 + ratio),
        };
        NoiseLevel { alpha, sigma: ratio * alpha }
    }

    /// The level whose `lambda = log(alpha / sigma)` is `lambda`.
    pub fn at_half_log_snr(self, lambda: f64) -> NoiseLevel {
        self.at_ratio((-lambda).exp())
    }

    /// The level with this `alpha`; on the variance-exploding path every level has `alpha = 1`, so
    /// there is none to tell.
    pub(crate) fn at_alpha(self, alpha: f64) -> NoiseLevel {
        let sigma = match self {
            // Not the root of 1 - alpha^2 twice rounded: alpha near 1 keeps its digits.
            Self::VariancePreserving => ((1.0 - alpha) * (1.0 + alpha)).sqrt(),
            Self::SubVariancePreserving => (1.0 - alpha) * (1.0 + alpha),
            Self::VarianceExploding => 0.0,
            Self::Flow => 1.0 - alpha,
        };
        NoiseLevel { alpha, sigma }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ratio_has_its_level() {
        for path in [
            Path::VariancePreserving,
            Path::SubVariancePreserving,
            Path::VarianceExploding,
            Path::Flow,
        ] {
            assert_eq!(path.at_ratio(0.0), NoiseLevel::CLEAN, "{path:?}");
            for ratio in [1e-4, 0.3, 1.0, 157.0] {
                let level = path.at_ratio(ratio);
                assert!((level.ratio() / ratio - 1.0).abs() < 1e-14, "{path:?}");
                let by_lambda = path.at_half_log_snr(level.half_log_snr());
                assert!((by_lambda.sigma / level.sigma - 1.0).abs() < 1e-13, "{path:?}");
                let NoiseLevel { alpha, sigma } = level;
                let on_it = match path {
                    Path::VariancePreserving => alpha * alpha + sigma * sigma - 1.0,
                    Path::SubVariancePreserving => sigma - (1.0 - alpha * alpha),
                    Path::VarianceExploding => alpha - 1.0,
                    Path::Flow => alpha + sigma - 1.0,
                };
                assert!(on_it.abs() < 1e-14, "{path:?}: {on_it}");
            }
        }
        let noise = Path::Flow.at_ratio(f64::INFINITY);
        assert_eq!((noise.alpha, noise.sigma), (0.0, 1.0));
    }
}
