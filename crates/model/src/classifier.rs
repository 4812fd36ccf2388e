//! A classifier of noisy pictures, by whose gradient a model is guided.

use crate::folder::{
    WEIGHTS, create_parts, open_tensors, read_card, read_json, read_scheduler, resolve_component,
    to_value, write_json,
};
use crate::{Card, ModelError, SchedulerConfig, fill, write_tensors};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use std::path::{Path, PathBuf};
use sumi_networks::classifier::{Classifier as Network, ClassifierConfig};
use sumi_nn::{Init, Pass, Precision, parameters};
use sumi_process::{NoiseLevel, Parameterisation};

/// The class that `classifier/config.json` names.
pub const CLASSIFIER_CLASS: &str = "SumiClassifier";

/// Reads `classifier/config.json`.
///
/// # Errors
/// A missing or broken file, a field that is unknown, a network that cannot be built.
pub fn classifier_config(path: &Path) -> Result<ClassifierConfig, ModelError> {
    let mut json: serde_json::Value = read_json(path)?;
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|key, _| !key.starts_with('_'));
    }
    let config: ClassifierConfig =
        serde_json::from_value(json).map_err(|error| invalid(path.into(), error))?;
    config.check().map_err(|error| invalid(path.into(), error))?;
    Ok(config)
}

fn invalid(path: PathBuf, error: impl ToString) -> ModelError {
    ModelError::Config { path, message: error.to_string() }
}

/// A classifier, and how the pictures that it learned from were noised.
#[derive(Debug)]
pub struct Classifier {
    /// The network.
    pub network: Network,
    /// `classifier/config.json`.
    pub config: ClassifierConfig,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerConfig,
    /// `sumi.json`.
    pub card: Option<Card>,
    /// What the scheduler says, as levels and times.
    pub parameterisation: Parameterisation,
}

impl Classifier {
    /// Opens what `sumi train` left of a run with `network.kind = "classifier"`: a checkpoint or
    /// the run folder.
    ///
    /// # Errors
    /// A missing or broken file, a folder with another network, weights that do not fit.
    pub fn open(path: &Path, device: &Device) -> Result<Self, ModelError> {
        let folder = resolve_component(path, "classifier")?;
        let config_path = folder.join("classifier/config.json");
        let config = classifier_config(&config_path)?;
        // A gradient with respect to the picture goes through the network, not into it.
        let device = device.clone().autodiff();
        let network = Network::new(&config, &mut Init::new(&device, 0))
            .map_err(|error| invalid(config_path, error))?;
        let path = Self::weights_path(&folder);
        let network = fill(network, open_tensors(&path)?, &path, Precision::F32)?;
        Self::new(network, config, read_scheduler(&folder)?, read_card(&folder)?)
    }

    /// A classifier of these parts.
    ///
    /// # Errors
    /// A scheduler that cannot be served.
    pub fn new(
        network: Network,
        config: ClassifierConfig,
        scheduler: SchedulerConfig,
        card: Option<Card>,
    ) -> Result<Self, ModelError> {
        let parameterisation = scheduler.parameterisation().map_err(ModelError::scheduler)?;
        let network = network.no_grad();
        Ok(Self { network, config, scheduler, card, parameterisation })
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.config.num_classes
    }

    /// Whether it sees pictures of these channels, height and width.
    ///
    /// # Errors
    /// Pictures of another size or with other channels.
    pub fn check_dims(&self, [c, h, w]: [usize; 3]) -> Result<(), ModelError> {
        let [height, width] = self.config.sample_size.dims();
        let own = [self.config.in_channels, height, width];
        match own == [c, h, w] {
            true => Ok(()),
            false => {
                let expected = format!("one of pictures [C, H, W] = {:?}", [c, h, w]);
                Err(ModelError::request("classifier", expected, format!("one of {own:?}")))
            }
        }
    }

    /// `log p(y | x_t)` of every class.
    ///
    /// # Shapes
    /// `x_t` `[N, C, H, W]`, result `[N, classes]`.
    pub fn log_probs(&self, x_t: Tensor<4>, level: NoiseLevel) -> Tensor<2> {
        let samples = x_t.dims()[0];
        let scale = self.parameterisation.input_scale(level);
        let times = vec![self.parameterisation.network_time(level) as f32; samples];
        let x = if scale == 1.0 { x_t } else { x_t * scale };
        log_softmax(self.network.forward(x, &times, &mut Pass::Inference), 1)
    }

    /// The gradient of `log p(y | x_t)` with respect to `x_t` (Dhariwal and Nichol, Diffusion Models
    /// Beat GANs, Algorithm 1), at a level of the process.
    ///
    /// # Errors
    /// Pictures of another size than it was trained on, not one class for each, or a class that it
    /// does not know.
    ///
    /// # Shapes
    /// `x_t` `[N, C, H, W]` outside any gradient graph, `classes` N values, result as `x_t`.
    pub fn log_prob_gradient(
        &self,
        x_t: Tensor<4>,
        level: NoiseLevel,
        classes: &[u32],
    ) -> Result<Tensor<4>, ModelError> {
        let [n, c, h, w] = x_t.dims();
        self.check_dims([c, h, w])?;
        if classes.len() != n {
            let expected = format!("{n}, one for each picture");
            return Err(ModelError::request("classes", expected, classes.len()));
        }
        if let Some(unknown) = classes.iter().find(|&&class| class as usize >= self.classes()) {
            let expected = format!("0 to {}", self.classes() - 1);
            return Err(ModelError::request("class", expected, unknown));
        }
        let x = Tensor::from_inner(x_t).require_grad();
        let indices: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
        let indices = Tensor::<2, Int>::from_data(TensorData::new(indices, [n, 1]), &x.device());
        let mut gradients = self.log_probs(x.clone(), level).gather(1, indices).sum().backward();
        let gradient = x.grad_remove(&mut gradients);
        Ok(gradient.unwrap_or_else(|| x.inner().zeros_like()))
    }

    /// Writes everything but the weights into `folder`, which exists.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write_configs(
        folder: &Path,
        config: &ClassifierConfig,
        scheduler: &SchedulerConfig,
        card: &Card,
    ) -> Result<(), ModelError> {
        create_parts(folder, ["classifier", "scheduler"])?;
        let mut config = to_value(config);
        if let Some(fields) = config.as_object_mut() {
            fields.insert("_class_name".into(), CLASSIFIER_CLASS.into());
        }
        write_json(&folder.join("classifier/config.json"), &config)?;
        write_json(&folder.join("scheduler/scheduler_config.json"), &to_value(scheduler))?;
        write_json(&folder.join("sumi.json"), &to_value(card))
    }

    /// Where the network's weights stand in `folder`.
    pub fn weights_path(folder: &Path) -> PathBuf {
        folder.join("classifier").join(WEIGHTS)
    }

    /// Writes the whole classifier into `folder`, which exists.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let card = self.card.clone().unwrap_or_default();
        Self::write_configs(folder, &self.config, &self.scheduler, &card)?;
        write_tensors(&Self::weights_path(folder), &parameters(&self.network), &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_networks::unet::SampleSize;
    use sumi_nn::with_values;
    use sumi_random::{NormalSource, Philox};

    fn normal(stream: u64, len: usize, scale: f32) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Philox::new(3, stream).fill_normal(&mut values);
        values.into_iter().map(|x| x * scale).collect()
    }

    /// Nothing stays at the zeros at which it starts, which let no gradient through.
    fn classifier() -> Classifier {
        let config = ClassifierConfig {
            sample_size: SampleSize::Square(8),
            in_channels: 1,
            num_classes: 3,
            block_out_channels: vec![8, 16],
            attention: vec![false, true],
            layers_per_block: 1,
            attention_head_dim: None,
            norm_num_groups: 4,
            dropout: 0.0,
        };
        let device = Device::flex();
        let init = &mut Init::new(&device.clone().autodiff(), 0);
        let network = Network::new(&config, init).unwrap();
        let values = parameters(&network).into_iter().zip(10..).map(|(parameter, stream)| {
            let values = normal(stream, parameter.values.dims()[0], 0.5);
            Tensor::from_data(TensorData::from(values.as_slice()), &device)
        });
        let values = values.collect();
        let network = with_values(network, values);
        Classifier::new(network, config, SchedulerConfig::default(), None).unwrap()
    }

    fn pictures(values: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 8, 8]), &Device::flex())
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let classifier = classifier();
        let level = classifier.parameterisation.process.level(37.0);
        let values = normal(0, 128, 1.0);
        let classes = [2, 0];
        let found = classifier.log_prob_gradient(pictures(&values), level, &classes).unwrap();
        let found = found.try_into_vec_as::<f32>().unwrap();
        let log_prob = |values: &[f32]| {
            let log_probs = classifier.log_probs(Tensor::from_inner(pictures(values)), level);
            let log_probs = log_probs.inner().try_into_vec_as::<f32>().unwrap();
            f64::from(log_probs[2]) + f64::from(log_probs[3])
        };
        let largest = found.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(largest > 1e-3, "{largest}");
        for i in (0..128).step_by(9) {
            let step = 1e-2;
            let moved = |by: f32| {
                let mut values = values.clone();
                values[i] += by;
                log_prob(&values)
            };
            let expected = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            // A central difference in f32: rounding 1e-6 / step, curvature step^2.
            let error = (f64::from(found[i]) - expected).abs();
            assert!(error < 0.02 * f64::from(largest), "{i}: {} {expected}", found[i]);
        }
    }

    #[test]
    fn a_saved_classifier_opens_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let classifier = classifier();
        classifier.save(folder.path()).unwrap();
        let again = Classifier::open(folder.path(), &Device::flex()).unwrap();
        assert_eq!(again.config, classifier.config);
        let level = classifier.parameterisation.process.level(500.0);
        let x = pictures(&normal(1, 128, 1.0));
        let gradient = |c: &Classifier| {
            let gradient = c.log_prob_gradient(x.clone(), level, &[1, 1]).unwrap();
            gradient.try_into_vec_as::<f32>().unwrap()
        };
        assert_eq!(gradient(&again), gradient(&classifier));
        let error = crate::Model::open(folder.path(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("expected a network in unet/"), "{error}");
    }

    #[test]
    fn what_it_cannot_see_is_refused() {
        let classifier = classifier();
        let level = classifier.parameterisation.process.level(1.0);
        let refusal = |shape: [usize; 4], classes: &[u32]| {
            let x = Tensor::<4>::zeros(shape, &Device::flex());
            classifier.log_prob_gradient(x, level, classes).unwrap_err().to_string()
        };
        assert!(refusal([1, 1, 4, 4], &[0]).contains("classifier: expected one of pictures"));
        assert!(refusal([1, 1, 8, 8], &[]).contains("classes: expected 1"));
        assert!(refusal([1, 1, 8, 8], &[3]).contains("class: expected 0 to 2, found 3"));
    }
}
