//! The schedulers that diffusers gives the published models, and what their networks predict.

use super::{Single, Text, UNET, deviation};
use crate::Result;
use crate::checkpoint::{Part, Prediction};
use serde_json::{Value, json};

/// The tensor that tells the two kinds of Stable Diffusion 2 apart.
const TELLING: &str = "output_blocks.11.1.transformer_blocks.0.norm1.bias";

/// From this standard deviation of [`TELLING`] on, the network predicts v: what ComfyUI observed of
/// the published models, and no more than that.
const TELLING_DEVIATION: f64 = 0.09;

impl Single<'_> {
    /// What the network predicts: as asked for, as the file says, or as can be guessed.
    ///
    /// A file may say so in the metadata `modelspec.prediction_type` (Stability's model
    /// specification) or by an empty tensor `v_pred`; one of Stable Diffusion 2 gives a hint in its
    /// weights; everything else predicts the noise.
    pub(super) fn prediction(&mut self) -> Result<Prediction> {
        if let Some(prediction) = self.preferences.prediction {
            return Ok(prediction);
        }
        let saved = self.saved.as_ref().and_then(|saved| saved.parts.get("scheduler"));
        match saved.map(|scheduler| scheduler.config["prediction_type"].as_str()) {
            Some(Some("v_prediction")) => return Ok(Prediction::V),
            Some(Some("sample")) => return Ok(Prediction::Sample),
            Some(_) => return Ok(Prediction::Epsilon),
            None => {}
        }
        let spec = self.state.metadata().get("modelspec.prediction_type");
        if let Some(spec) = spec {
            return Ok(match spec.starts_with('v') {
                true => Prediction::V,
                false => Prediction::Epsilon,
            });
        }
        if self.state.contains("v_pred") {
            return Ok(Prediction::V);
        }
        let inputs = self.state.get(&format!("{UNET}input_blocks.0.0.weight"));
        let inputs = inputs.and_then(|entry| entry.shape().get(1).copied());
        let prediction = match (self.text, inputs) {
            (Text::OpenClip, Some(7)) => return Ok(Prediction::V),
            (Text::OpenClip, Some(4)) => {
                let name = format!("{UNET}{TELLING}");
                match self.state.get(&name) {
                    Some(entry) if deviation(entry, &name)? > TELLING_DEVIATION => Prediction::V,
                    _ => Prediction::Epsilon,
                }
            }
            _ => return Ok(Prediction::Epsilon),
        };
        let assumed = format!(
            "prediction_type {}: the file does not say, and names and shapes are the same for both; \
             guessed from {TELLING}",
            prediction.name()
        );
        if !self.assumed.contains(&assumed) {
            self.assumed.push(assumed);
        }
        Ok(prediction)
    }

    /// The schedulers.
    pub(super) fn schedulers(&mut self, upscaler: bool) -> Result<Vec<(String, Part)>> {
        let prediction = self.prediction()?;
        let (class, config) = match self.text {
            Text::Xl => ("EulerDiscreteScheduler", xl()),
            _ if upscaler => ("DDIMScheduler", upscale()),
            Text::OpenClip => ("DDIMScheduler", ddim()),
            Text::Clip | Text::Bert => ("PNDMScheduler", pndm()),
        };
        let mut found =
            vec![("scheduler".to_owned(), self.scheduler("scheduler", class, config, prediction))];
        if upscaler {
            let name = "low_res_scheduler";
            let part = self.scheduler(name, "DDPMScheduler", low_res(), Prediction::Epsilon);
            found.push((name.to_owned(), part));
        }
        Ok(found)
    }

    fn scheduler(
        &self,
        name: &str,
        class: &str,
        mut config: Value,
        prediction: Prediction,
    ) -> Part {
        config["_class_name"] = class.into();
        config["prediction_type"] = prediction.name().into();
        let mut config = self.config(name, config.as_object().cloned().unwrap_or_default());
        // Who asks for a prediction knows better than what was saved.
        if let (Some(asked), "scheduler") = (self.preferences.prediction, name) {
            config["prediction_type"] = asked.name().into();
        }
        self.part(name, "diffusers", class, config)
    }
}

/// Stable Diffusion 1.5's.
fn pndm() -> Value {
    json!({
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "clip_sample": false, "num_train_timesteps": 1000, "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
    })
}

/// Stable Diffusion 2.1's.
fn ddim() -> Value {
    pndm()
}

/// Stable Diffusion XL's.
fn xl() -> Value {
    json!({
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "clip_sample": false, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "sample_max_value": 1.0, "set_alpha_to_one": false, "skip_prk_steps": true,
        "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": null,
        "use_karras_sigmas": false,
    })
}

/// The x4 upscaler's.
fn upscale() -> Value {
    json!({
        "beta_end": 0.02, "beta_schedule": "scaled_linear", "beta_start": 0.0001,
        "clip_sample": false, "num_train_timesteps": 1000, "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
    })
}

/// How the x4 upscaler's small picture is noised.
fn low_res() -> Value {
    json!({
        "beta_end": 0.02, "beta_schedule": "scaled_linear", "beta_start": 0.0001,
        "clip_sample": true, "num_train_timesteps": 1000, "trained_betas": null,
        "variance_type": "fixed_small",
    })
}
