//! How fresh parameters get their first values.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use sumi_random::Philox;

/// Makes parameters, each with a random stream of its own, so that a network's first weights
/// depend on the seed and on the order in which its layers are built, and on nothing else.
///
/// Values are drawn when a parameter is first looked at: a network that is only counted, or that
/// is filled from a file, draws none and takes no memory.
pub struct Init {
    device: Device,
    seed: u64,
    next_stream: u64,
}

impl Init {
    /// Parameters on `device`, drawn from streams of `seed`.
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), seed, next_stream: 0 }
    }

    /// Uniform in `[-bound, bound)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let (seed, stream) = (self.seed, self.next_stream);
        self.next_stream += 1;
        self.lazy(shape, move || {
            let mut stream = Philox::new(seed, stream);
            (0..shape.iter().product())
                .map(|_| ((2.0 * f64::from(stream.uniform_f32()) - 1.0) * bound) as f32)
                .collect()
        })
    }

    /// Every element `value`.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.lazy(shape, move || vec![value; shape.iter().product()])
    }

    fn lazy<const D: usize>(
        &self,
        shape: [usize; D],
        values: impl FnOnce() -> Vec<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let init = move |device: &Device, require_grad: bool| {
            Tensor::from_data(TensorData::new(values(), shape), device)
                .set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), init, self.device.clone(), true, Shape::from(shape))
    }
}
