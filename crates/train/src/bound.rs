//! The terms of the variational bound, on tensors.

use crate::batch::Batch;
use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::LN_2;
use sumi_process::{NORMAL_CDF, Parameterisation, Process, ReverseVariance, Schedule};

/// Estimates the variational bound from one timestep of each sample.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What the network sees and says.
    pub parameterisation: Parameterisation,
    /// Its reverse variance.
    pub variance: ReverseVariance,
    /// Half the distance between two grey levels of pictures in [-1, 1].
    pub half_bin: f64,
}

/// What of the bound depends on the timestep alone.
struct Term {
    /// From an error of the output to one of the posterior's mean.
    mean_of_output: f64,
    /// The logarithm of the posterior's variance, and of the least and the most that the reverse
    /// step's may be.
    log_true: f64,
    log_range: (f64, f64),
    is_first: bool,
}

/// Those of a batch.
struct Terms {
    terms: Vec<Term>,
    device: Device,
}

impl Terms {
    /// A number for each sample, `[N, 1, 1, 1]`.
    fn each(&self, of: impl Fn(&Term) -> f64) -> Tensor<4> {
        let values: Vec<f32> = self.terms.iter().map(|term| of(term) as f32).collect();
        let shape = [values.len(), 1, 1, 1];
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

impl Bound {
    /// `T L_t` of each sample, in bits a dimension: `L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} |
    /// x_t))`, and the discretised Gaussian's `L_0 = -log p(x_0 | x_1)` at the first timestep (DDPM, Eq.
    /// 5 and 13). The mean over evenly drawn timesteps is the bound less its constant `L_T`.
    ///
    /// With `detach_mean` only the variance has a gradient.
    ///
    /// # Shapes
    /// `output` `[N, C, H, W]`, or `[N, 2 C, H, W]` with a learned variance; result `[N]`.
    pub fn of_each(
        &self,
        schedule: &Schedule,
        output: Tensor<4>,
        batch: &Batch,
        detach_mean: bool,
    ) -> Tensor<1> {
        let [n, c, h, w] = batch.target.dims();
        let times = batch.draws.iter().map(|draw| draw.time as usize);
        let terms = Terms {
            terms: times.map(|t| self.term(schedule, t)).collect(),
            device: output.device(),
        };
        let log_variance = self.log_variance(&output, c, &terms);
        let predicted = output.clone().narrow(1, 0, c);
        let predicted = if detach_mean { predicted.detach() } else { predicted };
        // The posterior's mean less the predicted one; at the first timestep, x_0 less it.
        let error = (batch.target.clone() - predicted) * terms.each(|term| term.mean_of_output);

        let log_true = terms.each(|term| term.log_true);
        let kl = (log_variance.clone() - log_true.clone() - 1.0
            + (log_true - log_variance.clone()).exp()
            + error.clone().square() * (-log_variance.clone()).exp())
            * 0.5;
        let nats = match &batch.x0 {
            Some(x0) if terms.terms.iter().any(|term| term.is_first) => {
                let first = terms.each(|term| f64::from(u8::from(term.is_first)));
                let nll = self.discretised_nll(x0.clone(), error, log_variance);
                kl * (-first.clone() + 1.0) + nll * first
            }
            _ => kl,
        };
        let dimensions = c * h * w;
        let scale = schedule.timesteps() as f64 / LN_2;
        nats.reshape([n, dimensions]).mean_dim(1).reshape([n]) * scale
    }

    fn term(&self, schedule: &Schedule, t: usize) -> Term {
        let posterior = schedule.posterior(t);
        let log_range = posterior.log_variance_range(schedule.posterior(1).variance);
        let level = schedule.level(t);
        Term {
            mean_of_output: posterior.coef_x0 * self.parameterisation.x0(level).second,
            log_true: log_range.0,
            log_range,
            is_first: t == 0,
        }
    }

    /// The logarithm of the reverse variance: a number a sample, or one for every element.
    fn log_variance(&self, output: &Tensor<4>, c: usize, terms: &Terms) -> Tensor<4> {
        match self.variance {
            ReverseVariance::FixedSmall => terms.each(|term| term.log_range.0),
            // The decoder is that of the small one (DDPM's code).
            ReverseVariance::FixedLarge => terms.each(|term| match term.is_first {
                true => term.log_range.0,
                false => term.log_range.1,
            }),
            ReverseVariance::LearnedRange => {
                // Improved DDPM, Eq. 15, with f = (v + 1) / 2.
                let fraction = (output.clone().narrow(1, c, c) + 1.0) * 0.5;
                let span = terms.each(|term| term.log_range.1 - term.log_range.0);
                fraction * span + terms.each(|term| term.log_range.0)
            }
        }
    }

    /// `-log` of the Gaussian's mass within half a grey level of `x_0`, from where `error` is `x_0` less
    /// its mean; black and white take all that lies beyond them (DDPM, Eq. 13).
    fn discretised_nll(
        &self,
        x0: Tensor<4>,
        error: Tensor<4>,
        log_variance: Tensor<4>,
    ) -> Tensor<4> {
        let inverse_std = (log_variance * -0.5).exp();
        let (a, b) = NORMAL_CDF;
        let phi = |z: Tensor<4>| ((z.clone() * a + z.clone().square() * z * b).tanh() + 1.0) * 0.5;
        let above = phi((error.clone() + self.half_bin) * inverse_std.clone());
        let below = phi((error - self.half_bin) * inverse_std);
        let white = x0.clone().greater_elem(0.999).float();
        let not_black = x0.greater_elem(-0.999).float();
        let above = above * (-white.clone() + 1.0) + white;
        // What f32 rounds to nothing is held above it.
        -(above - below * not_black).clamp_min(1e-12).log()
    }
}

/// The table of a process that has one.
pub fn schedule_of(parameterisation: &Parameterisation) -> Option<&Schedule> {
    match &parameterisation.process {
        Process::Discrete(schedule) => Some(schedule),
        _ => None,
    }
}
