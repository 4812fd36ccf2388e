//! One training step.

use crate::{AdamW, Ema, RunConfig, TrainError};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use sumi_data::{Loader, Pictures, Position};
use sumi_model::{Card, Model, SchedulerConfig};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, Pass, flat_gradients, parameters, with_values};
use sumi_process::{Parameterisation, Process};
use sumi_random::{NormalSource, Philox};

/// What a step draws random numbers for. Each purpose has a stream of its own at every step, so
/// that a run goes on exactly from its step number alone.
#[derive(Clone, Copy)]
enum Purpose {
    Timesteps = 1,
    Noise = 2,
    Flips = 3,
    Dropout = 4,
}

/// The stream that the first weights' initialisation counts from lies below every purpose's.
fn stream(seed: u64, purpose: Purpose, step: u64) -> Philox {
    Philox::new(seed, ((purpose as u64) << 56) | step)
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which, counted from 1.
    pub step: u64,
    /// The mean squared error of the prediction.
    pub loss: f64,
    /// The norm of all gradients, before clipping.
    pub gradient_norm: f64,
    /// The learning rate it went by.
    pub learning_rate: f64,
}

/// A network in training.
pub struct Trainer<'a> {
    pub(crate) config: RunConfig,
    pub(crate) unet_config: UNetConfig,
    pub(crate) pictures: &'a Pictures,
    pub(crate) loader: Loader,
    pub(crate) unet: UNet,
    pub(crate) optimizer: AdamW,
    pub(crate) ema: Ema,
    pub(crate) step: u64,
    parameterisation: Parameterisation,
    device: Device,
}

impl<'a> Trainer<'a> {
    /// A fresh network for `pictures`, on `device`.
    ///
    /// # Errors
    /// A configuration that does not fit the pictures.
    pub fn new(
        config: RunConfig,
        pictures: &'a Pictures,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let unet_config = config.unet(pictures)?;
        let mut init = Init::new(&device.clone().autodiff(), config.train.seed);
        let unet = UNet::new(&unet_config, &mut init)
            .map_err(|error| TrainError::Config(format!("network: {error}")))?;
        Self::with_unet(config, (unet_config, unet), pictures)
    }

    /// Goes on with a network that there is already, whatever `config.network` says; it lives on a
    /// device with autodiff and fits the pictures.
    ///
    /// # Errors
    /// A process that cannot be, or no pictures.
    pub fn with_unet(
        config: RunConfig,
        (unet_config, unet): (UNetConfig, UNet),
        pictures: &'a Pictures,
    ) -> Result<Self, TrainError> {
        let device = unet.device();
        let values: Vec<_> = parameters(&unet).into_iter().map(|p| p.values).collect();
        let parameterisation = config.scheduler().parameterisation().map_err(TrainError::Config)?;
        Ok(Self {
            optimizer: AdamW::new(config.train.adamw, &values),
            ema: Ema::new(config.train.ema_decay, config.train.ema_warmup, values),
            loader: Loader::new(pictures.len(), config.train.seed)?,
            step: 0,
            config,
            unet_config,
            pictures,
            unet,
            parameterisation,
            device,
        })
    }

    /// How many steps have been taken.
    pub fn steps_taken(&self) -> u64 {
        self.step
    }

    /// Where the next batch starts.
    pub fn position(&self) -> Position {
        self.loader.position()
    }

    /// How many parameters the network has.
    pub fn parameter_count(&self) -> usize {
        self.unet.num_params()
    }

    /// One step of DDPM's training (Algorithm 1): noise a batch to random timesteps, predict,
    /// and follow the gradient of the mean squared error.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite; the weights are then as before.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let step = self.step + 1;

        // Predict, and differentiate the error.
        let batch = self.noised_batch(step);
        let (loss, gradients) = self.loss_and_gradients(step, batch);
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss".into() });
        }

        // Follow the gradient.
        let gradient_norm = self.gradient_norm(step, &gradients)?;
        let learning_rate = self.config.learning_rate(step);
        let clip = self.config.train.gradient_clip;
        let scale = if clip > 0.0 { (clip / (gradient_norm + 1e-6)).min(1.0) } else { 1.0 };
        let unet = self.take_unet()?;
        self.unet = self.optimizer.step(unet, gradients, (step, learning_rate, scale));

        // Average.
        let values = parameters(&self.unet).into_iter().map(|p| p.values).collect();
        self.ema.update(step, values);
        self.step = step;
        Ok(StepReport { step, loss, gradient_norm, learning_rate })
    }

    /// The model with the averaged weights, for sampling, outside any gradient graph.
    pub fn averaged_model(&self) -> Model {
        Model {
            unet: with_values(self.unet.valid(), self.ema.averages().to_vec()),
            unet_config: self.unet_config.clone(),
            scheduler: self.scheduler(),
            card: Some(self.card()),
        }
    }

    pub(crate) fn scheduler(&self) -> SchedulerConfig {
        self.config.scheduler()
    }

    pub(crate) fn card(&self) -> Card {
        Card {
            sumi_version: env!("CARGO_PKG_VERSION").into(),
            step: self.step,
            class_names: self.pictures.class_names.clone(),
            null_class: None,
            // Numbers, strings and lists only, which always serialise.
            config: serde_json::to_value(&self.config).unwrap_or_default(),
        }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The network, with nobody else holding its values, so that they can change in place. What
    /// stays behind draws no weights and takes no memory.
    fn take_unet(&mut self) -> Result<UNet, TrainError> {
        let blank = UNet::new(&self.unet_config, &mut Init::new(&self.device, 0));
        let blank = blank.map_err(|error| TrainError::Config(format!("network: {error}")))?;
        Ok(std::mem::replace(&mut self.unet, blank))
    }

    /// The mean squared error of the prediction, and its gradient.
    fn loss_and_gradients(&self, step: u64, batch: Batch) -> (f64, Vec<Option<Tensor<1>>>) {
        let Batch { x_t, target, timesteps, classes } = batch;
        let classes = self.unet_config.num_class_embeds.map(|_| classes.as_slice());
        let mut pass = Pass::Training(stream(self.config.train.seed, Purpose::Dropout, step));
        let loss_of = |output: Tensor<4>| (output - target).square().mean();
        let (loss, gradients) = if self.config.train.checkpoint_blocks {
            self.unet.checkpointed_gradients(x_t, &timesteps, classes, pass, loss_of)
        } else {
            let loss = loss_of(self.unet.forward(x_t, &timesteps, classes, &mut pass));
            (loss.clone().inner(), flat_gradients(&self.unet, loss.backward()))
        };
        (f64::from(loss.into_scalar::<f32>()), gradients)
    }

    /// The norm of all gradients; says whose gradient it is that is not finite.
    fn gradient_norm(&self, step: u64, gradients: &[Option<Tensor<1>>]) -> Result<f64, TrainError> {
        let squares: Vec<Tensor<1>> =
            gradients.iter().flatten().cloned().map(sumi_kernels::sum_of_squares).collect();
        if squares.is_empty() {
            return Ok(0.0);
        }
        let squares = Tensor::cat(squares, 0).try_into_vec_as::<f32>().unwrap_or_default();
        let norm = squares.iter().map(|&s| f64::from(s)).sum::<f64>().sqrt();
        if norm.is_finite() {
            return Ok(norm);
        }
        let broken = squares.iter().position(|s| !s.is_finite()).unwrap_or(0);
        let named = sumi_nn::parameter_shapes(&self.unet)
            .into_iter()
            .zip(gradients)
            .filter(|(_, gradient)| gradient.is_some())
            .nth(broken)
            .map_or_else(|| "?".to_string(), |((name, _), _)| name);
        Err(TrainError::NotFinite { step, what: format!("gradient of \"{named}\"") })
    }

    /// The next pictures, noised: everything that is random about a step but dropout.
    fn noised_batch(&mut self, step: u64) -> Batch {
        let seed = self.config.train.seed;
        let indices = self.loader.next_batch(self.config.train.batch_size);
        let Pictures { channels: c, height_px: h, width_px: w, .. } = *self.pictures;
        let each = c * h * w;
        let mut times = stream(seed, Purpose::Timesteps, step);
        let mut flips = stream(seed, Purpose::Flips, step);
        let mut eps = vec![0.0; indices.len() * each];
        stream(seed, Purpose::Noise, step).fill_normal(&mut eps);

        let flip = self.config.data.flip;
        let mut x_t = Vec::with_capacity(eps.len());
        let mut target = Vec::with_capacity(eps.len());
        let mut timesteps = Vec::with_capacity(indices.len());
        let mut classes = Vec::with_capacity(indices.len());
        for (&index, eps) in indices.iter().zip(eps.chunks(each)) {
            let x0 = model_range(self.pictures, index, flip && flips.bernoulli(0.5));
            let time = self.draw_time(&mut times);
            let level = self.parameterisation.process.level(time);
            let scale = self.parameterisation.input_scale(level);
            let (alpha, sigma) = ((scale * level.alpha) as f32, (scale * level.sigma) as f32);
            x_t.extend(x0.iter().zip(eps).map(|(x0, eps)| alpha * x0 + sigma * eps));
            let of = self.parameterisation.target(level);
            let (of_x0, of_eps) = (of.first as f32, of.second as f32);
            target.extend(x0.iter().zip(eps).map(|(x0, eps)| of_x0 * x0 + of_eps * eps));
            timesteps.push(self.parameterisation.network_time(level) as f32);
            classes.push(self.pictures.labels[index]);
        }
        let upload = |values: Vec<f32>| {
            Tensor::from_data(TensorData::new(values, [indices.len(), c, h, w]), &self.device)
        };
        Batch { x_t: upload(x_t), target: upload(target), timesteps, classes }
    }

    /// A time of the process, evenly: a whole timestep of a table.
    fn draw_time(&self, times: &mut Philox) -> f64 {
        match &self.parameterisation.process {
            Process::Discrete(schedule) => f64::from(times.below(schedule.timesteps() as u32)),
            process => {
                let (earliest, latest) = process.times();
                earliest + (latest - earliest) * times.uniform_f64()
            }
        }
    }
}

/// A picture in the model's range, `[C, H, W]`, mirrored left to right where `flip` says so.
fn model_range(pictures: &Pictures, index: usize, flip: bool) -> Vec<f32> {
    let Pictures { channels, height_px, width_px, .. } = *pictures;
    let values: Vec<f32> = pictures.scaled(index).collect();
    let mut chw = Vec::with_capacity(values.len());
    for channel in 0..channels {
        for y in 0..height_px {
            for x in 0..width_px {
                let x = if flip { width_px - 1 - x } else { x };
                chw.push(values[(y * width_px + x) * channels + channel]);
            }
        }
    }
    chw
}

/// One batch, noised.
struct Batch {
    x_t: Tensor<4>,
    target: Tensor<4>,
    timesteps: Vec<f32>,
    classes: Vec<u32>,
}
