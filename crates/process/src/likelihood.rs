//! How likely data is: terms in nats for one element, and bits per dimension.

use crate::NoiseLevel;
use std::f64::consts::LN_2;

/// A normal distribution of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    /// Its mean.
    pub mean: f64,
    /// The logarithm of its variance, in nats.
    pub log_variance: f64,
}

impl Gaussian {
    /// `N(0, 1)`.
    pub const STANDARD: Self = Self { mean: 0.0, log_variance: 0.0 };

    /// `KL(self || other) = log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2`, in nats (DDPM, the
    /// terms of Eq. 5).
    pub fn kl(self, other: Self) -> f64 {
        let gap = self.mean - other.mean;
        let log_ratio = self.log_variance - other.log_variance;
        // expm1 keeps the digits of two variances that are nearly equal.
        0.5 * (log_ratio.exp_m1() - log_ratio + gap * gap * (-other.log_variance).exp())
    }

    /// `log p(x)` in nats.
    pub fn log_density(self, x: f64) -> f64 {
        let gap = x - self.mean;
        let square = gap * gap * (-self.log_variance).exp();
        -0.5 * (std::f64::consts::TAU.ln() + self.log_variance + square)
    }

    /// The log probability, in nats, of the bin around `x` where `levels` values lie evenly from -1 to 1
    /// (DDPM, Eq. 13): bins of half width `1 / (levels - 1)`, the first and the last open to the
    /// outside.
    ///
    /// The distribution function is approximated by a hyperbolic tangent and probabilities are held
    /// above 1e-12, as in Improved DDPM's code, so that bits/dim are comparable with published ones; the
    /// approximation is off by at most 2e-4.
    pub fn log_bin_probability(self, x: f64, levels: usize) -> f64 {
        let half_bin = 1.0 / (levels as f64 - 1.0);
        let inverse_std = (-0.5 * self.log_variance).exp();
        let below = |edge: f64| approximate_normal_cdf(inverse_std * (edge - self.mean));
        let probability = match x {
            x if x < -OUTERMOST => below(x + half_bin),
            x if x > OUTERMOST => 1.0 - below(x - half_bin),
            x => below(x + half_bin) - below(x - half_bin),
        };
        probability.max(LEAST_PROBABILITY).ln()
    }
}

/// Values past this are black or white: rounding may have moved them off 1.
const OUTERMOST: f64 = 0.999;
/// What an impossible bin counts as (Improved DDPM's code).
const LEAST_PROBABILITY: f64 = 1e-12;

/// The factors `a` and `b` of `(1 + tanh(a x + b x^3)) / 2`, which is near the cumulative normal function
/// (Page, Approximations to the Cumulative Normal Function, 1977): `sqrt(2/pi)` and 0.044715 times it.
pub const NORMAL_CDF: (f64, f64) = (0.797_884_560_802_865_4, 0.797_884_560_802_865_4 * 0.044715);

fn approximate_normal_cdf(x: f64) -> f64 {
    let (a, b) = NORMAL_CDF;
    0.5 * (1.0 + (a * x + b * x.powi(3)).tanh())
}

/// `L_T = KL(q(x_T | x_0) || N(0, 1))` of one element, in nats (DDPM, Eq. 5).
pub fn prior_kl(x0: f64, noisiest: NoiseLevel) -> f64 {
    let NoiseLevel { alpha, sigma } = noisiest;
    Gaussian { mean: alpha * x0, log_variance: 2.0 * sigma.ln() }.kl(Gaussian::STANDARD)
}

/// `nats / (dims log 2)`.
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    nats / (dims as f64 * LN_2)
}

/// Bits/dim of data of `levels` values, from -1 to 1, by the log density in nats of the data with
/// noise spread evenly over its bins: `-log_2 p(x + u) / dims + log_2((levels - 1) / 2)`.
///
/// A bin is `2 / (levels - 1)` wide in each of the dimensions, so that the mean over `u` is an upper
/// bound of the bits that the bin itself costs (Theis, van den Oord and Bethge, A Note on the Evaluation
/// of Generative Models, section 3.1).
///
/// For 256 levels the offset is 6.9944: bins are centred on the values, as the models are trained on
/// them. Code that first shrinks `[0, 255]` to `[0, 256)` has 7.
pub fn dequantised_bits_per_dim(log_density: f64, dims: usize, levels: usize) -> f64 {
    bits_per_dim(-log_density, dims) + ((levels as f64 - 1.0) / 2.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BetaSchedule, Schedule};
    use serde_json::Value;
    use sumi_testkit::golden;

    fn number(case: &Value, field: &str) -> f64 {
        golden::numbers(&case[field])[0]
    }

    fn cases(name: &str) -> Vec<Value> {
        let golden = golden::load("testdata/likelihood.json");
        let cases = golden[name].as_array().unwrap().clone();
        assert!(cases.len() >= 8, "{name}");
        cases
    }

    #[test]
    fn divergence_is_the_integral_that_it_is_defined_by() {
        for case in cases("kl") {
            let of = |mean, std: &str| Gaussian {
                mean: number(&case, mean),
                log_variance: 2.0 * number(&case, std).ln(),
            };
            let found = of("mean_q", "std_q").kl(of("mean_p", "std_p"));
            let expected = number(&case, "kl");
            // What scipy's quadrature promises.
            assert!((found - expected).abs() <= 1e-8 * (1.0 + expected), "{case}: {found}");
        }
        assert_eq!(Gaussian::STANDARD.kl(Gaussian::STANDARD), 0.0);
    }

    #[test]
    fn bins_have_the_published_approximation_and_it_is_near_the_normal_one() {
        for case in cases("bins") {
            let p = Gaussian {
                mean: number(&case, "mean"),
                log_variance: 2.0 * number(&case, "std").ln(),
            };
            let levels = number(&case, "levels") as usize;
            let found = p.log_bin_probability(number(&case, "x"), levels);
            let expected = number(&case, "approximate");
            assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{case}: {found}");
            // Two edges, each off by no more than the approximation: 1.9e-4 by scipy, see the script.
            let exact = number(&case, "exact");
            assert!((found.exp() - exact.exp()).abs() < 4e-4, "{case}: {found}");
        }
        for case in cases("cdf") {
            let (found, exact) =
                (approximate_normal_cdf(number(&case, "x")), number(&case, "exact"));
            assert!((found - exact).abs() < 2e-4, "{case}: {found}");
        }
    }

    #[test]
    fn the_bins_of_any_number_of_levels_cover_everything() {
        for levels in [2, 17, 256] {
            let p = Gaussian { mean: 0.3, log_variance: -1.5 };
            let value = |i: usize| 2.0 * i as f64 / (levels as f64 - 1.0) - 1.0;
            let all: f64 = (0..levels).map(|i| p.log_bin_probability(value(i), levels).exp()).sum();
            assert!((all - 1.0).abs() < 1e-9, "{levels}: {all}");
        }
    }

    #[test]
    fn the_prior_of_ddpm_costs_what_is_published() {
        let ddpm = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        let bits = bits_per_dim(prior_kl(1.0, ddpm.level(999)), 1);
        assert!((bits / 2.9113e-5 - 1.0).abs() < 2e-5, "{bits:e}");
        let no_signal = ddpm.with_zero_terminal_snr().level(999);
        assert_eq!(prior_kl(1.0, no_signal), 0.0);
    }

    #[test]
    fn an_even_density_over_all_bins_costs_their_number() {
        // A density of 1 / (bin width x levels) on every one of 17 levels is log2(17) bits.
        let width: f64 = 2.0 / 16.0;
        let log_density = -3.0 * (width * 17.0).ln();
        let bits = dequantised_bits_per_dim(log_density, 3, 17);
        assert!((bits - 17f64.log2()).abs() < 1e-12, "{bits}");
        assert!((dequantised_bits_per_dim(0.0, 1, 256) - 6.994_353_436_858_858).abs() < 1e-12);
    }
}
