//! Drawing, one picture after the other.

use crate::condition::{Both, Told};
use crate::edit::{Prepared, Replaced, walked};
use crate::{Conditioning, Cut, Generator, Pipeline, PipelineError, Request, Result};
use burn::tensor::Tensor;
use sumi_model::{Batch, ModelError, NetworkDenoiser, Plan, TorchNoise, WithAndWithout};
use sumi_networks::unet_condition::{Added, Extra};
use sumi_sampler::{Clip, Denoiser, Grid, Guided, Observer, Run, Sampler};

/// The random numbers of one picture.
pub(crate) struct Streams(pub TorchNoise);

/// A request that fits its pipeline, with the prompts encoded.
pub struct Drawing<'a> {
    pipeline: &'a Pipeline,
    request: &'a Request,
    plan: Plan,
    grid: Grid,
    /// Height and width of the picture, in pixels.
    dims: [usize; 2],
    prompts: Both,
}

/// One picture before it is decoded.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The seed of its generator.
    pub seed: u64,
    /// The standard normals that it began with, `[1, C, h, w]`.
    pub noise: Tensor<4>,
    /// Where the walk ended, `[1, C, h, w]`, in the denoiser's scale.
    pub latents: Tensor<4>,
}

/// Above this, classifier-free guidance has an effect.
const NO_GUIDANCE: f64 = 1.0;

impl<'a> Drawing<'a> {
    /// Holds the request against the pipeline and encodes the prompts.
    ///
    /// # Errors
    /// A size that the networks cannot take, a sampler that cannot serve the checkpoint, a mask or a picture
    /// of another size, a number out of range.
    pub fn new(pipeline: &'a Pipeline, request: &'a Request) -> Result<Self> {
        if !request.guidance.is_finite() {
            return Err(PipelineError::request("guidance", "a number", request.guidance));
        }
        let dims = pipeline.picture_dims(request)?;
        let mut plan = Plan::new(&pipeline.scheduler, request.choice)?;
        if request.choice.eta.is_none() && matches!(plan.sampler, Sampler::Tcd { .. }) {
            // diffusers' pipelines tell its scheduler so, whose own usual share is another.
            plan.sampler = Sampler::Tcd { gamma: 0.0 };
        }
        let grid = match &request.init {
            Some(init) => {
                check_init(init)?;
                pipeline.task(init)?;
                let (walked, sampler) = walked(&plan.grid, plan.sampler, init.share());
                plan.sampler = sampler;
                if walked.is_empty() {
                    let expected =
                        format!("enough of the {} steps for one of them", plan.grid.len());
                    return Err(PipelineError::request("strength", expected, init.share()));
                }
                walked
            }
            None => plan.grid.clone(),
        };
        if request.init.is_none() && pipeline.unet_config.in_channels != pipeline.latent_channels()
        {
            return Err(PipelineError::request(
                "init",
                "a picture: the checkpoint was trained to change one",
                "none",
            ));
        }
        let prompts = pipeline.encode(&request.prompts, request.guidance > NO_GUIDANCE)?;
        Ok(Self { pipeline, request, plan, grid, dims, prompts })
    }

    /// The prompt, encoded.
    pub fn prompt(&self) -> &Conditioning {
        &self.prompts.with
    }

    /// What it is guided away from, where it is.
    pub fn negative(&self) -> Option<&Conditioning> {
        self.prompts.without.as_ref()
    }

    /// What of the prompts was too long for the text encoder, and is lost.
    pub fn cut(&self) -> &[Cut] {
        &self.prompts.cut
    }

    /// How it is sampled.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many steps each picture takes.
    pub fn steps(&self) -> usize {
        self.grid.len()
    }

    /// Height and width of the pictures, in pixels.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// Draws picture `index`, whose latents do not depend on any other picture's.
    ///
    /// # Errors
    /// A sample that is not finite, a network's complaint, the observer's wish to stop.
    pub fn draw(&self, index: u64, observer: &mut dyn Observer<Batch>) -> Result<Drawn> {
        let seed = self.request.seed.wrapping_add(index);
        let mut streams = Streams(match self.request.generator {
            Generator::TorchCpu => TorchNoise::new(seed, 1),
            Generator::TorchCuda => TorchNoise::cuda(seed, 1),
        });
        let (pipeline, init) = (self.pipeline, self.request.init.as_ref());
        let size = self.dims.map(|side| side / pipeline.pixels_per_latent());
        let prepared =
            pipeline.prepare(init, size, &self.grid, &mut streams, self.request.tiled)?;
        let Prepared { noise, start, region, alone, beside } = prepared;
        let inner = Clip { inner: self.denoiser(beside), limit: self.plan.limit };
        let mut denoiser: Box<dyn Denoiser<Batch> + '_> = match &region {
            Some(region) => {
                let first = self.grid.intervals.first().map(|interval| interval.from);
                let (noise, alone) = (noise.clone(), first.filter(|_| alone));
                Box::new(Replaced { inner, region, noise, alone })
            }
            None => Box::new(inner),
        };
        let mut run =
            Run { denoiser: &mut *denoiser, grid: &self.grid, noise: &mut streams.0, observer };
        let latents = self.plan.sampler.sample(start, &mut run).map_err(ModelError::from)?;
        drop(denoiser);
        // The autoencoder's results are of other sizes.
        sumi_kernels::release_memory();
        let latents = match &region {
            Some(region) => region.finish(&latents),
            None => latents,
        };
        match latents.to_vec().iter().all(|x| x.is_finite()) {
            true => Ok(Drawn { seed, noise: noise.0, latents: latents.0 }),
            false => Err(ModelError::NotFinite { index: index as usize }.into()),
        }
    }

    /// The network with the prompts, guided where that is asked for.
    fn denoiser(&self, beside: Option<Tensor<4>>) -> Box<dyn Denoiser<Batch> + '_> {
        let of = |told: &[&Conditioning]| {
            let context = told.iter().map(|one| one.embeds.clone()).collect();
            let pooled: Option<Vec<_>> = told.iter().map(|one| one.pooled.clone()).collect();
            let network = Told {
                unet: &self.pipeline.unet,
                context: Tensor::cat(context, 0),
                extra: self.extra(pooled),
                beside: beside.clone(),
            };
            let parameterisation = &self.plan.parameterisation;
            NetworkDenoiser { network, parameterisation, grid: Some(&self.grid) }
        };
        let with = &self.prompts.with;
        match &self.prompts.without {
            None => Box::new(of(&[with])),
            Some(without) => {
                let pair = WithAndWithout {
                    with: of(&[with]),
                    without: of(&[without]),
                    both: of(&[with, without]),
                };
                let scale = self.request.guidance;
                Box::new(Guided { pair, scale, rescale: None, interval: None })
            }
        }
    }

    /// What the denoiser is told beside the words: for SDXL the summary of the prompt, the size and where it
    /// was cut from, which is nowhere (Podell et al., SDXL, section 2.2).
    fn extra(&self, pooled: Option<Vec<Tensor<2>>>) -> Extra {
        let pooled = pooled.filter(|_| self.pipeline.wants_size());
        let added = pooled.map(|pooled| {
            let [h, w] = self.dims.map(|side| side as f32);
            let time_ids = [h, w, 0.0, 0.0, h, w].repeat(pooled.len());
            Added { text_embeds: Tensor::cat(pooled, 0), time_ids }
        });
        Extra { added, ..Extra::default() }
    }

    /// Whether the autoencoder works on one strip after the other.
    pub fn tiled(&self) -> bool {
        self.request.tiled
    }
}

fn check_init(init: &crate::Init) -> Result<()> {
    let [h, w] = init.dims;
    if init.image.len() != 3 * h * w || init.image.iter().any(|x| !x.is_finite()) {
        let expected = format!("[3, {h}, {w}], {} finite values", 3 * h * w);
        return Err(PipelineError::request("init", expected, init.image.len()));
    }
    if let Some(mask) = &init.mask
        && mask.len() != h * w
    {
        let expected = format!("the picture's size, {w} x {h} px");
        return Err(PipelineError::request("mask", expected, format!("{} pixels", mask.len())));
    }
    match (0.0..=1.0).contains(&init.share()) {
        true => Ok(()),
        false => Err(PipelineError::request("strength", "a number from 0 to 1", init.share())),
    }
}
