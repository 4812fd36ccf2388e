//! The Gaussian between two noise levels.

use crate::NoiseLevel;
use serde::{Deserialize, Serialize};

/// `q(x_s | x_t, x_0) = N(coef_x0 x_0 + coef_xt x_t, variance I)` for a level `s` cleaner than `t`.
///
/// With `a = alpha_t / alpha_s` and `b = sigma_t^2 - a^2 sigma_s^2`, the mean's coefficients are
/// `alpha_s b / sigma_t^2` for `x_0` and `a sigma_s^2 / sigma_t^2` for `x_t`, and the variance is
/// `b sigma_s^2 / sigma_t^2` (Kingma et al., Variational Diffusion Models, Appendix A). On
/// neighbouring timesteps of a discrete process these are DDPM's Eq. 6 and 7, and `b` is its
/// `beta_t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// The factor of `x_0` in the mean.
    pub coef_x0: f64,
    /// The factor of `x_t` in the mean.
    pub coef_xt: f64,
    /// `beta_tilde`, the variance of every coordinate.
    pub variance: f64,
    /// `b`, the variance that the forward process adds between the two levels: `beta_t` on
    /// neighbouring timesteps.
    pub forward_variance: f64,
}

impl Posterior {
    /// The posterior from level `t` down to the cleaner level `s`.
    pub fn between(t: NoiseLevel, s: NoiseLevel) -> Self {
        let a = t.alpha / s.alpha;
        let (var_t, var_s) = (t.sigma * t.sigma, s.sigma * s.sigma);
        let forward_variance = var_t - a * a * var_s;
        Self {
            coef_x0: s.alpha * forward_variance / var_t,
            coef_xt: a * var_s / var_t,
            variance: forward_variance * var_s / var_t,
            forward_variance,
        }
    }

    /// The logarithms of the least and the most variance that a reverse step may add, `beta_tilde`
    /// and `beta`, between which a learned one lies (Improved DDPM, Eq. 15).
    ///
    /// A step to no noise has no `beta_tilde`; it takes `first`, the one of the step before it
    /// (Improved DDPM's code).
    pub fn log_variance_range(&self, first: f64) -> (f64, f64) {
        let least = if self.variance > 0.0 { self.variance } else { first };
        (least.ln(), self.forward_variance.ln())
    }
}

/// Which variance an ancestral step adds (DDPM, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReverseVariance {
    /// `beta_tilde_t`, the posterior's: right for data that is a single point.
    #[default]
    FixedSmall,
    /// `beta_t`, the forward step's: right for data that is standard normal.
    FixedLarge,
    /// Between the two, as the network says for every element: `exp(f log beta + (1 - f) log
    /// beta_tilde)` with `f = (v + 1) / 2` of its output `v` (Improved DDPM, Eq. 15).
    LearnedRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_to_no_noise_lands_on_the_data() {
        let p = Posterior::between(NoiseLevel::variance_preserving(0.3), NoiseLevel::CLEAN);
        assert_eq!((p.coef_x0, p.coef_xt, p.variance), (1.0, 0.0, 0.0));
    }

    #[test]
    fn the_posterior_keeps_the_marginal() {
        // E[x_s] = alpha_s x_0 and Var[x_s] = sigma_s^2 once x_t is integrated out.
        for (t, s) in [(0.2, 0.7), (1e-4, 0.9), (0.5, 0.50001)] {
            let (t, s) = (NoiseLevel::variance_preserving(t), NoiseLevel::variance_preserving(s));
            let p = Posterior::between(t, s);
            assert!((p.coef_x0 + p.coef_xt * t.alpha - s.alpha).abs() < 1e-12);
            let variance = p.coef_xt.powi(2) * t.sigma.powi(2) + p.variance;
            assert!((variance - s.sigma.powi(2)).abs() < 1e-12);
        }
    }
}
