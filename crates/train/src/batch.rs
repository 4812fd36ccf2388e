//! Pictures, noised.

use crate::times::{Draw, TimeSampler};
use crate::trainer::{Purpose, stream};
use burn::tensor::{Device, Tensor, TensorData};
use sumi_data::Pictures;
use sumi_process::Parameterisation;
use sumi_random::NormalSource;

/// One batch, noised: everything that is random about a step but dropout.
pub struct Batch {
    /// What the network sees, `[N, C, H, W]`.
    pub x_t: Tensor<4>,
    /// What it is to predict, likewise.
    pub target: Tensor<4>,
    /// The pictures, likewise, where they are asked for.
    pub x0: Option<Tensor<4>>,
    /// What it is told of each time.
    pub timesteps: Vec<f32>,
    /// The times of the process.
    pub draws: Vec<Draw>,
    /// The class of each, or the one that stands for none.
    pub classes: Vec<u32>,
}

/// How pictures become batches.
pub struct Noising<'a> {
    /// Where they come from.
    pub pictures: &'a Pictures,
    /// How noise is added and what is predicted.
    pub parameterisation: &'a Parameterisation,
    /// At which times.
    pub times: &'a TimeSampler,
    /// Whether they are mirrored at random.
    pub flip: bool,
    /// The class that stands for none, and how often it takes another's place.
    pub null_class: Option<(u32, f64)>,
    /// Whether the pictures themselves are wanted too.
    pub keeps_pictures: bool,
    /// Every stream of random numbers is a function of the seed, its purpose and the step.
    pub seed: u64,
    /// To where.
    pub device: &'a Device,
}

impl Noising<'_> {
    /// The pictures at `indices`, noised for step number `step`.
    pub fn batch(&self, step: u64, indices: &[usize]) -> Batch {
        let Pictures { channels: c, height_px: h, width_px: w, .. } = *self.pictures;
        let (n, each) = (indices.len(), c * h * w);
        let Parameterisation { process, .. } = self.parameterisation;
        let mut times = stream(self.seed, Purpose::Timesteps, step);
        let mut flips = stream(self.seed, Purpose::Flips, step);
        let mut conditions = stream(self.seed, Purpose::Conditions, step);
        let mut eps = vec![0.0; n * each];
        stream(self.seed, Purpose::Noise, step).fill_normal(&mut eps);

        let draws = self.times.draw(process, n, &mut times);
        let mut x_t = Vec::with_capacity(eps.len());
        let mut target = Vec::with_capacity(eps.len());
        let mut pictures = Vec::new();
        let mut timesteps = Vec::with_capacity(n);
        let mut classes = Vec::with_capacity(n);
        for ((&index, eps), draw) in indices.iter().zip(eps.chunks(each)).zip(&draws) {
            let x0 = model_range(self.pictures, index, self.flip && flips.bernoulli(0.5));
            let level = process.level(draw.time);
            let scale = self.parameterisation.input_scale(level);
            let (alpha, sigma) = ((scale * level.alpha) as f32, (scale * level.sigma) as f32);
            x_t.extend(x0.iter().zip(eps).map(|(x0, eps)| alpha * x0 + sigma * eps));
            let of = self.parameterisation.target(level);
            let (of_x0, of_eps) = (of.first as f32, of.second as f32);
            target.extend(x0.iter().zip(eps).map(|(x0, eps)| of_x0 * x0 + of_eps * eps));
            timesteps.push(self.parameterisation.network_time(level) as f32);
            classes.push(match self.null_class {
                Some((null, share)) if conditions.bernoulli(share) => null,
                _ => self.pictures.labels[index],
            });
            if self.keeps_pictures {
                pictures.extend(x0);
            }
        }
        let upload = |values: Vec<f32>| {
            Tensor::from_data(TensorData::new(values, [n, c, h, w]), self.device)
        };
        let x0 = self.keeps_pictures.then(|| upload(pictures));
        Batch { x_t: upload(x_t), target: upload(target), x0, timesteps, draws, classes }
    }
}

impl Batch {
    /// The mean of a loss of each sample, `[N]`, each counted by its importance.
    pub fn mean(&self, each: Tensor<1>) -> Tensor<1> {
        if self.draws.iter().all(|draw| draw.importance == 1.0) {
            return each.mean();
        }
        let importance: Vec<f32> = self.draws.iter().map(|draw| draw.importance as f32).collect();
        let importance = TensorData::new(importance, [self.draws.len()]);
        (each.clone() * Tensor::from_data(importance, &each.device())).mean()
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
