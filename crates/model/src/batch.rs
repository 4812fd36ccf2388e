//! Tensors as the state of a sampler.

use burn::tensor::{Tensor, TensorData};
use sumi_random::{NormalSource, PerSample, TorchCuda};
use sumi_sampler::{Noise, State};

/// A batch of pictures on a device, `[N, C, H, W]`.
#[derive(Clone, Debug)]
pub struct Batch(pub Tensor<4>);

impl Batch {
    /// The values on the host, in order.
    pub fn to_vec(&self) -> Vec<f32> {
        // The dtype is the one that is asked for, so only a lost device can fail here; the empty
        // result is then refused as a sample that is not finite.
        self.0.try_to_vec_as::<f32>().unwrap_or_default()
    }
}

impl State for Batch {
    fn combine(&self, a: f64, other: &Self, b: f64) -> Self {
        let scaled = |x: &Tensor<4>, factor: f64| match factor {
            1.0 => x.clone(),
            _ => x.clone() * factor,
        };
        match (a, b) {
            (0.0, 0.0) => Self(self.0.zeros_like()),
            (_, 0.0) => Self(scaled(&self.0, a)),
            (0.0, _) => Self(scaled(&other.0, b)),
            _ => Self(scaled(&self.0, a) + scaled(&other.0, b)),
        }
    }

    fn times(&self, other: &Self) -> Self {
        Self(self.0.clone() * other.0.clone())
    }

    fn exp(&self) -> Self {
        Self(self.0.clone().exp())
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let values: Vec<f32> = self.to_vec().iter().map(|&x| f(f64::from(x)) as f32).collect();
        Self(Tensor::from_data(TensorData::new(values, self.0.dims()), &self.0.device()))
    }

    fn samples(&self) -> Vec<Vec<f64>> {
        let [n, c, h, w] = self.0.dims();
        let values = self.to_vec();
        let each = values.chunks((c * h * w).max(1));
        each.map(|sample| sample.iter().map(|&x| f64::from(x)).collect()).take(n).collect()
    }

    fn scale_each(&self, factors: &[f64]) -> Self {
        let factors: Vec<f32> = factors.iter().map(|&f| f as f32).collect();
        let data = TensorData::new(factors, [self.0.dims()[0], 1, 1, 1]);
        Self(self.0.clone() * Tensor::from_data(data, &self.0.device()))
    }

    fn clamp(&self, limit: f64) -> Self {
        Self(self.0.clone().clamp(-limit, limit))
    }

    fn threshold(&self, quantile: f64, max: f64) -> Self {
        let dims = self.0.dims();
        let each = dims[1] * dims[2] * dims[3];
        let values: Vec<f32> = self
            .to_vec()
            .chunks(each.max(1))
            .flat_map(|sample| {
                let sample: Vec<f64> = sample.iter().map(|&x| f64::from(x)).collect();
                sample.threshold(quantile, max)
            })
            .map(|x| x as f32)
            .collect();
        Self(Tensor::from_data(TensorData::new(values, dims), &self.0.device()))
    }
}

/// Fresh noise from one PyTorch-compatible generator for each sample.
pub struct TorchNoise {
    streams: Streams,
}

enum Streams {
    Cpu(PerSample),
    Cuda(PerSample<TorchCuda>),
}

impl TorchNoise {
    /// PyTorch's generator on the CPU; that of sample `i` has seed `first_seed + i`.
    pub fn new(first_seed: u64, samples: usize) -> Self {
        Self { streams: Streams::Cpu(PerSample::new(first_seed, samples)) }
    }

    /// PyTorch's generator on a CUDA device.
    pub fn cuda(first_seed: u64, samples: usize) -> Self {
        Self { streams: Streams::Cuda(PerSample::of(first_seed, samples, TorchCuda::new)) }
    }

    /// The next normals of every stream, `[N, each]`.
    pub fn normals(&mut self, each: usize) -> Vec<f32> {
        let (samples, source): (usize, &mut dyn NormalSource) = match &mut self.streams {
            Streams::Cpu(streams) => (streams.len(), streams),
            Streams::Cuda(streams) => (streams.len(), streams),
        };
        let mut values = vec![0.0; samples * each];
        source.fill_normal(&mut values);
        values
    }
}

impl From<PerSample> for TorchNoise {
    /// Goes on with streams that something else was drawn from.
    fn from(streams: PerSample) -> Self {
        Self { streams: Streams::Cpu(streams) }
    }
}

impl Noise<Batch> for TorchNoise {
    fn standard_normal(&mut self, like: &Batch) -> Batch {
        let [n, c, h, w] = like.0.dims();
        let values = self.normals(c * h * w);
        Batch(Tensor::from_data(TensorData::new(values, [n, c, h, w]), &like.0.device()))
    }
}
