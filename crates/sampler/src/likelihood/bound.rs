//! The variational bound.

use super::Progress;
use crate::{Denoised, Denoiser, Noise, SamplerError, State};
use sumi_process::{Gaussian, Posterior, ReverseVariance, Schedule, bits_per_dim, prior_kl};

/// The variational bound on the negative log likelihood (DDPM, Eq. 5), every term of it:
/// `L_T + sum_{t >= 1} L_t + L_0`.
///
/// The paper counts timesteps from 1 and calls `L_{t-1}` what belongs to its timestep `t`; here they
/// count from 0, and `L_t` belongs to timestep `t`.
pub struct VariationalBound<'a> {
    /// The process.
    pub schedule: &'a Schedule,
    /// Which variance a reverse step has.
    pub variance: ReverseVariance,
    /// How many values the data has, evenly from -1 to 1: 256 for bytes.
    pub levels: usize,
}

/// The terms of a batch, in bits/dim, and the errors behind them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    /// `L_T` of each sample.
    pub prior: Vec<f64>,
    /// `L_t` of each sample by timestep: the first is `L_0`, of the discretised Gaussian.
    pub terms: Vec<Vec<f64>>,
    /// The mean squared error of `eps` of each sample by timestep.
    pub eps_error: Vec<Vec<f64>>,
    /// The mean squared error of the estimate of `x_0` of each sample by timestep.
    pub x0_error: Vec<Vec<f64>>,
}

impl Bound {
    /// The bound of each sample, in bits/dim.
    pub fn totals(&self) -> Vec<f64> {
        let of = |i: usize| self.prior[i] + self.terms.iter().map(|term| term[i]).sum::<f64>();
        (0..self.prior.len()).map(of).collect()
    }
}

/// One timestep's terms, a sample each.
struct Terms {
    bits: Vec<f64>,
    eps_error: Vec<f64>,
    x0_error: Vec<f64>,
}

impl VariationalBound<'_> {
    /// The terms of `x0`, each timestep by one draw of its noise, from the last timestep to the first.
    /// Clipping is the denoiser's affair.
    ///
    /// # Errors
    /// The denoiser's, a learned variance that it does not put out, or the wish to stop.
    pub fn measure<S: State>(
        &self,
        x0: &S,
        denoiser: &mut dyn Denoiser<S>,
        noise: &mut dyn Noise<S>,
        progress: Progress<'_>,
    ) -> Result<Bound, SamplerError> {
        let data = x0.samples();
        let timesteps = self.schedule.timesteps();
        let noisiest = self.schedule.level(timesteps - 1);
        let prior = data
            .iter()
            .map(|x0| bits_per_dim(x0.iter().map(|&x0| prior_kl(x0, noisiest)).sum(), x0.len()));
        let mut bound = Bound { prior: prior.collect(), ..Bound::default() };
        for timestep in (0..timesteps).rev() {
            let level = self.schedule.level(timestep);
            let eps = noise.standard_normal(x0);
            let x_t = x0.combine(level.alpha, &eps, level.sigma);
            let denoised = denoiser.denoise(&x_t, level)?;
            let terms = self.terms(timestep, &data, &eps, &denoised)?;
            bound.terms.push(terms.bits);
            bound.eps_error.push(terms.eps_error);
            bound.x0_error.push(terms.x0_error);
            if progress((timesteps - timestep) as f64 / timesteps as f64).is_break() {
                return Err(SamplerError::Cancelled);
            }
        }
        bound.terms.reverse();
        bound.eps_error.reverse();
        bound.x0_error.reverse();
        Ok(bound)
    }

    fn terms<S: State>(
        &self,
        timestep: usize,
        data: &[Vec<f64>],
        eps: &S,
        denoised: &Denoised<S>,
    ) -> Result<Terms, SamplerError> {
        let q = self.schedule.posterior(timestep);
        let (least, most) = self.log_variances(timestep, &q);
        let fractions = match (self.variance, &denoised.variance) {
            (ReverseVariance::LearnedRange, Some(fraction)) => Some(fraction.samples()),
            (ReverseVariance::LearnedRange, None) => {
                return Err(SamplerError::Unsuitable(
                    "the bound with a learned variance: expected a network that puts one out, \
                     found none"
                        .into(),
                ));
            }
            _ => None,
        };
        let estimates = denoised.x0.samples();
        let bits = data.iter().zip(&estimates).enumerate().map(|(i, (data, estimates))| {
            let nats = data.iter().zip(estimates).enumerate().map(|(d, (&x0, &estimate))| {
                let fraction = fractions.as_ref().map_or(0.0, |f| f[i][d]);
                let log_variance = fraction * most + (1.0 - fraction) * least;
                self.nats(timestep, &q, x0, Gaussian { mean: estimate, log_variance })
            });
            bits_per_dim(nats.sum(), data.len())
        });
        Ok(Terms {
            bits: bits.collect(),
            eps_error: mean_squares(&eps.samples(), &denoised.eps.samples()),
            x0_error: mean_squares(data, &estimates),
        })
    }

    /// One element's term, in nats; `p.mean` is the estimate of `x_0`.
    fn nats(&self, timestep: usize, q: &Posterior, x0: f64, p: Gaussian) -> f64 {
        if timestep == 0 {
            return -p.log_bin_probability(x0, self.levels);
        }
        // Both means have the same share of x_t.
        let q_of_x0 = Gaussian { mean: q.coef_x0 * x0, log_variance: q.variance.ln() };
        q_of_x0.kl(Gaussian { mean: q.coef_x0 * p.mean, ..p })
    }

    /// The logarithms of the variance of a reverse step where the network puts out 0 and 1; a fixed
    /// variance has one.
    ///
    /// At timestep 0, where `beta_tilde` is 0, the fixed ones have that of timestep 1, for the better
    /// bound (Improved DDPM's code).
    fn log_variances(&self, timestep: usize, q: &Posterior) -> (f64, f64) {
        let first = match self.schedule.timesteps() {
            1 => q.forward_variance,
            _ => self.schedule.posterior(1).variance,
        };
        let (least, most) = q.log_variance_range(first);
        match self.variance {
            ReverseVariance::FixedLarge if timestep > 0 => (most, most),
            ReverseVariance::FixedSmall | ReverseVariance::FixedLarge => (least, least),
            ReverseVariance::LearnedRange => (least, most),
        }
    }
}

fn mean_squares(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<f64> {
    let of = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>() / a.len().max(1) as f64
    };
    a.iter().zip(b).map(of).collect()
}
