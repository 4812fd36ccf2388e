//! Reproducible noise: PyTorch-compatible generators and counter-based streams, one per sample.
//!
//! | generator | is | used for |
//! |---|---|---|
//! | [`TorchCpu`] | `torch.Generator("cpu")`: MT19937 | sampling, one per sample through [`PerSample`] |
//! | [`TorchCuda`] | `torch.Generator("cuda")`: Philox4x32-10 | noise that others drew on a GPU |
//! | [`NumpyLegacy`] | `numpy.random.RandomState`: MT19937 | subsets, as published metrics draw them |
//! | [`Philox`] | Philox4x32-10 with random access | training: shuffles, timesteps, noise |
//!
//! ```
//! use sumi_random::{NormalSource, PerSample};
//!
//! // Row i depends on seed + i alone, so the batch size cannot change it.
//! let mut both = [0.0; 2 * 16];
//! PerSample::new(7, 2).fill_normal(&mut both);
//! let mut second = [0.0; 16];
//! PerSample::new(8, 1).fill_normal(&mut second);
//! assert_eq!(both[16..], second);
//! ```

mod box_muller;
mod numpy;
mod per_sample;
mod philox;
mod torch_cpu;
mod torch_cuda;

pub use numpy::NumpyLegacy;
pub use per_sample::PerSample;
pub use philox::Philox;
pub use torch_cpu::{StateError, TorchCpu};
pub use torch_cuda::TorchCuda;

/// A stream of standard normal values, z ~ N(0, 1).
pub trait NormalSource {
    /// Overwrites every element of `out` with the next standard normal values of the stream.
    fn fill_normal(&mut self, out: &mut [f32]);
}

impl<S: NormalSource + ?Sized> NormalSource for &mut S {
    fn fill_normal(&mut self, out: &mut [f32]) {
        (**self).fill_normal(out);
    }
}
