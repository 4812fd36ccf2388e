//! A network and a process make a denoiser.

use crate::Batch;
use sumi_networks::unet::UNet;
use sumi_nn::Pass;
use sumi_process::{NoiseLevel, Parameterisation};
use sumi_sampler::{Denoised, Denoiser, Grid, SamplerError, State};

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

impl Denoiser<Batch> for UNetDenoiser<'_> {
    fn denoise(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        let known = self.grid.and_then(|grid| grid.told(level));
        let time = known.unwrap_or_else(|| self.parameterisation.network_time(level));
        let [samples, channels, _, _] = x_t.0.dims();
        let input = x_t.combine(self.parameterisation.input_scale(level), x_t, 0.0);
        let times = vec![time as f32; samples];
        let output = self.unet.forward(input.0, &times, self.classes, &mut Pass::Inference);
        // Twice the channels: the second half says where between its bounds the variance lies.
        let variance = (output.dims()[1] == 2 * channels)
            .then(|| Batch((output.clone().narrow(1, channels, channels) + 1.0) * 0.5));
        let output = Batch(output.narrow(1, 0, channels));
        let said = Denoised::from_output(x_t, level, &output, self.parameterisation);
        Ok(Denoised { variance, ..said })
    }
}
