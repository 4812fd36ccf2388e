//! Drawing pictures, batch after batch.

use crate::{Batch, Model, ModelError, Plan, TorchNoise, UNetDenoiser};
use burn::tensor::{Tensor, TensorData};
use sumi_sampler::{Clip, Observer, Run, State};

/// Which class each sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Classes {
    /// Every class in turn: sample `i` is of class `i mod classes`. For a model without classes,
    /// none.
    #[default]
    All,
    /// All samples of this one.
    One(u32),
}

/// What to draw.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many samples.
    pub count: usize,
    /// How many at a time; the samples do not depend on it. Adaptive samplers take one.
    pub batch: usize,
    /// Sample `i` draws from a PyTorch-compatible generator of seed `seed + i`.
    pub seed: u64,
    /// Which classes.
    pub classes: Classes,
    /// Noise to start from instead of drawing it, `[count, C, H, W]`.
    pub noise: Option<Vec<f32>>,
}

/// One batch of finished samples.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The number of the first.
    pub first: usize,
    /// The standard normals it started from, `[N, C, H, W]`.
    pub noise: Vec<f32>,
    /// In the model's range, not clamped to pixels, `[N, C, H, W]`.
    pub samples: Vec<f32>,
    /// The class of each; empty for a model without classes.
    pub classes: Vec<u32>,
}

/// More would take years, or not fit a machine.
const MAX_COUNT: usize = 1_000_000_000;
const MAX_BATCH: usize = 1 << 16;

/// Draws what a [`Request`] asks for, one batch at a call; nothing of a batch is kept.
pub struct Generator<'a> {
    model: &'a Model,
    plan: &'a Plan,
    request: Request,
    dims: [usize; 3],
    next: usize,
}

impl<'a> Generator<'a> {
    /// Checks the request against the model.
    ///
    /// # Errors
    /// No samples, no batch, a class that the model does not have, noise of another size, a model
    /// that does not say how large its pictures are.
    pub fn new(model: &'a Model, plan: &'a Plan, request: Request) -> Result<Self, ModelError> {
        let dims = model.picture_dims()?;
        for (field, found, most) in
            [("count", request.count, MAX_COUNT), ("batch", request.batch, MAX_BATCH)]
        {
            if !(1..=most).contains(&found) {
                return Err(ModelError::request(field, format!("1 to {most}"), found));
            }
        }
        if let Classes::One(class) = request.classes {
            match model.unet.classes() {
                None => {
                    let expected = "nothing (the model has no classes)";
                    return Err(ModelError::request("class", expected, class));
                }
                Some(classes) if class as usize >= classes => {
                    let expected = format!("0 to {}, or all", classes - 1);
                    return Err(ModelError::request("class", expected, class));
                }
                Some(_) => {}
            }
        }
        if let Some(noise) = &request.noise {
            let expected = request.count * dims.iter().product::<usize>();
            if noise.len() != expected {
                let [c, h, w] = dims;
                let expected = format!("[{}, {c}, {h}, {w}], {expected} values", request.count);
                return Err(ModelError::request("noise", expected, noise.len()));
            }
        }
        Ok(Self { model, plan, request, dims, next: 0 })
    }

    /// Channels, height and width of a sample.
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }

    /// How many samples at a time: one where the steps are those that the batch needs, so that no sample
    /// depends on another.
    fn batch(&self) -> usize {
        if self.plan.sampler.is_adaptive() { 1 } else { self.request.batch }
    }

    /// How many batches there are in all.
    pub fn batches(&self) -> usize {
        self.request.count.div_ceil(self.batch())
    }

    /// The next batch, or `None` after the last. `observer` is told about every step.
    ///
    /// # Errors
    /// A sample that is not finite, or the observer's wish to stop.
    pub fn next_batch(
        &mut self,
        observer: &mut dyn Observer<Batch>,
    ) -> Result<Option<Generated>, ModelError> {
        let first = self.next;
        let n = self.batch().min(self.request.count - first);
        if n == 0 {
            return Ok(None);
        }
        self.next += n;
        let [c, h, w] = self.dims;
        let each = c * h * w;
        let mut stream = TorchNoise::new(self.request.seed.wrapping_add(first as u64), n);
        let noise = match &self.request.noise {
            Some(given) => given[first * each..(first + n) * each].to_vec(),
            None => stream.normals(each),
        };
        let classes = self.classes_of(first, n);
        let x = TensorData::new(noise.clone(), [n, c, h, w]);
        let x = Batch(Tensor::from_data(x, &self.model.unet.device()));
        let x = x.combine(self.plan.grid.start_std, &x, 0.0);
        let samples = self.run(x, &classes, &mut stream, observer)?.to_vec();
        match samples.chunks(each).position(|sample| sample.iter().any(|x| !x.is_finite())) {
            Some(broken) => Err(ModelError::NotFinite { index: first + broken }),
            None if samples.len() < n * each => Err(ModelError::NotFinite { index: first }),
            None => Ok(Some(Generated { first, noise, samples, classes })),
        }
    }

    fn run(
        &self,
        x: Batch,
        classes: &[u32],
        noise: &mut TorchNoise,
        observer: &mut dyn Observer<Batch>,
    ) -> Result<Batch, ModelError> {
        let denoiser = UNetDenoiser {
            unet: &self.model.unet,
            parameterisation: &self.plan.parameterisation,
            grid: Some(&self.plan.grid),
            classes: (!classes.is_empty()).then_some(classes),
        };
        let mut denoiser = Clip { inner: denoiser, limit: self.plan.limit };
        let grid = &self.plan.grid;
        let mut run = Run { denoiser: &mut denoiser, grid, noise, observer };
        Ok(self.plan.sampler.sample(x, &mut run)?)
    }

    fn classes_of(&self, first: usize, n: usize) -> Vec<u32> {
        let Some(known) = self.model.unet.classes() else { return Vec::new() };
        (first..first + n)
            .map(|i| match self.request.classes {
                Classes::All => (i % known) as u32,
                Classes::One(class) => class,
            })
            .collect()
    }
}
