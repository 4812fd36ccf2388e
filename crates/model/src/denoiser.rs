//! A network and a process make a denoiser.

use crate::Batch;
use burn::tensor::Tensor;
use sumi_networks::unet::UNet;
use sumi_nn::Pass;
use sumi_process::{Linear, NoiseLevel, Parameterisation};
use sumi_sampler::{Denoised, Denoiser, DifferentiableDenoiser, Grid, SamplerError, State};

/// A U-Net that was trained on the levels of a process.
pub struct UNetDenoiser<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// What it sees and says.
    pub parameterisation: &'a Parameterisation,
    /// Knows better than the process what the network is told at its levels.
    pub grid: Option<&'a Grid>,
    /// The class of each sample, where the network has classes.
    pub classes: Option<&'a [u32]>,
}

impl UNetDenoiser<'_> {
    /// What the network puts out about `x_t`, as it is.
    fn output(&self, x_t: &Batch, level: NoiseLevel) -> Tensor<4> {
        let known = self.grid.and_then(|grid| grid.told(level));
        let time = known.unwrap_or_else(|| self.parameterisation.network_time(level));
        let input = x_t.combine(self.parameterisation.input_scale(level), x_t, 0.0);
        let times = vec![time as f32; x_t.0.dims()[0]];
        self.unet.forward(input.0, &times, self.classes, &mut Pass::Inference)
    }

    /// What the network's output says about `x_t`.
    fn denoised(&self, x_t: &Batch, level: NoiseLevel, output: Tensor<4>) -> Denoised<Batch> {
        let channels = x_t.0.dims()[1];
        // Twice the channels: the second half says where between its bounds the variance lies.
        let variance = (output.dims()[1] == 2 * channels)
            .then(|| Batch((output.clone().narrow(1, channels, channels) + 1.0) * 0.5));
        let output = Batch(output.narrow(1, 0, channels));
        let said = Denoised::from_output(x_t, level, &output, self.parameterisation);
        Denoised { variance, ..said }
    }
}

impl Denoiser<Batch> for UNetDenoiser<'_> {
    fn denoise(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        Ok(self.denoised(x_t, level, self.output(x_t, level)))
    }
}

impl DifferentiableDenoiser<Batch> for UNetDenoiser<'_> {
    /// The network stays outside the gradient graph: its weights are constants there.
    fn denoise_vjp(
        &mut self,
        x_t: &Batch,
        level: NoiseLevel,
        of: Linear,
        cotangent: &Batch,
    ) -> Result<(Denoised<Batch>, Batch), SamplerError> {
        let leaf = Batch(x_t.0.clone().autodiff().require_grad());
        let output = self.output(&leaf, level);
        let denoised = self.denoised(x_t, level, output.clone().inner());
        // first x_0 + second eps is one combination of x_t and the output.
        let (x0, eps) = (self.parameterisation.x0(level), self.parameterisation.eps(level));
        let of_x_t = of.first * x0.first + of.second * eps.first;
        let of_output = of.first * x0.second + of.second * eps.second;
        let predicted = output.narrow(1, 0, x_t.0.dims()[1]);
        let mut gradients = (predicted * cotangent.0.clone().autodiff()).sum().backward();
        let product = leaf.0.grad_remove(&mut gradients);
        let product = product.unwrap_or_else(|| x_t.0.zeros_like());
        Ok((denoised, cotangent.combine(of_x_t, &Batch(product), of_output)))
    }
}
