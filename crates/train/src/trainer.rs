//! One training step.

use crate::batch::{Batch, Noising};
use crate::task::{Denoising, Found, Task, parameterisation};
use crate::times::TimeSampler;
use crate::{AdamW, Ema, RunConfig, TrainError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sumi_data::{Loader, Pictures, Position};
use sumi_model::{Card, Model, SchedulerConfig};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, Pass, parameters, with_values};
use sumi_process::Parameterisation;
use sumi_random::Philox;

/// What a step draws random numbers for. Each purpose has a stream of its own at every step, so
/// that a run goes on exactly from its step number alone.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Timesteps = 1,
    Noise = 2,
    Flips = 3,
    Dropout = 4,
    Conditions = 5,
}

/// The stream that the first weights' initialisation counts from lies below every purpose's.
pub(crate) fn stream(seed: u64, purpose: Purpose, step: u64) -> Philox {
    Philox::new(seed, ((purpose as u64) << 56) | step)
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which, counted from 1.
    pub step: u64,
    /// The loss that is minimised, such as the mean squared error of the prediction.
    pub loss: f64,
    /// The norm of all gradients, before clipping.
    pub gradient_norm: f64,
    /// The learning rate it went by.
    pub learning_rate: f64,
    /// The share of the batch whose class was told rightly, where a classifier is trained.
    pub accuracy: Option<f64>,
}

/// A network in training for a task.
pub struct Trainer<'a, T: Task = Denoising> {
    pub(crate) config: RunConfig,
    pub(crate) task: T,
    pub(crate) pictures: &'a Pictures,
    pub(crate) loader: Loader,
    pub(crate) network: T::Network,
    pub(crate) optimizer: AdamW,
    pub(crate) ema: Ema,
    pub(crate) times: TimeSampler,
    pub(crate) step: u64,
    pub(crate) parameterisation: Parameterisation,
    device: Device,
}

impl<'a> Trainer<'a> {
    /// A fresh U-Net for `pictures`, on `device`.
    ///
    /// # Errors
    /// A configuration that does not fit the pictures.
    pub fn new(
        config: RunConfig,
        pictures: &'a Pictures,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Self::for_task(config, pictures, device)
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
        let task = Denoising::of(&config, unet_config, pictures)?;
        Self::with_network(config, (task, unet), pictures, device)
    }

    /// The model with the averaged weights, for sampling, outside any gradient graph.
    pub fn averaged_model(&self) -> Model {
        Model {
            unet: self.averaged_network(),
            unet_config: self.task.unet_config.clone(),
            scheduler: self.scheduler(),
            card: Some(self.card()),
        }
    }
}

impl<'a, T: Task> Trainer<'a, T> {
    /// A fresh network for `pictures`, on `device`.
    ///
    /// # Errors
    /// Another task's configuration, or one that does not fit the pictures.
    pub fn for_task(
        config: RunConfig,
        pictures: &'a Pictures,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let task = T::new(&config, pictures)?;
        let device = device.clone().autodiff();
        let network = task.network(&mut Init::new(&device, config.train.seed))?;
        Self::with_network(config, (task, network), pictures, device)
    }

    fn with_network(
        config: RunConfig,
        (task, network): (T, T::Network),
        pictures: &'a Pictures,
        device: Device,
    ) -> Result<Self, TrainError> {
        let values: Vec<_> = parameters(&network).into_iter().map(|p| p.values).collect();
        Ok(Self {
            optimizer: AdamW::new(config.train.adamw, &values),
            ema: Ema::new(config.train.ema_decay, config.train.ema_warmup, values),
            loader: Loader::new(pictures.len(), config.train.seed)?,
            times: TimeSampler::new(&config),
            step: 0,
            parameterisation: parameterisation(&config)?,
            config,
            task,
            pictures,
            network,
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
        self.network.num_params()
    }

    /// One step of training (DDPM, Algorithm 1): noise a batch to random times, and follow the gradient
    /// of the loss.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite; the weights are then as before.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let step = self.step + 1;

        // Predict, and differentiate the error.
        let batch = self.noised_batch(step);
        let pass = Pass::Training(stream(self.config.train.seed, Purpose::Dropout, step));
        let Found { loss, gradients, losses, accuracy } =
            self.task.loss_and_gradients(&self.network, &batch, pass);
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss".into() });
        }

        // Follow the gradient.
        let gradient_norm = self.gradient_norm(step, &gradients)?;
        let learning_rate = self.config.learning_rate(step);
        let clip = self.config.train.gradient_clip;
        let scale = if clip > 0.0 { (clip / (gradient_norm + 1e-6)).min(1.0) } else { 1.0 };
        let network = self.take_network()?;
        self.network = self.optimizer.step(network, gradients, (step, learning_rate, scale));

        // Average, and remember where the loss was large.
        let values = parameters(&self.network).into_iter().map(|p| p.values).collect();
        self.ema.update(step, values);
        self.times.learn(&batch.draws, &losses.unwrap_or_default());
        self.step = step;
        Ok(StepReport { step, loss, gradient_norm, learning_rate, accuracy })
    }

    /// The network with the averaged weights, outside any gradient graph.
    pub(crate) fn averaged_network(&self) -> T::Network {
        with_values(self.network.valid(), self.ema.averages().to_vec())
    }

    /// The model that it makes, where it draws pictures.
    pub(crate) fn model(&self) -> Option<Model> {
        self.task.model(self.averaged_network(), self.scheduler(), self.card())
    }

    pub(crate) fn scheduler(&self) -> SchedulerConfig {
        self.config.scheduler()
    }

    pub(crate) fn card(&self) -> Card {
        Card {
            sumi_version: env!("CARGO_PKG_VERSION").into(),
            step: self.step,
            class_names: self.pictures.class_names.clone(),
            null_class: self.config.null_class(self.pictures),
            // Numbers, strings and lists only, which always serialise.
            config: serde_json::to_value(&self.config).unwrap_or_default(),
        }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The next pictures, noised.
    fn noised_batch(&mut self, step: u64) -> Batch {
        let train = &self.config.train;
        let indices = self.loader.next_batch(train.batch_size);
        let null_class = self.config.null_class(self.pictures);
        let noising = Noising {
            pictures: self.pictures,
            parameterisation: &self.parameterisation,
            times: &self.times,
            flip: self.config.data.flip,
            null_class: null_class.map(|null| (null, train.condition_dropout)),
            keeps_pictures: self.task.needs_pictures(),
            seed: train.seed,
            device: &self.device,
        };
        noising.batch(step, &indices)
    }

    /// The network, with nobody else holding its values, so that they can change in place. What
    /// stays behind draws no weights and takes no memory.
    fn take_network(&mut self) -> Result<T::Network, TrainError> {
        let blank = self.task.network(&mut Init::new(&self.device, 0))?;
        Ok(std::mem::replace(&mut self.network, blank))
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
        let named = sumi_nn::parameter_shapes(&self.network)
            .into_iter()
            .zip(gradients)
            .filter(|(_, gradient)| gradient.is_some())
            .nth(broken)
            .map_or_else(|| "?".to_string(), |((name, _), _)| name);
        Err(TrainError::NotFinite { step, what: format!("gradient of \"{named}\"") })
    }
}
