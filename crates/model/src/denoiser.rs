//! A network and a process make a denoiser.

use crate::Batch;
use burn::tensor::Tensor;
use sumi_networks::unet::UNet;
use sumi_nn::Pass;
use sumi_process::{Linear, NoiseLevel, Parameterisation};
use sumi_sampler::{Denoised, Denoiser, DifferentiableDenoiser, Grid, Pair, SamplerError, State};

/// A network that is told how noisy its input is, with everything else that it is told.
pub trait Network {
    /// What it puts out about `input`, one time for each sample.
    ///
    /// # Shapes
    /// `input` `[N, I, H, W]`, `times` N, result `[N, O, H, W]`.
    ///
    /// # Errors
    /// What the network reports.
    fn output(&self, input: Tensor<4>, times: &[f32]) -> Result<Tensor<4>, SamplerError>;
}

/// A U-Net over pixels and the class of each sample, where it has classes.
#[derive(Clone)]
pub struct Classed<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// The class of each sample.
    pub classes: Option<Vec<u32>>,
}

impl Network for Classed<'_> {
    fn output(&self, input: Tensor<4>, times: &[f32]) -> Result<Tensor<4>, SamplerError> {
        Ok(self.unet.forward(input, times, self.classes.as_deref(), &mut Pass::Inference))
    }
}

/// A network that was trained on the levels of a process.
#[derive(Clone)]
pub struct NetworkDenoiser<'a, N> {
    /// The network.
    pub network: N,
    /// What it sees and says.
    pub parameterisation: &'a Parameterisation,
    /// Knows better than the process what the network is told at its levels.
    pub grid: Option<&'a Grid>,
}

/// A U-Net over pixels as a denoiser.
pub type UNetDenoiser<'a> = NetworkDenoiser<'a, Classed<'a>>;

impl<'a> UNetDenoiser<'a> {
    /// Of `unet`, which draws `classes` where it has any.
    pub fn new(
        unet: &'a UNet,
        classes: Option<Vec<u32>>,
        parameterisation: &'a Parameterisation,
        grid: Option<&'a Grid>,
    ) -> Self {
        Self { network: Classed { unet, classes }, parameterisation, grid }
    }
}

impl<N: Network> NetworkDenoiser<'_, N> {
    /// What the network puts out about `x_t`, as it is.
    fn output(&self, x_t: &Batch, level: NoiseLevel) -> Result<Tensor<4>, SamplerError> {
        let known = self.grid.and_then(|grid| grid.told(level));
        let time = known.unwrap_or_else(|| self.parameterisation.network_time(level));
        let input = x_t.combine(self.parameterisation.input_scale(level), x_t, 0.0);
        self.network.output(input.0, &vec![time as f32; x_t.0.dims()[0]])
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

impl<N: Network> Denoiser<Batch> for NetworkDenoiser<'_, N> {
    fn denoise(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        Ok(self.denoised(x_t, level, self.output(x_t, level)?))
    }
}

impl<N: Network> DifferentiableDenoiser<Batch> for NetworkDenoiser<'_, N> {
    /// The network stays outside the gradient graph: its weights are constants there.
    fn denoise_vjp(
        &mut self,
        x_t: &Batch,
        level: NoiseLevel,
        of: Linear,
        cotangent: &Batch,
    ) -> Result<(Denoised<Batch>, Batch), SamplerError> {
        let leaf = Batch(x_t.0.clone().autodiff().require_grad());
        let output = self.output(&leaf, level)?;
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

/// One network with a condition and without, asked for both in one pass of twice the batch: what a sample
/// gets does not depend on the samples beside it.
pub struct WithAndWithout<D> {
    /// With the condition of each sample.
    pub with: D,
    /// Without any.
    pub without: D,
    /// Of twice the batch: first with, then without.
    pub both: D,
}

impl<D: Denoiser<Batch>> Pair<Batch> for WithAndWithout<D> {
    fn strong(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        self.with.denoise(x_t, level)
    }

    fn weak(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        self.without.denoise(x_t, level)
    }

    fn both(
        &mut self,
        x_t: &Batch,
        level: NoiseLevel,
    ) -> Result<[Denoised<Batch>; 2], SamplerError> {
        let n = x_t.0.dims()[0];
        let twice = Batch(Tensor::cat(vec![x_t.0.clone(), x_t.0.clone()], 0));
        let said = self.both.denoise(&twice, level)?;
        let part = |batch: &Batch, first| Batch(batch.0.clone().narrow(0, first, n));
        let half = |first| Denoised {
            x0: part(&said.x0, first),
            eps: part(&said.eps, first),
            variance: said.variance.as_ref().map(|variance| part(variance, first)),
        };
        Ok([half(0), half(n)])
    }
}
