//! A data distribution whose every noised density is known exactly.

use std::f64::consts::TAU;

/// A mixture of isotropic Gaussians, x0 ~ sum_k w_k N(mu_k, v_k I): the oracle for samplers and likelihoods.
///
/// With x_t = alpha x0 + sigma eps, component k becomes N(alpha mu_k, s_k I) where s_k = alpha^2 v_k + sigma^2, so the density of
/// x_t, its score and E\[x0 | x_t\] have closed forms. A variance of 0 is a point mass.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture {
    /// Positive component weights w_k, which need not sum to 1.
    pub weights: Vec<f64>,
    /// Component means mu_k, all of one dimension D.
    pub means: Vec<Vec<f64>>,
    /// Component variances v_k >= 0.
    pub variances: Vec<f64>,
}

impl GaussianMixture {
    /// One Gaussian, N(mean, variance I).
    pub fn single(mean: Vec<f64>, variance: f64) -> Self {
        Self { weights: vec![1.0], means: vec![mean], variances: vec![variance] }
    }

    /// The mixture at a noise level, for whoever asks about many points there.
    pub fn at(&self, alpha: f64, sigma: f64) -> NoisedMixture<'_> {
        let total: f64 = self.weights.iter().sum();
        let s = self.variances.iter().map(|v| alpha * alpha * v + sigma * sigma);
        let variances: Vec<f64> = s.collect();
        let dimensions = self.means.first().map_or(0, Vec::len) as f64;
        let of = |(w, s): (&f64, &f64)| (w / total).ln() - 0.5 * dimensions * (TAU * s).ln();
        let log_peaks = self.weights.iter().zip(&variances).map(of).collect();
        NoisedMixture { data: self, alpha, variances, log_peaks }
    }

    /// Log density of x_t in nats, see [`NoisedMixture::log_density`].
    pub fn log_density(&self, x_t: &[f64], alpha: f64, sigma: f64) -> f64 {
        self.at(alpha, sigma).log_density(x_t)
    }

    /// E\[x0 | x_t\], see [`NoisedMixture::posterior_mean`].
    pub fn posterior_mean(&self, x_t: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        self.at(alpha, sigma).posterior_mean(x_t)
    }

    /// The score of x_t, see [`NoisedMixture::score`].
    pub fn score(&self, x_t: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        self.at(alpha, sigma).score(x_t)
    }

    /// A draw of x0 from one uniform in [0, 1), which picks the component, and D standard normals.
    pub fn sample(&self, uniform: f64, normals: &[f64]) -> Vec<f64> {
        let mut rest = uniform * self.weights.iter().sum::<f64>();
        let mut k = 0;
        while k + 1 < self.weights.len() && rest >= self.weights[k] {
            rest -= self.weights[k];
            k += 1;
        }
        let deviation = self.variances[k].sqrt();
        let pairs = self.means[k].iter().zip(normals);
        pairs.map(|(mu, z)| mu + deviation * z).collect()
    }
}

/// A mixture at one noise level.
#[derive(Clone, Debug)]
pub struct NoisedMixture<'a> {
    data: &'a GaussianMixture,
    alpha: f64,
    /// s_k = alpha^2 v_k + sigma^2.
    variances: Vec<f64>,
    /// log of w_k (2 pi s_k)^(-D/2), with weights that sum to 1.
    log_peaks: Vec<f64>,
}

impl NoisedMixture<'_> {
    /// Log density of x_t in nats: log p_t(x) = log sum_k w_k N(x; alpha mu_k, s_k I).
    pub fn log_density(&self, x_t: &[f64]) -> f64 {
        log_sum_exp(&self.log_joints(x_t))
    }

    /// Posterior mean: E\[x0 | x_t\] = sum_k r_k (mu_k + alpha v_k / s_k (x_t - alpha mu_k)), with responsibilities r_k.
    ///
    /// This is the denoiser that minimises the mean squared error.
    pub fn posterior_mean(&self, x_t: &[f64]) -> Vec<f64> {
        let alpha = self.alpha;
        self.average(x_t, |k, x, mu| {
            let gain = alpha * self.data.variances[k] / self.variances[k];
            mu + gain * (x - alpha * mu)
        })
    }

    /// Score of x_t: grad log p_t(x) = - sum_k r_k (x - alpha mu_k) / s_k.
    pub fn score(&self, x_t: &[f64]) -> Vec<f64> {
        self.average(x_t, |k, x, mu| (self.alpha * mu - x) / self.variances[k])
    }

    /// log w_k N(x_t; alpha mu_k, s_k I) for each k.
    fn log_joints(&self, x_t: &[f64]) -> Vec<f64> {
        let joint = |k: usize| {
            let pairs = x_t.iter().zip(&self.data.means[k]);
            let square: f64 = pairs.map(|(x, mu)| (x - self.alpha * mu).powi(2)).sum();
            self.log_peaks[k] - 0.5 * square / self.variances[k]
        };
        (0..self.variances.len()).map(joint).collect()
    }

    /// sum_k r_k f(k, x_d, mu_kd) for each coordinate d, where r_k = P(k | x_t).
    fn average(&self, x_t: &[f64], f: impl Fn(usize, f64, f64) -> f64) -> Vec<f64> {
        let joints = self.log_joints(x_t);
        let evidence = log_sum_exp(&joints);
        let mut out = vec![0.0; x_t.len()];
        for (k, joint) in joints.iter().enumerate() {
            let responsibility = (joint - evidence).exp();
            for ((o, &x), &mu) in out.iter_mut().zip(x_t).zip(&self.data.means[k]) {
                *o += responsibility * f(k, x, mu);
            }
        }
        out
    }
}

/// log sum_k e^(x_k), without overflow.
fn log_sum_exp(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_close, relative_error};

    fn one_dimensional() -> GaussianMixture {
        GaussianMixture {
            weights: vec![1.0, 3.0, 0.5],
            means: vec![vec![-2.0], vec![0.5], vec![3.0]],
            variances: vec![0.3, 0.05, 1.2],
        }
    }

    fn three_dimensional() -> GaussianMixture {
        GaussianMixture {
            weights: vec![0.2, 0.5, 0.3],
            means: vec![vec![1.0, -1.0, 0.5], vec![0.0, 2.0, -0.3], vec![-1.5, 0.1, 0.8]],
            variances: vec![0.4, 0.1, 0.0],
        }
    }

    const LEVELS: [(f64, f64); 5] = [(1.0, 0.1), (0.9, 0.4), (0.5, 0.8), (0.1, 0.99), (1.0, 20.0)];

    /// (p_t(x), E[x0 | x]) by the trapezium rule over x0, which converges geometrically here.
    fn integrate(mixture: &GaussianMixture, x: f64, alpha: f64, sigma: f64) -> (f64, f64) {
        let (steps, low, high) = (40_000, -12.0, 14.0);
        let h = (high - low) / steps as f64;
        let (mut density, mut first_moment) = (0.0, 0.0);
        for i in 0..=steps {
            let x0 = low + h * i as f64;
            let prior = mixture.log_density(&[x0], 1.0, 0.0).exp();
            let z = (x - alpha * x0) / sigma;
            let joint = prior * (-0.5 * z * z).exp() / (TAU.sqrt() * sigma) * h;
            density += joint;
            first_moment += joint * x0;
        }
        (density, first_moment / density)
    }

    #[test]
    fn posterior_mean_and_density_agree_with_numeric_integration() {
        let mixture = one_dimensional();
        for (alpha, sigma) in LEVELS {
            for x in [-3.0, -1.0, 0.0, 0.7, 2.5] {
                let (density, mean) = integrate(&mixture, x, alpha, sigma);
                assert_close(&mixture.posterior_mean(&[x], alpha, sigma), &[mean], 1e-9);
                assert_close(&[mixture.log_density(&[x], alpha, sigma).exp()], &[density], 1e-9);
            }
        }
    }

    /// Tweedie: alpha E[x0 | x] = x + sigma^2 score(x).
    #[test]
    fn tweedie_holds() {
        let mixture = three_dimensional();
        let x = [0.3, -0.8, 1.1];
        for (alpha, sigma) in LEVELS {
            let score = mixture.score(&x, alpha, sigma);
            let tweedie: Vec<f64> =
                x.iter().zip(&score).map(|(x, s)| (x + sigma * sigma * s) / alpha).collect();
            let mean = mixture.posterior_mean(&x, alpha, sigma);
            assert!(relative_error(&mean, &tweedie) < 1e-11);
        }
    }

    #[test]
    fn score_is_the_gradient_of_the_log_density() {
        let mixture = three_dimensional();
        let x = [0.3, -0.8, 1.1];
        let h = 1e-5;
        for (alpha, sigma) in LEVELS {
            let shifted = |d: usize, by: f64| {
                let mut y = x;
                y[d] += by;
                mixture.log_density(&y, alpha, sigma)
            };
            let numeric = [0, 1, 2].map(|d| (shifted(d, h) - shifted(d, -h)) / (2.0 * h));
            assert!(relative_error(&mixture.score(&x, alpha, sigma), &numeric) < 1e-6);
        }
    }

    #[test]
    fn far_points_do_not_underflow() {
        let mixture = three_dimensional();
        let x = [1e4, 0.0, 0.0];
        assert!(mixture.log_density(&x, 1.0, 0.1).is_finite());
        assert!(mixture.score(&x, 1.0, 0.1).iter().all(|s| s.is_finite()));
    }

    #[test]
    fn samples_have_the_weights_means_and_variances() {
        let mixture = one_dimensional();
        // The uniforms pick 2/9, 6/9 and 1/9 of the draws; z = +-1 has unit variance.
        let n = 900;
        let draw = |i: i32| mixture.sample((f64::from(i) + 0.5) / f64::from(n), &[1.0]);
        let expected = [-2.0 + 0.3_f64.sqrt(), 0.5 + 0.05_f64.sqrt(), 3.0 + 1.2_f64.sqrt()];
        for (range, value) in
            [(0..200, expected[0]), (200..800, expected[1]), (800..900, expected[2])]
        {
            assert!(range.clone().all(|i| draw(i) == [value]), "{range:?}");
        }
        assert_eq!(
            GaussianMixture::single(vec![1.0, 2.0], 4.0).sample(0.9, &[0.5, -1.0]),
            [2.0, 0.0]
        );
    }
}
