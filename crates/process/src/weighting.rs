//! How much each noise level counts in the loss.

use crate::{NoiseLevel, Parameterisation, SIGMA_DATA};
use serde::{Deserialize, Serialize};

/// How much a squared error at each noise level counts.
///
/// Each is a weight `w` of the error in `x_0`, a function of `snr = alpha^2 / sigma^2` alone, so that
/// the same training comes out whatever the network predicts. Only [`Self::Uniform`] is the
/// prediction's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// Every level counts alike in the mean squared error of what is predicted (DDPM, Eq. 14).
    #[default]
    Uniform,
    /// `w = snr`, which is the error in `eps` (Salimans and Ho, Progressive Distillation, section 4).
    Snr,
    /// `w = min(snr, 5)` (Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy,
    /// section 3.4).
    MinSnr,
    /// `w = snr / (k + snr)^gamma` with `k = gamma = 1` (Choi et al., Perception Prioritized Training of
    /// Diffusion Models, Eq. 8).
    P2,
    /// `w = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2` with `sigma^2 = 1 / snr` (Karras et al.,
    /// Elucidating the Design Space, Table 1).
    Edm,
}

/// Min-SNR's `gamma`.
const MOST_SNR: f64 = 5.0;

impl Weighting {
    /// The weight of a squared error in what the network predicts.
    ///
    /// With `x_0 = a x_t + b output`, an error in the output is `b` times as large in `x_0`, so this is
    /// `b^2 w`.
    pub fn weight(self, parameterisation: &Parameterisation, level: NoiseLevel) -> f64 {
        let snr = level.snr();
        let of_x0 = match self {
            Self::Uniform => return 1.0,
            Self::Snr => snr,
            Self::MinSnr => snr.min(MOST_SNR),
            Self::P2 => snr / (1.0 + snr),
            Self::Edm => 1.0 / (SIGMA_DATA * SIGMA_DATA) + snr,
        };
        of_x0 * parameterisation.x0(level).second.powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BetaSchedule, Prediction, Process, Schedule};

    fn ddpm() -> Schedule {
        Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap()
    }

    fn predicting(prediction: Prediction, process: Process) -> Parameterisation {
        Parameterisation { prediction, process }
    }

    fn assert_close(found: f64, expected: f64, what: &str) {
        // Both are a few operations; the levels' own squares cost the most digits where little noise
        // is left.
        assert!((found - expected).abs() <= 1e-11 * expected.abs(), "{what}: {found} {expected}");
    }

    #[test]
    fn min_snr_is_the_published_code_for_each_prediction() {
        let process = Process::Discrete(ddpm());
        for t in [0.0, 1.0, 250.0, 600.0, 999.0] {
            let level = process.level(t);
            let snr = level.snr();
            for (prediction, expected) in [
                (Prediction::Epsilon, snr.min(5.0) / snr),
                (Prediction::Score, snr.min(5.0) / snr),
                (Prediction::V, snr.min(5.0) / (snr + 1.0)),
                (Prediction::X0, snr.min(5.0)),
            ] {
                let p = predicting(prediction, process.clone());
                assert_close(Weighting::MinSnr.weight(&p, level), expected, "min-snr");
            }
        }
    }

    #[test]
    fn snr_is_the_error_in_the_noise() {
        let flow = predicting(Prediction::Velocity, Process::Flow);
        for t in [0.001, 0.3, 0.999] {
            // eps = x_t + (1 - t) velocity.
            let found = Weighting::Snr.weight(&flow, flow.process.level(t));
            assert_close(found, (1.0 - t) * (1.0 - t), "velocity");
        }
        let eps = predicting(Prediction::Epsilon, Process::Discrete(ddpm()));
        assert_close(Weighting::Snr.weight(&eps, eps.process.level(0.0)), 1.0, "eps");
        assert_close(Weighting::Snr.weight(&eps, eps.process.level(999.0)), 1.0, "eps");
    }

    #[test]
    fn edm_weighs_its_own_output_evenly() {
        // lambda c_out^2 = 1 (Elucidating the Design Space, Table 1).
        let process = Process::Edm { sigma_min: 0.002, sigma_max: 80.0 };
        let p = predicting(Prediction::Edm, process.clone());
        let x0 = predicting(Prediction::X0, process);
        for sigma in [0.002, 0.5, 80.0] {
            let level = p.process.level(sigma);
            assert_close(Weighting::Edm.weight(&p, level), 1.0, "F");
            let lambda = (sigma * sigma + 0.25) / (sigma * 0.5).powi(2);
            assert_close(Weighting::Edm.weight(&x0, level), lambda, "x0");
        }
    }

    #[test]
    fn p2_for_the_noise_is_one_over_one_plus_snr() {
        let p = predicting(Prediction::Epsilon, Process::Discrete(ddpm()));
        for t in [0, 500, 999] {
            // 1 / (1 + snr) is sigma^2 on this path.
            let expected = 1.0 - ddpm().alpha_bar(t);
            assert_close(Weighting::P2.weight(&p, p.process.level(t as f64)), expected, "P2");
        }
    }

    #[test]
    fn the_ends_are_numbers() {
        let last = Process::Discrete(ddpm().with_zero_terminal_snr());
        let v = predicting(Prediction::V, last);
        let level = v.process.noisiest();
        assert_eq!(level.alpha, 0.0);
        for (weighting, expected) in [
            (Weighting::Uniform, 1.0),
            (Weighting::Snr, 0.0),
            (Weighting::MinSnr, 0.0),
            (Weighting::P2, 0.0),
            (Weighting::Edm, 4.0),
        ] {
            assert_eq!(weighting.weight(&v, level), expected, "{weighting:?}");
        }
    }
}
