//! Batch normalisation, folded into the convolutions before it.

use crate::parameters::check_shape;
use crate::{LoadError, Precision, Weights};
use burn::tensor::TensorData;
use std::collections::BTreeMap;

/// Which of a file's layers a layer of a network is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The convolution or linear layer: `layer.weight`.
    pub layer: String,
    /// The batch normalisation after it, if there is one: `norm.weight`, `norm.bias`, `norm.running_mean`,
    /// `norm.running_var`. The layer then has no bias in the file.
    pub norm: Option<String>,
}

/// A file's tensors for a network whose convolutions have a bias where the file's have a batch normalisation, in use
/// (Ioffe and Szegedy, Batch Normalization, section 3.1):
/// `scale[o] = gamma[o] / sqrt(running_var[o] + eps)`,
/// `weight'[o] = scale[o] weight[o]`, `bias'[o] = beta[o] - scale[o] running_mean[o]`, computed in `f64`.
pub struct FoldedNorms<'a, W, S, I> {
    weights: &'a mut W,
    eps: f64,
    source: S,
    ignored: I,
    /// The biases of layers whose weight was taken.
    biases: BTreeMap<String, Vec<f32>>,
}

impl<'a, W, S, I> FoldedNorms<'a, W, S, I>
where
    W: Weights,
    S: Fn(&str) -> Source,
    I: Fn(&str) -> bool,
{
    /// `source` says what a layer of the network is made of, by its path; a tensor of the file that `ignored` says so of may
    /// be left over.
    pub fn new(weights: &'a mut W, eps: f64, source: S, ignored: I) -> Self {
        Self { weights, eps, source, ignored, biases: BTreeMap::new() }
    }

    /// The file's tensor for a parameter of the network.
    fn stored(&self, name: &str) -> String {
        let (layer, field) = name.rsplit_once('.').unwrap_or((name, ""));
        let Source { layer, norm } = (self.source)(layer);
        match norm {
            Some(norm) if field == "bias" => format!("{norm}.bias"),
            _ => format!("{layer}.{field}"),
        }
    }

    /// One of a normalisation's vectors.
    fn vector(&mut self, norm: &str, field: &str, channels: usize) -> Result<Vec<f64>, LoadError> {
        let name = format!("{norm}.{field}");
        check_shape(self.weights, &name, &[channels])?;
        numbers(self.weights.take(&name, Precision::F32)?, &name)
    }

    /// The weight of `layer` of the network, scaled; its bias is kept until it is asked for.
    fn fold(
        &mut self,
        path: &str,
        layer: &str,
        norm: &str,
        precision: Precision,
    ) -> Result<TensorData, LoadError> {
        let name = format!("{layer}.weight");
        let data = self.weights.take(&name, Precision::F32)?;
        let shape = data.shape().to_vec();
        let channels = shape.first().copied().unwrap_or(0);
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|f| self.vector(norm, f, channels));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        if let Some(least) = variance.iter().find(|&&variance| variance + self.eps <= 0.0) {
            return Err(LoadError::Unreadable(format!(
                "tensor \"{norm}.running_var\": expected variances, found {least}"
            )));
        }
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(g, v)| g / (v + self.eps).sqrt()).collect();
        let bias = (0..channels).map(|o| (beta[o] - scale[o] * mean[o]) as f32).collect();
        self.biases.insert(path.to_string(), bias);
        let weight = numbers(data, &name)?;
        let taps = (weight.len() / channels.max(1)).max(1);
        let weight: Vec<f32> =
            weight.iter().enumerate().map(|(i, w)| (scale[i / taps] * w) as f32).collect();
        Ok(TensorData::new(weight, shape).convert_dtype(precision.dtype()))
    }
}

fn numbers(data: TensorData, name: &str) -> Result<Vec<f64>, LoadError> {
    let unreadable = |why| LoadError::Unreadable(format!("tensor \"{name}\": {why:?}"));
    let values = data.try_to_vec::<f32>().map_err(unreadable)?;
    Ok(values.into_iter().map(f64::from).collect())
}

impl<W, S, I> Weights for FoldedNorms<'_, W, S, I>
where
    W: Weights,
    S: Fn(&str) -> Source,
    I: Fn(&str) -> bool,
{
    fn shape_of(&self, name: &str) -> Option<Vec<usize>> {
        // A bias is what the weight's normalisation left; that is taken already.
        let folded = name.strip_suffix(".bias").and_then(|path| self.biases.get(path));
        match folded {
            Some(bias) => Some(vec![bias.len()]),
            None => self.weights.shape_of(&self.stored(name)),
        }
    }

    fn take(&mut self, name: &str, precision: Precision) -> Result<TensorData, LoadError> {
        let (path, field) = name.rsplit_once('.').unwrap_or((name, ""));
        let Source { layer, norm } = (self.source)(path);
        match (norm, field) {
            (Some(norm), "weight") => self.fold(path, &layer, &norm, precision),
            (Some(_), "bias") if self.biases.contains_key(path) => {
                let bias = self.biases.remove(path).unwrap_or_default();
                let shape = [bias.len()];
                Ok(TensorData::new(bias, shape))
            }
            _ => self.weights.take(&self.stored(name), precision),
        }
    }

    fn left(&self) -> Vec<String> {
        self.weights.left().into_iter().filter(|name| !(self.ignored)(name)).collect()
    }

    fn stored_name(&self, name: &str) -> String {
        self.stored(name)
    }
}
