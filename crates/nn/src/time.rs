//! Telling a network how noisy its input is.

use crate::{Init, Linear};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// Which of the two common conventions a sinusoidal embedding follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinusoidConfig {
    /// How many numbers, half of them sines.
    pub dim: usize,
    /// Whether the cosines come first.
    pub flip_sin_to_cos: bool,
    /// What is taken off `dim / 2` in the exponent's denominator: 1 in DDPM, 0 in most others.
    pub freq_shift: f64,
}

/// The sinusoidal embedding `sin(t f_i), cos(t f_i)` with
/// `f_i = 10000^(-i / (dim/2 - freq_shift))` (Vaswani et al., Attention Is All You Need,
/// section 3.5).
///
/// In `f32` throughout, in the order in which the published checkpoints were trained.
///
/// # Shapes
/// N timesteps to `[N, dim]`.
pub fn sinusoid(timesteps: &[f32], config: SinusoidConfig, device: &Device) -> Tensor<2> {
    let half = config.dim / 2;
    let denominator = (half as f64 - config.freq_shift) as f32;
    let frequencies: Vec<f32> =
        (0..half).map(|i| (-(10000f64.ln() as f32) * i as f32 / denominator).exp()).collect();
    let mut values = Vec::with_capacity(timesteps.len() * config.dim);
    for &t in timesteps {
        let sines = frequencies.iter().map(|f| (t * f).sin());
        let cosines = frequencies.iter().map(|f| (t * f).cos());
        match config.flip_sin_to_cos {
            true => values.extend(cosines.chain(sines)),
            false => values.extend(sines.chain(cosines)),
        }
        values.extend(std::iter::repeat_n(0.0, config.dim % 2));
    }
    Tensor::from_data(TensorData::new(values, [timesteps.len(), config.dim]), device)
}

/// Two linear layers with a SiLU between them.
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    /// `[embedding, sinusoid]`.
    pub linear_1: Linear,
    /// `[embedding, embedding]`.
    pub linear_2: Linear,
    /// From a condition to something that is added to the sinusoid, in networks that take one.
    pub cond_proj: Option<Linear>,
}

crate::layers!(TimestepEmbedding { linear_1, linear_2 });

impl TimestepEmbedding {
    /// From a sinusoid of `inputs` numbers to an embedding of `outputs`.
    pub fn new(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        Self {
            linear_1: Linear::new(init, inputs, outputs),
            linear_2: Linear::new(init, outputs, outputs),
            cond_proj: None,
        }
    }

    /// [`TimestepEmbedding::new`] for a network that takes a condition of `width` numbers, such as the
    /// embedded guidance of a latent consistency model (Luo et al., Latent Consistency Models, section 4.2).
    pub fn conditional(init: &mut Init, inputs: usize, outputs: usize, width: usize) -> Self {
        let embedding = Self::new(init, inputs, outputs);
        Self { cond_proj: Some(Linear::without_bias(init, width, inputs)), ..embedding }
    }

    /// [`Self::forward`] of the sum of `x` and the projected condition, where there is one.
    ///
    /// # Shapes
    /// `x` `[N, inputs]`, `condition` `[N, width]`, result `[N, outputs]`.
    pub fn forward_given(&self, x: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
        match (&self.cond_proj, condition) {
            (Some(projection), Some(condition)) => {
                self.forward(projection.forward_onto(condition, Some(x)))
            }
            _ => self.forward(x),
        }
    }

    /// # Shapes
    /// `[N, inputs]` to `[N, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(sumi_kernels::silu(self.linear_1.forward(x)))
    }
}
