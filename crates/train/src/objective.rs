//! What a step minimises.

use crate::batch::Batch;
use crate::bound::{Bound, schedule_of};
use crate::{Loss, RunConfig, Times};
use burn::tensor::{Tensor, TensorData};
use sumi_process::{Parameterisation, Weighting};

/// The loss of a network that predicts pictures.
#[derive(Clone, Debug)]
pub struct Objective {
    loss: Loss,
    weighting: Weighting,
    bound: Bound,
    /// Whether each sample's loss is asked for.
    each: bool,
}

/// Losses of a batch.
pub struct Losses {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// Of each sample, `[N]`, before its importance; `None` where nobody asks.
    pub each: Option<Tensor<1>>,
}

/// The share of the bound in the hybrid loss (Improved DDPM, Eq. 16).
const BOUND_SHARE: f64 = 0.001;

impl Objective {
    /// As a run is configured; `max_value` is the pictures' white.
    pub fn new(config: &RunConfig, parameterisation: &Parameterisation, max_value: u8) -> Self {
        Self {
            loss: config.loss(),
            weighting: config.objective.weighting,
            bound: Bound {
                parameterisation: parameterisation.clone(),
                variance: config.process.variance,
                half_bin: 1.0 / f64::from(max_value.max(1)),
            },
            each: config.times() == Times::LossSecondMoment,
        }
    }

    /// Whether it asks for the pictures themselves.
    pub fn needs_pictures(&self) -> bool {
        self.loss != Loss::Simple
    }

    /// The losses of what the network put out for a batch.
    ///
    /// # Shapes
    /// `output` `[N, C, H, W]`, or `[N, 2 C, H, W]` with a learned variance.
    pub fn losses(&self, output: Tensor<4>, batch: &Batch) -> Losses {
        let plain = self.loss == Loss::Simple && self.weighting == Weighting::Uniform;
        if plain && !self.each {
            let total = (output - batch.target.clone()).square().mean();
            return Losses { total, each: None };
        }
        let each = match (self.loss, schedule_of(&self.bound.parameterisation)) {
            (Loss::Vlb, Some(schedule)) => self.bound.of_each(schedule, output, batch, false),
            (Loss::Hybrid, Some(schedule)) => {
                let simple = self.squared_error(output.clone(), batch);
                simple + self.bound.of_each(schedule, output, batch, true) * BOUND_SHARE
            }
            // Without timesteps there is no bound, and a config that asks for it is refused.
            (Loss::Simple | Loss::Vlb | Loss::Hybrid, _) => self.squared_error(output, batch),
        };
        Losses { total: batch.mean(each.clone()), each: self.each.then(|| each.detach().inner()) }
    }

    /// The weighted mean squared error of each sample, `[N]`.
    fn squared_error(&self, output: Tensor<4>, batch: &Batch) -> Tensor<1> {
        let [n, c, h, w] = batch.target.dims();
        let error = output.narrow(1, 0, c) - batch.target.clone();
        let each = error.square().reshape([n, c * h * w]).mean_dim(1).reshape([n]);
        let Parameterisation { process, .. } = &self.bound.parameterisation;
        let weight =
            |time| self.weighting.weight(&self.bound.parameterisation, process.level(time)) as f32;
        let weights: Vec<f32> = batch.draws.iter().map(|draw| weight(draw.time)).collect();
        each.clone() * Tensor::from_data(TensorData::new(weights, [n]), &each.device())
    }
}
