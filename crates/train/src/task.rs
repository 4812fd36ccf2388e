//! What is learned: a network, and its loss on a batch.

use crate::batch::Batch;
use crate::objective::{Losses, Objective};
use crate::{RunConfig, TrainError};
use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use std::path::{Path, PathBuf};
use sumi_data::Pictures;
use sumi_model::{Card, Classifier, Model, ModelError, SchedulerConfig};
use sumi_networks::classifier::{Classifier as ClassifierNetwork, ClassifierConfig};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, Pass, flat_gradients};
use sumi_process::Parameterisation;

/// What a step found out, outside any gradient graph.
pub struct Found {
    /// The loss that is minimised.
    pub loss: f64,
    /// Its gradient with respect to every parameter, flat, in the order of the network's fields.
    pub gradients: Vec<Option<Tensor<1>>>,
    /// Each sample's loss, where times are drawn by it.
    pub losses: Option<Vec<f32>>,
    /// The share of pictures whose class was told rightly, where classes are told.
    pub accuracy: Option<f64>,
}

/// What is learned: a network, and its loss on a batch of noised pictures.
pub trait Task: Sized {
    /// What is trained.
    type Network: Module;

    /// What a run's configuration asks for on these pictures.
    ///
    /// # Errors
    /// Another task's configuration, or one that does not fit the pictures.
    fn new(config: &RunConfig, pictures: &Pictures) -> Result<Self, TrainError>;

    /// A fresh network.
    ///
    /// # Errors
    /// A configuration that no network can be built from.
    fn network(&self, init: &mut Init) -> Result<Self::Network, TrainError>;

    /// Whether batches keep their pictures without noise.
    fn needs_pictures(&self) -> bool {
        false
    }

    /// The loss on a batch and its gradient.
    fn loss_and_gradients(&self, network: &Self::Network, batch: &Batch, pass: Pass) -> Found;

    /// The loss on a batch alone, with a network outside any gradient graph and nothing dropped out.
    fn loss(&self, network: &Self::Network, batch: &Batch) -> f64;

    /// The folder of its network in a model folder, and the file of the weights.
    fn weights_path(folder: &Path) -> PathBuf;

    /// Writes everything of a model folder but the weights.
    ///
    /// # Errors
    /// A folder that cannot be written.
    fn write_configs(
        &self,
        folder: &Path,
        scheduler: &SchedulerConfig,
        card: &Card,
    ) -> Result<(), ModelError>;

    /// The model that the network makes, where it draws pictures.
    fn model(&self, _: Self::Network, _: SchedulerConfig, _: Card) -> Option<Model> {
        None
    }
}

/// A U-Net learns to predict noise, data or what is between them.
#[derive(Clone, Debug)]
pub struct Denoising {
    /// The U-Net's shape.
    pub unet_config: UNetConfig,
    objective: Objective,
    checkpoint_blocks: bool,
}

impl Denoising {
    /// With a network of this shape, whatever `config.network` says.
    ///
    /// # Errors
    /// A process that cannot be.
    pub fn of(
        config: &RunConfig,
        unet_config: UNetConfig,
        pictures: &Pictures,
    ) -> Result<Self, TrainError> {
        let parameterisation = parameterisation(config)?;
        Ok(Self {
            unet_config,
            objective: Objective::new(config, &parameterisation, pictures.max_value),
            checkpoint_blocks: config.train.checkpoint_blocks,
        })
    }

    fn classes<'a>(&self, batch: &'a Batch) -> Option<&'a [u32]> {
        self.unet_config.num_class_embeds.map(|_| batch.classes.as_slice())
    }
}

impl Task for Denoising {
    type Network = UNet;

    fn new(config: &RunConfig, pictures: &Pictures) -> Result<Self, TrainError> {
        Self::of(config, config.unet(pictures)?, pictures)
    }

    fn network(&self, init: &mut Init) -> Result<UNet, TrainError> {
        UNet::new(&self.unet_config, init)
            .map_err(|error| TrainError::Config(format!("network: {error}")))
    }

    fn needs_pictures(&self) -> bool {
        self.objective.needs_pictures()
    }

    fn loss(&self, unet: &UNet, batch: &Batch) -> f64 {
        let (x_t, classes) = (batch.x_t.clone(), self.classes(batch));
        let output = unet.forward(x_t, &batch.timesteps, classes, &mut Pass::Inference);
        number(self.objective.losses(output, batch).total)
    }

    fn loss_and_gradients(&self, unet: &UNet, batch: &Batch, mut pass: Pass) -> Found {
        let classes = self.classes(batch);
        let (x_t, timesteps) = (batch.x_t.clone(), &batch.timesteps);
        let mut each = None;
        let mut loss_of = |output: Tensor<4>| {
            let losses = self.objective.losses(output, batch);
            each = losses.each;
            losses.total
        };
        let (loss, gradients) = if self.checkpoint_blocks {
            unet.checkpointed_gradients(x_t, timesteps, classes, pass, loss_of)
        } else {
            let loss = loss_of(unet.forward(x_t, timesteps, classes, &mut pass));
            (loss.clone().inner(), flat_gradients(unet, loss.backward()))
        };
        found(loss, gradients, each)
    }

    fn weights_path(folder: &Path) -> PathBuf {
        Model::weights_path(folder)
    }

    fn write_configs(
        &self,
        folder: &Path,
        scheduler: &SchedulerConfig,
        card: &Card,
    ) -> Result<(), ModelError> {
        Model::write_configs(folder, &self.unet_config, scheduler, card)
    }

    fn model(&self, unet: UNet, scheduler: SchedulerConfig, card: Card) -> Option<Model> {
        Some(Model { unet, unet_config: self.unet_config.clone(), scheduler, card: Some(card) })
    }
}

/// A classifier learns to tell the classes of noisy pictures.
#[derive(Clone, Debug)]
pub struct Classifying {
    /// The network's shape.
    pub classifier_config: ClassifierConfig,
}

impl Task for Classifying {
    type Network = ClassifierNetwork;

    fn new(config: &RunConfig, pictures: &Pictures) -> Result<Self, TrainError> {
        Ok(Self { classifier_config: config.classifier(pictures)? })
    }

    fn network(&self, init: &mut Init) -> Result<ClassifierNetwork, TrainError> {
        ClassifierNetwork::new(&self.classifier_config, init)
            .map_err(|error| TrainError::Config(format!("network: {error}")))
    }

    fn loss(&self, network: &ClassifierNetwork, batch: &Batch) -> f64 {
        let logits = network.forward(batch.x_t.clone(), &batch.timesteps, &mut Pass::Inference);
        number(cross_entropy(logits, batch).total)
    }

    fn loss_and_gradients(&self, network: &ClassifierNetwork, batch: &Batch, pass: Pass) -> Found {
        let mut pass = pass;
        let logits = network.forward(batch.x_t.clone(), &batch.timesteps, &mut pass);
        let accuracy = accuracy(logits.clone(), &batch.classes);
        let Losses { total, each } = cross_entropy(logits, batch);
        let gradients = flat_gradients(network, total.backward());
        Found { accuracy, ..found(total.inner(), gradients, each) }
    }

    fn weights_path(folder: &Path) -> PathBuf {
        Classifier::weights_path(folder)
    }

    fn write_configs(
        &self,
        folder: &Path,
        scheduler: &SchedulerConfig,
        card: &Card,
    ) -> Result<(), ModelError> {
        Classifier::write_configs(folder, &self.classifier_config, scheduler, card)
    }
}

/// What a configuration's process is to a network.
pub fn parameterisation(config: &RunConfig) -> Result<Parameterisation, TrainError> {
    config.scheduler().parameterisation().map_err(TrainError::Config)
}

fn number(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_scalar::<f32>())
}

fn found(loss: Tensor<1>, gradients: Vec<Option<Tensor<1>>>, each: Option<Tensor<1>>) -> Found {
    let losses = each.map(|each| each.try_into_vec_as::<f32>().unwrap_or_default());
    Found { loss: number(loss), gradients, losses, accuracy: None }
}

/// `-log p(y | x_t)`.
fn cross_entropy(logits: Tensor<2>, batch: &Batch) -> Losses {
    let n = batch.classes.len();
    let classes: Vec<i32> = batch.classes.iter().map(|&class| class as i32).collect();
    let classes = TensorData::new(classes, [n, 1]);
    let classes = Tensor::<2, Int>::from_data(classes, &logits.device());
    let each = -log_softmax(logits, 1).gather(1, classes).reshape([n]);
    Losses { total: batch.mean(each.clone()), each: Some(each.detach().inner()) }
}

/// The share of pictures whose class has the largest logit.
fn accuracy(logits: Tensor<2>, classes: &[u32]) -> Option<f64> {
    let known = logits.dims()[1];
    let logits = logits.inner().try_into_vec_as::<f32>().ok()?;
    let right = logits.chunks(known).zip(classes).filter(|(logits, class)| {
        let largest = (0..known).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        largest == Some(**class as usize)
    });
    Some(right.count() as f64 / classes.len().max(1) as f64)
}
