//! The network that is measured, and what is done with it.

use crate::args::BenchWork;
use crate::error::CliError;
use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;
use sumi_data::Pictures;
use sumi_formats::{NamedTensor, TensorMap, safetensors};
use sumi_model::{
    Classes, Generator, Model, Plan, Request, SamplerChoice, SchedulerConfig, TorchNoise,
    read_unet, unet_config,
};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, Pass, parameters, with_values};
use sumi_sampler::Sampler;
use sumi_train::{RunConfig, Trainer};

/// A preset, and what its pictures are like: the presets leave that to their data.
struct Preset {
    name: &'static str,
    text: &'static str,
    channels: usize,
    side_px: usize,
    classes: usize,
}

const CIFAR10: Preset = Preset {
    name: "ddpm-cifar10",
    text: include_str!("../../../../presets/ddpm-cifar10.toml"),
    channels: 3,
    side_px: 32,
    classes: 10,
};
const PRESETS: [Preset; 4] = [
    Preset {
        name: "digits",
        text: include_str!("../../../../presets/digits.toml"),
        channels: 1,
        side_px: 8,
        classes: 10,
    },
    Preset {
        name: "mnist",
        text: include_str!("../../../../presets/mnist.toml"),
        channels: 1,
        side_px: 28,
        classes: 10,
    },
    CIFAR10,
    Preset {
        name: "ddpm-256",
        text: include_str!("../../../../presets/ddpm-256.toml"),
        channels: 3,
        side_px: 256,
        classes: 1,
    },
];
/// Steps of DDIM of one drawing.
pub const SAMPLE_STEPS: usize = 10;

/// A network, and how it would be trained.
pub struct Subject {
    pub model: Model,
    config: RunConfig,
}

/// One repetition.
pub type Work<'a> = Box<dyn FnMut() -> Result<(), CliError> + 'a>;

impl Subject {
    /// The network that `name` means, with the weights of a file, its own, or drawn ones.
    ///
    /// # Errors
    /// A name that means nothing, a file that is broken, weights that do not fit.
    pub fn open(name: &str, weights: Option<&Path>, device: &Device) -> Result<Self, CliError> {
        let path = Path::new(name);
        let preset = PRESETS.iter().find(|preset| preset.name == name);
        let parse = |preset: &Preset| RunConfig::parse(preset.text, preset.name, &[]);
        let config = parse(preset.unwrap_or(&CIFAR10))?;
        if path.is_dir() && preset.is_none() && weights.is_none() {
            return Ok(Self { model: Model::open(path, device)?, config });
        }
        let (unet_config, scheduler) = match preset {
            Some(preset) => {
                let one =
                    pictures(1, [preset.channels, preset.side_px, preset.side_px], preset.classes);
                (config.unet(&one)?, config.scheduler())
            }
            None if path.is_dir() => {
                let folder = sumi_model::resolve(path)?;
                (unet_config(&folder.join("unet/config.json"))?, SchedulerConfig::default())
            }
            None if path.is_file() && path.extension().is_some_and(|ending| ending == "json") => {
                (unet_config(path)?, SchedulerConfig::default())
            }
            None => {
                let found = if path.is_file() { "another file" } else { "nothing of that name" };
                return Err(CliError::Usage(format!(
                    "--network {name}: expected {}, a config.json or a model folder, found {found}",
                    PRESETS.map(|preset| preset.name).join(", ")
                )));
            }
        };
        let unet = match weights {
            Some(weights) => read_unet(weights, &unet_config, device)?,
            None => fresh(&unet_config, device)?,
        };
        Ok(Self { model: Model { unet, unet_config, scheduler, card: None }, config })
    }

    /// A batch of pictures for its training.
    ///
    /// # Errors
    /// A network that does not say how large its pictures are.
    pub fn pictures(&self, batch: usize) -> Result<Pictures, CliError> {
        let classes = self.model.unet_config.num_class_embeds.unwrap_or(1);
        Ok(pictures(batch, self.model.picture_dims()?, classes))
    }

    /// What is repeated. A network in training lives on a device with autodiff.
    ///
    /// # Errors
    /// A network that cannot do that.
    pub fn work(
        self,
        what: BenchWork,
        batch: usize,
        pictures: &Pictures,
    ) -> Result<Work<'_>, CliError> {
        let Self { model, mut config } = self;
        let device = model.unet.device();
        let sync = move || device.sync().map_err(|error| CliError::Failed(error.to_string()));
        match what {
            BenchWork::Forward => {
                let input = Input::new(&model, batch)?;
                Ok(Box::new(move || {
                    drop(input.pass(&model.unet));
                    sync()
                }))
            }
            BenchWork::Train => {
                config.train.batch_size = batch;
                let network = (model.unet_config, model.unet);
                let mut trainer = Trainer::with_unet(config, network, pictures)?;
                Ok(Box::new(move || {
                    trainer.step()?;
                    sync()
                }))
            }
            BenchWork::Sample => {
                let choice = SamplerChoice {
                    kind: Some(Sampler::Ddim { eta: 0.0 }.into()),
                    steps: Some(SAMPLE_STEPS),
                    ..SamplerChoice::default()
                };
                let plan = Plan::new(&model.scheduler, choice)?;
                let classes = Classes::All;
                let request = Request { count: batch, batch, seed: 0, classes, noise: None };
                Ok(Box::new(move || {
                    let mut generator = Generator::new(&model, &plan, request.clone())?;
                    generator.next_batch(&mut ())?;
                    Ok(())
                }))
            }
        }
    }
}

/// What a forward pass is given.
pub struct Input {
    x: Tensor<4>,
    timesteps: Vec<f32>,
    classes: Option<Vec<u32>>,
}

impl Input {
    /// Standard normals, at timesteps and of classes that differ within the batch.
    ///
    /// # Errors
    /// A network that does not say how large its pictures are.
    pub fn new(model: &Model, batch: usize) -> Result<Self, CliError> {
        let [c, h, w] = model.picture_dims()?;
        let x = TorchNoise::new(0, batch).normals(c * h * w);
        let known = model.unet.classes();
        Ok(Self {
            x: Tensor::from_data(TensorData::new(x, [batch, c, h, w]), &model.unet.device()),
            timesteps: (0..batch).map(|i| (i * 37 % 1000) as f32).collect(),
            classes: known.map(|known| (0..batch).map(|i| (i % known) as u32).collect()),
        })
    }

    /// One pass, as sampling makes it.
    pub fn pass(&self, unet: &UNet) -> Tensor<4> {
        let classes = self.classes.as_deref();
        unet.forward(self.x.clone(), &self.timesteps, classes, &mut Pass::Inference)
    }

    /// Writes the input and the output of one pass.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_pass(&self, unet: &UNet, path: &Path) -> Result<(), CliError> {
        let shape = self.x.dims();
        let tensor = |name: &str, x: Tensor<4>| -> Result<NamedTensor, CliError> {
            let values = x.into_data().try_to_vec_as::<f32>();
            let values = values.map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
            Ok(NamedTensor::from_f32(name, &shape, &values))
        };
        let mut tensors = vec![
            tensor("x", self.x.clone())?,
            tensor("output", self.pass(unet))?,
            NamedTensor::from_f32("timesteps", &shape[..1], &self.timesteps),
        ];
        if let Some(classes) = &self.classes {
            let classes: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
            tensors.push(NamedTensor::from_i64("classes", &shape[..1], &classes));
        }
        Ok(safetensors::write(path, &TensorMap::new(tensors))?)
    }
}

/// A fresh network in which nothing is zero, as after some training.
fn fresh(config: &UNetConfig, device: &Device) -> Result<UNet, CliError> {
    let failed = |error| CliError::Failed(format!("network: {error}"));
    let unet = UNet::new(config, &mut Init::new(device, 0)).map_err(failed)?;
    let mut init = Init::new(&device.clone().inner(), 1);
    let drawn = parameters(&unet).into_iter().map(|parameter| {
        let squares = sumi_kernels::sum_of_squares(parameter.values.clone());
        match squares.into_scalar::<f32>() {
            0.0 => {
                let elements: usize = parameter.shape.iter().product();
                let fan_in: usize = parameter.shape.iter().skip(1).product();
                let fan_in = if parameter.shape.len() > 1 { fan_in } else { elements };
                init.uniform([elements], (fan_in as f64).powf(-0.5)).val()
            }
            _ => parameter.values,
        }
    });
    let drawn = drawn.collect();
    Ok(with_values(unet, drawn))
}

/// Noise as pictures, of every class in turn.
fn pictures(count: usize, [channels, height_px, width_px]: [usize; 3], classes: usize) -> Pictures {
    // The high bits of a linear congruential generator (Knuth's MMIX constants).
    let mut state = 1u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    Pictures {
        height_px,
        width_px,
        channels,
        pixels: (0..count * channels * height_px * width_px).map(|_| byte()).collect(),
        labels: (0..count).map(|i| (i % classes) as u32).collect(),
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        max_value: 255,
    }
}
