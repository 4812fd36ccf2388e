//! A network and a process make a denoiser.

use crate::Batch;
use sumi_networks::unet::UNet;
use sumi_nn::Pass;
use sumi_process::{Linear, NoiseLevel, Prediction, Schedule};
use sumi_sampler::{Denoised, Denoiser, SamplerError, State};

/// A U-Net that was trained on the timesteps of a schedule.
pub struct UNetDenoiser<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// What its timesteps mean.
    pub schedule: &'a Schedule,
    /// What it predicts.
    pub prediction: Prediction,
    /// The class of each sample, where the network has classes.
    pub classes: Option<&'a [u32]>,
}

impl Denoiser<Batch> for UNetDenoiser<'_> {
    fn denoise(&mut self, x_t: &Batch, level: NoiseLevel) -> Result<Denoised<Batch>, SamplerError> {
        let samples = x_t.0.dims()[0];
        let timesteps = vec![self.schedule.timestep_of(level) as f32; samples];
        let output =
            self.unet.forward(x_t.0.clone(), &timesteps, self.classes, &mut Pass::Inference);
        let output = Batch(output);
        let of = |Linear { first, second }| x_t.combine(first, &output, second);
        Ok(Denoised { x0: of(self.prediction.x0(level)), eps: of(self.prediction.eps(level)) })
    }
}
