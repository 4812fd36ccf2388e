//! Starting from a picture: what of the noise it replaces, and what the denoiser sees beside the latents.

use crate::draw::Streams;
use crate::{Init, Pipeline, PipelineError, Result};
use burn::tensor::{Device, Tensor, TensorData};
use sumi_model::Batch;
use sumi_process::NoiseLevel;
use sumi_sampler::{Denoised, Denoiser, Grid, PndmStart, Region, Sampler, SamplerError, State};

/// How a pipeline uses a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// The walk begins with it, noised (Meng et al., SDEdit, Algorithm 1).
    ImageToImage,
    /// What the mask leaves is put back at every step, noised to its level (Lugmayr et al., RePaint, Eq. 8).
    Replace,
    /// The network is shown mask and masked picture beside the latents (Rombach et al., section 4.5).
    Shown,
}

impl Init {
    /// The share of the way that is walked where nothing is said: all of it under a mask.
    pub fn usual_strength(masked: bool) -> f64 {
        if masked { 1.0 } else { 0.8 }
    }

    /// The share of the way that is walked.
    pub(crate) fn share(&self) -> f64 {
        self.strength.unwrap_or(Self::usual_strength(self.mask.is_some()))
    }
}

/// The picture of a run as latents.
pub(crate) struct Prepared {
    /// The standard normals.
    pub noise: Batch,
    /// The state that the walk begins with.
    pub start: Batch,
    /// What is known of it.
    pub region: Option<Region<Batch>>,
    /// Whether the walk begins with noise alone.
    pub alone: bool,
    /// What stands beside the latents.
    pub beside: Option<Tensor<4>>,
}

/// The part of a plan's grid that is walked, and the sampler that walks it.
///
/// PLMS takes its first step twice, and diffusers counts that when it leaves out steps: it starts one
/// step earlier, and after the second attempt at its first step goes on from the step after the next. With one step
/// left out, it starts at the second timestep and looks at that twice.
pub(crate) fn walked(grid: &Grid, sampler: Sampler, share: f64) -> (Grid, Sampler) {
    let steps = grid.len();
    let skipped = steps.saturating_sub((steps as f64 * share) as usize);
    match sampler {
        Sampler::Pndm { start: PndmStart::Twice, sums_v } if (1..steps).contains(&skipped) => {
            let resumed = |start| Sampler::Pndm { start, sums_v };
            if skipped == 1 {
                return (grid.from_step(1), resumed(PndmStart::ResumedHere));
            }
            let mut grid = grid.from_step(skipped - 1);
            grid.intervals.remove(1);
            (grid, resumed(PndmStart::ResumedAhead))
        }
        _ => (grid.from_step(skipped), sampler),
    }
}

impl Pipeline {
    /// What the checkpoint does with a picture.
    pub(crate) fn task(&self, init: &Init) -> Result<Task> {
        let (latent, inputs) = (self.vae_config.latent_channels, self.unet_config.in_channels);
        match (&init.mask, inputs) {
            (None, n) if n == latent => Ok(Task::ImageToImage),
            (Some(_), n) if n == latent => Ok(Task::Replace),
            (Some(_), n) if n == 2 * latent + 1 => Ok(Task::Shown),
            (None, n) if n == 2 * latent + 1 => Err(PipelineError::request(
                "mask",
                "a mask with --init: the checkpoint was trained for inpainting",
                "none",
            )),
            (_, n) => Err(PipelineError::request(
                "init",
                format!("a denoiser of {latent} or {} channels", 2 * latent + 1),
                format!("one of {n}"),
            )),
        }
    }

    /// Draws the noise of one picture, and encodes what it starts from, in the order in which diffusers'
    /// pipelines draw.
    pub(crate) fn prepare(
        &self,
        init: Option<&Init>,
        [h, w]: [usize; 2],
        grid: &Grid,
        streams: &mut Streams,
        tiled: bool,
    ) -> Result<Prepared> {
        let like = [1, self.vae_config.latent_channels, h, w];
        let normals = |streams: &mut Streams| {
            Batch(Tensor::from_data(
                TensorData::new(streams.0.normals(like.iter().product()), like),
                &self.device,
            ))
        };
        let from_noise = |noise: &Batch| noise.combine(grid.start_std, noise, 0.0);
        let Some(init) = init else {
            let noise = normals(streams);
            let start = from_noise(&noise);
            return Ok(Prepared { noise, start, region: None, alone: true, beside: None });
        };
        let task = self.task(init)?;
        let encode = |image: Vec<f32>, streams: &mut Streams| -> Result<Batch> {
            let [height, width] = init.dims;
            let image =
                Tensor::from_data(TensorData::new(image, [1, 3, height, width]), &self.device);
            let posterior = self.encode_picture(image, tiled)?;
            Ok(Batch(self.vae_config.scaled(posterior.sample(normals(streams).0))))
        };
        let whole = init.share() >= 1.0 && task != Task::ImageToImage;
        let known = match task == Task::Shown && whole {
            true => None,
            false => Some(encode(init.image.clone(), streams)?),
        };
        let noise = normals(streams);
        let first = grid.intervals.first().map(|interval| interval.from);
        let start = match (&known, first) {
            (Some(known), Some(first)) if !whole => known.combine(first.alpha, &noise, first.sigma),
            (Some(known), None) if !whole => known.clone(),
            _ => from_noise(&noise),
        };
        let (mut region, mut beside) = (None, None);
        if let Some(mask) = &init.mask {
            let redraw = mask_of_latents(mask, init.dims, [h, w], &self.device);
            // Replacement throws these latents away, but the generator has moved on past them.
            let masked = encode(masked(init, mask), streams)?;
            match task {
                Task::Shown => beside = Some(Tensor::cat(vec![redraw, masked.0], 1)),
                _ => {
                    let redraw = Batch(redraw.repeat_dim(1, like[1]));
                    region = known.map(|known| Region::new(known, redraw));
                }
            }
        }
        Ok(Prepared { noise, start, region, alone: whole, beside })
    }
}

/// The picture with grey where it is redrawn.
fn masked(init: &Init, mask: &[bool]) -> Vec<f32> {
    let kept = mask.iter().map(|&redrawn| if redrawn { 0.0 } else { 1.0 });
    init.image.iter().zip(kept.cycle()).map(|(x, kept)| x * kept).collect()
}

/// One number a latent: the mask at the latent's first pixel, as nearest-neighbour resizing takes it.
fn mask_of_latents(
    mask: &[bool],
    [height, width]: [usize; 2],
    [h, w]: [usize; 2],
    device: &Device,
) -> Tensor<4> {
    let pixel = |y: usize, x: usize| mask[(y * height / h) * width + x * width / w];
    let values: Vec<f32> = (0..h * w).map(|i| f32::from(u8::from(pixel(i / w, i % w)))).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, h, w]), device)
}

/// What is known of a picture put back before every look at it, noised by one noise all the way down, as
/// diffusers does. What the denoiser says about it moves nothing that is seen again.
pub(crate) struct Replaced<'a, D> {
    pub inner: D,
    pub region: &'a Region<Batch>,
    pub noise: Batch,
    /// Where the walk begins with noise alone, and nothing is put back yet.
    pub alone: Option<NoiseLevel>,
}

impl<D: Denoiser<Batch>> Denoiser<Batch> for Replaced<'_, D> {
    fn denoise(
        &mut self,
        x_t: &Batch,
        level: NoiseLevel,
    ) -> std::result::Result<Denoised<Batch>, SamplerError> {
        match self.alone == Some(level) {
            true => self.inner.denoise(x_t, level),
            false => self.inner.denoise(&self.region.begin(x_t, &self.noise, level), level),
        }
    }
}
