//! Drawing pictures, batch after batch.

use crate::guide::{self, Guides};
use crate::{Batch, ByClassifier, Edit, Guidance, Model, ModelError, Plan, TorchNoise};
use burn::tensor::{Tensor, TensorData};
use sumi_process::NoiseLevel;
use sumi_sampler::{Clip, Denoiser, Grid, Inpaint, Linked, Observer, Region, Run, State};

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
    /// The states it started from: the same at the first level, with what an edit puts there.
    pub start: Vec<f32>,
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
    grid: Grid,
    classes: Option<usize>,
    request: Request,
    edit: Option<Edit>,
    guides: Guides<'a>,
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
        Self::of_classes(model, plan, request, model.classes())
    }

    /// The same, led to the classes by a classifier; the model need not know any.
    ///
    /// # Errors
    /// As [`Generator::new`], a classifier of other pictures or classes.
    pub fn by_classifier(
        model: &'a Model,
        plan: &'a Plan,
        request: Request,
        guide: ByClassifier<'a>,
    ) -> Result<Self, ModelError> {
        guide.check(model)?;
        let classes = Some(guide.classifier.classes());
        let mut generator = Self::of_classes(model, plan, request, classes)?;
        generator.guides.classifier = Some(guide);
        Ok(generator)
    }

    fn of_classes(
        model: &'a Model,
        plan: &'a Plan,
        request: Request,
        classes: Option<usize>,
    ) -> Result<Self, ModelError> {
        let dims = model.picture_dims()?;
        for (field, found, most) in
            [("count", request.count, MAX_COUNT), ("batch", request.batch, MAX_BATCH)]
        {
            if !(1..=most).contains(&found) {
                return Err(ModelError::request(field, format!("1 to {most}"), found));
            }
        }
        if let Classes::One(class) = request.classes {
            match classes {
                None => {
                    let expected = "nothing (the model has no classes)";
                    return Err(ModelError::request("class", expected, class));
                }
                Some(_) if model.null_class() == Some(class) => {}
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
        let (grid, guides) = (plan.grid.clone(), Guides::default());
        Ok(Self { model, plan, grid, classes, request, edit: None, guides, dims, next: 0 })
    }

    /// Every sample starts from a picture.
    ///
    /// # Errors
    /// A picture of another size, a strength out of range, resampling without a region.
    pub fn edited(mut self, edit: Edit) -> Result<Self, ModelError> {
        self.grid = edit.check(self.dims, &self.plan.grid)?;
        self.edit = Some(edit);
        Ok(self)
    }

    /// Goes further than the model, away from a weaker opinion.
    ///
    /// # Errors
    /// A model without a class that means none, a weaker model of other pictures, a number out of
    /// range.
    pub fn guided(mut self, guidance: Guidance<'a>) -> Result<Self, ModelError> {
        self.guides.away = Some((guidance, guide::check(self.model, &guidance)?));
        Ok(self)
    }

    /// How many steps each batch takes.
    pub fn steps(&self) -> usize {
        match self.edit.as_ref().and_then(|edit| edit.resampling) {
            Some(resampling) => resampling.steps(&self.grid),
            None => self.grid.len(),
        }
    }

    /// The level that samples start from: the clean one where there is no step to take.
    pub fn first_level(&self) -> NoiseLevel {
        self.grid.intervals.first().map_or(NoiseLevel::CLEAN, |interval| interval.from)
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
        let mut stream = self.streams(first, n);
        let noise = match &self.request.noise {
            Some(given) => given[first * each..(first + n) * each].to_vec(),
            None => stream.normals(each),
        };
        let classes = self.classes_of(first, n);
        let device = self.model.unet.device();
        let eps = Batch(Tensor::from_data(TensorData::new(noise.clone(), [n, c, h, w]), &device));
        let edit = self.edit.as_ref();
        let region = edit.and_then(|edit| edit.region([n, c, h, w], &device));
        let x = match edit {
            Some(edit) => {
                let init = edit.init(n, self.dims, &device);
                edit.start(&eps, (&init, region.as_ref()), &self.grid)
            }
            None => eps.combine(self.grid.start_std, &eps, 0.0),
        };
        let start = x.to_vec();
        let samples = self.run(x, &classes, &mut stream, (first, region.as_ref(), observer))?;
        let samples = match &region {
            // A grid that does not end clean leaves noise on what is known, too.
            Some(region) => region.finish(&samples),
            None => samples,
        };
        let samples = samples.to_vec();
        match samples.chunks(each).position(|sample| sample.iter().any(|x| !x.is_finite())) {
            Some(broken) => Err(ModelError::NotFinite { index: first + broken }),
            None if samples.len() < n * each => Err(ModelError::NotFinite { index: first }),
            None => Ok(Some(Generated { first, noise, start, samples, classes })),
        }
    }

    fn run(
        &self,
        x: Batch,
        classes: &[u32],
        noise: &mut TorchNoise,
        (first, region, observer): (usize, Option<&Region<Batch>>, &mut dyn Observer<Batch>),
    ) -> Result<Batch, ModelError> {
        let grid = &self.grid;
        if grid.is_empty() {
            return Ok(x);
        }
        let inner = self.guides.denoiser(self.model, (self.plan, grid), classes);
        let limited = Clip { inner, limit: self.plan.limit };
        let limited: Box<dyn Denoiser<Batch> + '_> = match self.guides.any() {
            true => Box::new(Linked(limited)),
            false => Box::new(limited),
        };
        let mut denoiser: Box<dyn Denoiser<Batch> + '_> = match region {
            Some(region) => {
                // The sampler's own streams again, from their beginning: it spends their normals on
                // what is redrawn, this on what is known.
                let noise = self.streams(first, x.0.dims()[0]);
                Box::new(Inpaint { inner: limited, region, noise })
            }
            None => limited,
        };
        let mut run = Run { denoiser: &mut *denoiser, grid, noise, observer };
        let (sampler, edit) = (self.plan.sampler, self.edit.as_ref());
        Ok(match edit.and_then(|edit| edit.resampling) {
            Some(resampling) => resampling.sample(x, &mut run, sampler)?,
            None => sampler.sample(x, &mut run)?,
        })
    }

    /// One stream a sample.
    fn streams(&self, first: usize, n: usize) -> TorchNoise {
        TorchNoise::new(self.request.seed.wrapping_add(first as u64), n)
    }

    fn classes_of(&self, first: usize, n: usize) -> Vec<u32> {
        let Some(known) = self.classes else { return Vec::new() };
        (first..first + n)
            .map(|i| match self.request.classes {
                Classes::All => (i % known) as u32,
                Classes::One(class) => class,
            })
            .collect()
    }
}
