//! How likely pictures are under a model.

use crate::{Batch, Model, ModelError, TorchNoise, UNetDenoiser};
use burn::tensor::{Tensor, TensorData};
use sumi_process::{
    Parameterisation, Prediction, Process, ReverseVariance, dequantised_bits_per_dim,
};
use sumi_random::{PerSample, TorchCpu};
use sumi_sampler::likelihood::{Bound, OdeLikelihood, Progress, VariationalBound};
use sumi_sampler::{Clip, Limit, State};

/// A batch of pictures that are known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// From -1 to 1, `[N, C, H, W]`.
    pub values: &'a [f32],
    /// The class of each, for a model with classes.
    pub classes: &'a [u32],
    /// How many values a pixel can have: 256 for bytes.
    pub levels: usize,
    /// Picture `i` draws from a PyTorch-compatible generator of seed `seed + i`.
    pub seed: u64,
}

/// Says how likely pictures are under a model.
pub struct Likelihood<'a> {
    model: &'a Model,
    parameterisation: Parameterisation,
    dims: [usize; 3],
}

/// Bits/dim by the probability-flow ODE.
#[derive(Clone, Debug, PartialEq)]
pub struct DensityBits {
    /// Of each picture.
    pub bits: Vec<f64>,
    /// How often the network and its derivative were asked for.
    pub evaluations: usize,
}

impl<'a> Likelihood<'a> {
    /// For a model that says how large its pictures are.
    ///
    /// # Errors
    /// A configuration that cannot be served.
    pub fn new(model: &'a Model) -> Result<Self, ModelError> {
        let parameterisation = model.scheduler.parameterisation().map_err(ModelError::scheduler)?;
        Ok(Self { model, parameterisation, dims: model.picture_dims()? })
    }

    /// The variational bound of each picture, term by term, in bits/dim; the estimate of `x_0` is held
    /// in range as `limit` says.
    ///
    /// # Errors
    /// A model that is not a table of timesteps, pictures that do not fit it, a bound that is not
    /// finite, or the wish to stop.
    pub fn bound(
        &self,
        known: Known<'_>,
        limit: Limit,
        progress: Progress<'_>,
    ) -> Result<Bound, ModelError> {
        let Process::Discrete(schedule) = &self.parameterisation.process else {
            let expected = "ode: this model's process is continuous, and the bound is over a table \
                            of timesteps";
            return Err(ModelError::request("method", expected, "vlb"));
        };
        let variance = self.variance()?;
        let x0 = self.batch(known)?;
        let mut noise = TorchNoise::new(known.seed, known.values.len() / self.picture_len());
        let mut denoiser = Clip { inner: self.denoiser(known), limit };
        let bound = VariationalBound { schedule, variance, levels: known.levels }.measure(
            &x0,
            &mut denoiser,
            &mut noise,
            progress,
        )?;
        finite(&bound.totals())?;
        Ok(bound)
    }

    /// Bits/dim of each picture by the probability-flow ODE, with noise spread evenly over each value's
    /// bin; see [`dequantised_bits_per_dim`] and [`OdeLikelihood`].
    ///
    /// # Errors
    /// A tolerance that cannot be held, pictures that do not fit the model, bits that are not finite, or
    /// the wish to stop.
    pub fn density(
        &self,
        known: Known<'_>,
        tolerance: f64,
        progress: Progress<'_>,
    ) -> Result<DensityBits, ModelError> {
        // The largest asks for nothing, the smallest is finer than f64 can tell.
        if !(1e-12..=0.1).contains(&tolerance) {
            return Err(ModelError::request("tolerance", "a number from 1e-12 to 0.1", tolerance));
        }
        if self.parameterisation.prediction == Prediction::Mean {
            let expected = "vlb, the only one for a model that predicts the mean";
            return Err(ModelError::request("method", expected, "ode"));
        }
        let each = self.picture_len();
        let half_bin = 1.0 / (known.levels as f32 - 1.0);
        let mut values = known.values.to_vec();
        let mut streams = Vec::new();
        for (i, picture) in values.chunks_mut(each).enumerate() {
            let mut stream = TorchCpu::new(known.seed.wrapping_add(i as u64));
            picture.iter_mut().for_each(|x| *x += (2.0 * stream.uniform_f32() - 1.0) * half_bin);
            streams.push(stream);
        }
        let x = self.batch(Known { values: &values, ..known })?;
        let mut noise = TorchNoise::from(PerSample::from(streams));
        let found = OdeLikelihood::new(&self.parameterisation.process, tolerance).measure(
            &x,
            &mut self.denoiser(known),
            &mut noise,
            progress,
        )?;
        let bits =
            found.nats.iter().map(|&nats| dequantised_bits_per_dim(nats, each, known.levels));
        let bits: Vec<f64> = bits.collect();
        finite(&bits)?;
        Ok(DensityBits { bits, evaluations: found.evaluations })
    }

    fn picture_len(&self) -> usize {
        self.dims.iter().product()
    }

    fn variance(&self) -> Result<ReverseVariance, ModelError> {
        self.model.scheduler.reverse_variance().map_err(ModelError::scheduler)
    }

    fn denoiser<'b>(&'b self, known: Known<'b>) -> UNetDenoiser<'b> {
        let classes = self.model.unet.classes().map(|_| known.classes.to_vec());
        UNetDenoiser::new(&self.model.unet, classes, &self.parameterisation, None)
    }

    /// The pictures on the model's device, after they have shown that they fit it.
    fn batch(&self, known: Known<'_>) -> Result<Batch, ModelError> {
        let [c, h, w] = self.dims;
        let each = self.picture_len();
        let n = known.values.len() / each;
        if n == 0 || known.values.len() != n * each {
            let expected = format!("pictures of {c} x {h} x {w}, {each} values each");
            return Err(ModelError::request("data", expected, known.values.len()));
        }
        if known.levels < 2 {
            return Err(ModelError::request("levels", "at least 2", known.levels));
        }
        if let Some(classes) = self.model.unet.classes() {
            let fits = |class: &&u32| (**class as usize) < classes;
            let found = known.classes.iter().filter(fits).count();
            if found != n || known.classes.len() != n {
                let expected = format!("a class below {classes} for each of {n} pictures");
                return Err(ModelError::request("data", expected, format!("{found}")));
            }
        }
        let data = TensorData::new(known.values.to_vec(), [n, c, h, w]);
        let batch = Batch(Tensor::from_data(data, &self.model.unet.device()));
        // A device that lost the pictures would answer with none.
        match batch.samples().len() == n {
            true => Ok(batch),
            false => {
                Err(ModelError::request("data", format!("{n} pictures on the device"), "none"))
            }
        }
    }
}

fn finite(bits: &[f64]) -> Result<(), ModelError> {
    match bits.iter().position(|bits| !bits.is_finite()) {
        Some(index) => Err(ModelError::NotFinite { index }),
        None => Ok(()),
    }
}
