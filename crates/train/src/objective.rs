//! What a step minimises.

use crate::batch::Batch;
use crate::bound::{Bound, schedule_of};
use crate::{Loss, RunConfig, Times};
use burn::tensor::{Tensor, TensorData};
use sumi_process::{Parameterisation, Weighting};

/// The loss of a network that predicts pictures.
#[derive(Clone, Debug)]
pub struct Objective {
    loss: Loss,
    weighting: Weighting,
    bound: Bound,
    /// Whether each sample's loss is asked for.
    each: bool,
}

/// Losses of a batch.
pub struct Losses {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// Of each sample, `[N]`, before its importance; `None` where nobody asks.
    pub each: Option<Tensor<1>>,
}

/// The share of the bound in the hybrid loss (Improved DDPM, Eq. 16).
const BOUND_SHARE: f64 = 0.001;

impl Objective {
    /// As a run is configured; `max_value` is the pictures' white.
    pub fn new(config: &RunConfig, parameterisation: &Parameterisation, max_value: u8) -> Self {
        Self {
            loss: config.loss(),
            weighting: config.objective.weighting,
            bound: Bound {
                parameterisation: parameterisation.clone(),
                variance: config.process.variance,
                half_bin: 1.0 / f64::from(max_value.max(1)),
            },
            each: config.times() == Times::LossSecondMoment,
        }
    }

    /// Whether it asks for the pictures themselves.
    pub fn needs_pictures(&self) -> bool {
        self.loss != Loss::Simple
    }

    /// The losses of what the network put out for a batch.
    ///
    /// # Shapes
    /// `output` `[N, C, H, W]`, or `[N, 2 C, H, W]` with a learned variance.
    pub fn losses(&self, output: Tensor<4>, batch: &Batch) -> Losses {
        let plain = self.loss == Loss::Simple && self.weighting == Weighting::Uniform;
        if plain && !self.each {
            let total = (output - batch.target.clone()).square().mean();
            return Losses { total, each: None };
        }
        let each = match (self.loss, schedule_of(&self.bound.parameterisation)) {
            (Loss::Vlb, Some(schedule)) => self.bound.of_each(schedule, output, batch, false),
            (Loss::Hybrid, Some(schedule)) => {
                let simple = self.squared_error(output.clone(), batch);
                simple + self.bound.of_each(schedule, output, batch, true) * BOUND_SHARE
            }
            // Without timesteps there is no bound, and a config that asks for it is refused.
            (Loss::Simple | Loss::Vlb | Loss::Hybrid, _) => self.squared_error(output, batch),
        };
        Losses { total: batch.mean(each.clone()), each: self.each.then(|| each.detach().inner()) }
    }

    /// The weighted mean squared error of each sample, `[N]`.
    fn squared_error(&self, output: Tensor<4>, batch: &Batch) -> Tensor<1> {
        let [n, c, h, w] = batch.target.dims();
        let error = output.narrow(1, 0, c) - batch.target.clone();
        let each = error.square().reshape([n, c * h * w]).mean_dim(1).reshape([n]);
        let Parameterisation { process, .. } = &self.bound.parameterisation;
        let weight =
            |time| self.weighting.weight(&self.bound.parameterisation, process.level(time)) as f32;
        let weights: Vec<f32> = batch.draws.iter().map(|draw| weight(draw.time)).collect();
        each.clone() * Tensor::from_data(TensorData::new(weights, [n]), &each.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::times::Draw;
    use burn::tensor::Device;
    use serde_json::Value;
    use sumi_testkit::{assert_close, golden, relative_error};

    fn config(process: &str, objective: &str) -> RunConfig {
        let text = format!(
            "[data]\nkind = \"digits\"\n[process]\n{process}\n[objective]\n{objective}\n[network]\n\
             kind = \"unet\"\nchannels = [32]\nblocks = 1\nattention = [false]\n[train]\nsteps = 1\n\
             [sample]\nevery = 0\n"
        );
        RunConfig::parse(&text, "test", &[]).unwrap()
    }

    fn objective(config: &RunConfig, white: u8) -> Objective {
        Objective::new(config, &config.scheduler().parameterisation().unwrap(), white)
    }

    fn upload(values: &[f64], channels: usize, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let n = values.len() / (4 * channels);
        Tensor::from_data(TensorData::new(values, [n, channels, 2, 2]), device)
    }

    fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
        x.try_into_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
    }

    fn batch(target: &[f64], x0: Option<&[f64]>, draws: Vec<Draw>, device: &Device) -> Batch {
        Batch {
            x_t: upload(target, 1, device),
            target: upload(target, 1, device),
            x0: x0.map(|x0| upload(x0, 1, device)),
            timesteps: Vec::new(),
            draws,
            classes: Vec::new(),
        }
    }

    fn draws(times: &[f64]) -> Vec<Draw> {
        times.iter().map(|&time| Draw { time, importance: 1.0 }).collect()
    }

    /// Held against torch.distributions and torch.autograd: `testdata/objective.py`.
    #[test]
    fn the_bound_and_its_gradient_are_torchs() {
        let device = Device::flex().autodiff();
        let golden = golden::load("testdata/objective.json");
        let number = |field: &str| golden[field].as_f64().unwrap();
        let x0 = golden::numbers(&golden["x0"]);
        let times = golden::numbers(&golden["timesteps"]);
        for case in golden["cases"].as_array().unwrap() {
            let text = |field: &str| case[field].as_str().unwrap();
            let process = format!(
                "timesteps = {}\nbeta_start = {}\nbeta_end = {}\nprediction = \"{}\"\nvariance = \"{}\"",
                number("T"),
                number("beta_start"),
                number("beta_end"),
                text("prediction"),
                text("variance")
            );
            let config = config(&process, &format!("loss = \"{}\"", text("loss")));
            let objective = objective(&config, number("white") as u8);
            let target = golden::numbers(&case["target"]);
            let batch = batch(&target, Some(&x0), draws(&times), &device);
            let output = golden::numbers(&case["output"]);
            let channels = output.len() / target.len();
            let output = upload(&output, channels, &device).require_grad();

            let objective = Objective { each: true, ..objective };
            let losses = objective.losses(output.clone(), &batch);
            let name = format!("{} {} {}", text("prediction"), text("variance"), text("loss"));
            // f32: 1e-7 an operation, and up to 100 times that in differences of close cdfs.
            let bound = 2e-5;
            let each = host(losses.each.unwrap());
            let error = relative_error(&each, &golden::numbers(&case["each"]));
            assert!(error < bound, "{name}: losses {each:?} by {error}");
            let mut gradients = losses.total.backward();
            let gradient = host(output.grad_remove(&mut gradients).unwrap());
            let error = relative_error(&gradient, &golden::numbers(&case["gradient"]));
            assert!(error < bound, "{name}: gradient by {error}");
            if let (Value::String(loss), 2) = (&case["loss"], channels)
                && loss == "hybrid"
            {
                // The bound is in the variance's gradient alone.
                assert!(gradient.iter().skip(4).take(4).any(|g| g.abs() > 1e-6), "{name}");
            }
        }
    }

    #[test]
    fn weights_and_importance_scale_each_samples_error() {
        let device = Device::flex().autodiff();
        let config = config("prediction = \"v\"", "weighting = \"min-snr\"");
        let objective = Objective { each: true, ..objective(&config, 16) };
        let target = [0.0; 8];
        let mut draws = draws(&[10.0, 900.0]);
        draws[1].importance = 3.0;
        let batch = batch(&target, None, draws, &device);
        let output = upload(&[1.0, -1.0, 1.0, 1.0, 2.0, 2.0, -2.0, 2.0], 1, &device);
        let losses = objective.losses(output, &batch);
        let snr = |t| objective.bound.parameterisation.process.level(t).snr();
        let weight = |t| f64::min(snr(t), 5.0) / (snr(t) + 1.0);
        let expected = [weight(10.0), 4.0 * weight(900.0)];
        let each = host(losses.each.unwrap());
        assert_close(&each, &expected, 1e-6);
        let total = host(losses.total.inner())[0];
        assert_close(&[total], &[(expected[0] + 3.0 * expected[1]) / 2.0], 1e-6);
    }

    #[test]
    fn asking_for_each_loss_changes_nothing_but_rounding() {
        let device = Device::flex().autodiff();
        let plain = objective(&config("", ""), 16);
        let asked = Objective { each: true, ..plain.clone() };
        let batch = batch(&[0.5, -1.0, 0.3, 0.2], None, draws(&[7.0]), &device);
        let output = upload(&[0.4, 0.0, 2.0, 0.1], 1, &device);
        assert!(plain.losses(output.clone(), &batch).each.is_none());
        let total = |o: &Objective| host(o.losses(output.clone(), &batch).total.inner());
        assert_close(&total(&asked), &total(&plain), 1e-6);
    }
}
