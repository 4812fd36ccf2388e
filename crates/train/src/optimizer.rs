//! AdamW, and the average of the weights that it leaves behind.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use sumi_kernels::AdamWStep;

/// The constants of AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization,
/// Algorithm 2); without weight decay it is Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the division from zero.
    pub eps: f64,
    /// How much of a weight is taken away a step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The two moments of one parameter, flat.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The decayed mean of the gradients.
    pub exp_avg: Tensor<1>,
    /// The decayed mean of their squares.
    pub exp_avg_sq: Tensor<1>,
}

/// AdamW over all parameters of a network, in the order of its fields.
pub struct AdamW {
    config: AdamWConfig,
    moments: Vec<Moments>,
}

impl AdamW {
    /// Moments at zero for parameters of these values.
    pub fn new(config: AdamWConfig, values: &[Tensor<1>]) -> Self {
        let zeros = |value: &Tensor<1>| Moments {
            exp_avg: value.zeros_like(),
            exp_avg_sq: value.zeros_like(),
        };
        Self { config, moments: values.iter().map(zeros).collect() }
    }

    /// Moments as they were saved.
    pub fn from_moments(config: AdamWConfig, moments: Vec<Moments>) -> Self {
        Self { config, moments }
    }

    /// All moments, in the order of the parameters.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Takes step number `step`, counted from 1, along gradients that are first scaled by
    /// `grad_scale`. A parameter without a gradient stays as it is.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: Vec<Option<Tensor<1>>>,
        (step, learning_rate, grad_scale): (u64, f64, f64),
    ) -> M {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        let step = AdamWStep { learning_rate, beta1, beta2, eps, weight_decay, step, grad_scale };
        let moments = std::mem::take(&mut self.moments);
        let mut update = Update {
            step,
            gradients: gradients.into_iter(),
            old: moments.into_iter(),
            new: &mut self.moments,
        };
        module.map(&mut update)
    }
}

struct Update<'a> {
    step: AdamWStep,
    gradients: std::vec::IntoIter<Option<Tensor<1>>>,
    old: std::vec::IntoIter<Moments>,
    new: &'a mut Vec<Moments>,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (Some(gradient), Some(moments)) = (self.gradients.next(), self.old.next()) else {
            return param;
        };
        let Some(gradient) = gradient else {
            self.new.push(moments);
            return param;
        };
        param.map(|value| {
            let (dims, elements) = (value.dims(), value.shape().num_elements());
            let flat = value.inner().reshape([elements]);
            let Moments { exp_avg, exp_avg_sq } = moments;
            let (flat, exp_avg, exp_avg_sq) =
                sumi_kernels::adamw(flat, gradient, exp_avg, exp_avg_sq, self.step);
            self.new.push(Moments { exp_avg, exp_avg_sq });
            Tensor::from_inner(flat.reshape(dims)).require_grad()
        })
    }
}

/// An exponential moving average of the weights, `average += (1 - decay) (weight - average)`.
///
/// With warm-up, the decay rises as `(1 + n) / (10 + n)` with the number of updates `n` until it
/// reaches its set value, so that a short run is not an average of its own beginning.
pub struct Ema {
    decay: f64,
    warmup: bool,
    averages: Vec<Tensor<1>>,
}

impl Ema {
    /// Starts at these weights.
    pub fn new(decay: f64, warmup: bool, values: Vec<Tensor<1>>) -> Self {
        Self { decay, warmup, averages: values }
    }

    /// The averages, in the order of the parameters.
    pub fn averages(&self) -> &[Tensor<1>] {
        &self.averages
    }

    /// Update number `n`, counted from 1.
    pub fn update(&mut self, n: u64, values: Vec<Tensor<1>>) {
        let n = n as f64;
        let most = if self.warmup { (1.0 + n) / (10.0 + n) } else { 1.0 };
        let decay = self.decay.min(most);
        let averages = std::mem::take(&mut self.averages);
        self.averages = averages
            .into_iter()
            .zip(values)
            .map(|(average, value)| sumi_kernels::lerp(average, value, 1.0 - decay))
            .collect();
    }
}
