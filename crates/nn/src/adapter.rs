//! Low-rank adapters beside frozen weights.

use crate::{Conv2d, Linear};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use sumi_kernels::{Added, Padding, Stride};

/// The numbers of one adapter, as a file gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterValues {
    /// `r`.
    pub rank: usize,
    /// `A`, `[r, in]`, or `[r, in * k * k]` beside a convolution, in the order of its own weight.
    pub down: Vec<f32>,
    /// `B`, `[out, r]`.
    pub up: Vec<f32>,
    /// `m`, `[out]`, where the adapter has one (DoRA).
    pub magnitude: Option<Vec<f32>>,
    /// `s`: `alpha / r`, times the weight that the user gave.
    pub scale: f64,
}

/// Something low-rank that is added to a frozen weight, `W' = W + s B A` (Hu et al., LoRA, section
/// 4.1); with a magnitude, `W' = m / |W + s B A| (W + s B A)` with the norm of each row (Liu et al.,
/// DoRA, Eq. 5).
#[derive(Module, Debug)]
pub struct Adapter {
    /// `A`, `[r, in * k * k]`.
    pub down: Param<Tensor<2>>,
    /// `B`, `[out, r]`.
    pub up: Param<Tensor<2>>,
    /// `m`, `[out]`.
    pub magnitude: Option<Param<Tensor<1>>>,
    #[module(skip)]
    scale: f64,
}

/// An adapter does not fit the layer that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The network has no linear layer and no convolution of that path.
    #[error("the network has no layer \"{path}\" that an adapter could be put beside")]
    NoLayer {
        /// What was asked for.
        path: String,
    },
    /// The numbers are too many or too few.
    #[error(
        "the adapter of rank {rank} beside a weight of shape {weight:?}: expected {expected} \
             numbers in \"{tensor}\", found {found}"
    )]
    Shape {
        /// `down`, `up` or `magnitude`.
        tensor: &'static str,
        /// `r`.
        rank: usize,
        /// The layer's.
        weight: Vec<usize>,
        /// What fits.
        expected: usize,
        /// What came.
        found: usize,
    },
}

impl AdapterValues {
    /// Holds the numbers against the shape of a weight, `[out, in]` or `[out, in, k, k]`.
    fn check(&self, weight: &[usize]) -> Result<(), AdapterError> {
        let outputs = weight.first().copied().unwrap_or(0);
        let inputs: usize = weight.iter().skip(1).product();
        let magnitude = self.magnitude.as_ref().map_or(outputs, Vec::len);
        for (tensor, expected, found) in [
            ("down", self.rank.saturating_mul(inputs), self.down.len()),
            ("up", self.rank.saturating_mul(outputs), self.up.len()),
            ("magnitude", outputs, magnitude),
        ] {
            if expected != found || self.rank == 0 {
                let (rank, weight) = (self.rank, weight.to_vec());
                return Err(AdapterError::Shape { tensor, rank, weight, expected, found });
            }
        }
        Ok(())
    }
}

impl Adapter {
    /// An adapter for a weight of that shape, `[out, in]` or `[out, in, k, k]`.
    ///
    /// # Errors
    /// [`AdapterError::Shape`] for numbers that do not fit it.
    pub fn new(
        values: AdapterValues,
        weight: &[usize],
        device: &Device,
    ) -> Result<Self, AdapterError> {
        values.check(weight)?;
        let AdapterValues { rank, down, up, magnitude, scale } = values;
        let (inputs, outputs) = (down.len() / rank, weight[0]);
        Ok(Self {
            down: param(down, [rank, inputs], device),
            up: param(up, [outputs, rank], device),
            magnitude: magnitude.map(|values| param(values, [outputs], device)),
            scale,
        })
    }

    /// `alpha / r`, times the weight that the user gave.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// `s B`, `[out, r]`: the smaller of what could be scaled.
    fn scaled_up(&self) -> Tensor<2> {
        match self.scale {
            1.0 => self.up.val(),
            scale => self.up.val() * scale,
        }
    }

    /// `weight + s B A`.
    fn added_to(&self, weight: Tensor<2>) -> Tensor<2> {
        let added = Added { residual: Some(weight), ..Added::default() };
        // Its second factor is a layer's weight, which it transposes.
        sumi_kernels::linear(self.scaled_up(), self.down.val().transpose(), added)
    }

    /// `m / |W + s B A|`, `[out]`, where there is a magnitude. The norm takes no part in
    /// differentiation (DoRA, section 4.3).
    fn gain(&self, weight: &Tensor<2>) -> Option<Tensor<1>> {
        let magnitude = self.magnitude.as_ref()?.val();
        let norm = self.added_to(weight.clone()).square().sum_dim(1).sqrt().detach();
        Some(magnitude / norm.squeeze_dim(1))
    }
}

fn param<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let value = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    Param::initialized(ParamId::new(), value.set_require_grad(device.is_autodiff()))
}

/// The weight into which adapters are folded one after the other, in `f32`: what the layer computes
/// with them beside it.
///
/// # Shapes
/// `weight` `[out, in * k * k]`, kept.
pub fn folded(weight: Tensor<2>, adapters: &[Adapter]) -> Tensor<2> {
    let frozen = weight.cast(DType::F32);
    adapters.iter().fold(frozen.clone(), |weight, adapter| {
        let sum = adapter.added_to(weight);
        match adapter.gain(&frozen) {
            Some(gain) => sum * gain.unsqueeze_dim(1),
            None => sum,
        }
    })
}

/// A layer that adapters can sit beside.
pub(crate) trait Adapted<const D: usize> {
    /// The adapters, in the order in which they act.
    fn adapters(&self) -> &[Adapter];
    /// What the layer is without them.
    fn product(&self, x: Tensor<D>, added: Added<D>) -> Tensor<D>;
    /// `A x`, `r` channels.
    fn down(&self, x: Tensor<D>, adapter: &Adapter) -> Tensor<D>;
    /// `up h + onto`.
    fn up(h: Tensor<D>, up: Tensor<2>, onto: Tensor<D>) -> Tensor<D>;
    /// The frozen weight as rows, in `f32`.
    fn weight_rows(&self) -> Tensor<2>;

    /// The layer with its adapters.
    fn adapted(&self, x: Tensor<D>, mut added: Added<D>) -> Tensor<D> {
        if self.adapters().is_empty() {
            return self.product(x, added);
        }
        // What the adapters add is held between the bounds too.
        let bounds = std::mem::take(&mut added.bounds);
        bounds.hold(self.with_adapters(x, added))
    }

    /// [`Self::adapted`] without bounds, where there are adapters.
    fn with_adapters(&self, x: Tensor<D>, added: Added<D>) -> Tensor<D> {
        let adapters = self.adapters();
        let low_rank =
            |y, adapter: &Adapter| Self::up(self.down(x.clone(), adapter), adapter.scaled_up(), y);
        if adapters.iter().all(|adapter| adapter.magnitude.is_none()) {
            return adapters.iter().fold(self.product(x.clone(), added), low_rank);
        }
        // A magnitude scales everything but what is added at the end.
        let frozen = self.weight_rows();
        let mut y = self.product(x.clone(), Added::default());
        for adapter in adapters {
            y = low_rank(y, adapter);
            if let Some(gain) = adapter.gain(&frozen) {
                y = y * along_channels(gain.unsqueeze());
            }
        }
        if let Some(bias) = added.bias {
            y = y + along_channels(bias);
        }
        match added.residual {
            Some(residual) => y + residual,
            None => y,
        }
    }
}

/// `[N, C]` to `[N, 1, .., 1, C]`.
fn along_channels<const D: usize>(x: Tensor<2>) -> Tensor<D> {
    let [samples, channels] = x.dims();
    let mut shape = [1; D];
    shape[0] = samples;
    shape[D - 1] = channels;
    x.reshape(shape)
}

impl Adapted<2> for Linear {
    fn adapters(&self) -> &[Adapter] {
        &self.adapters
    }

    fn product(&self, x: Tensor<2>, added: Added<2>) -> Tensor<2> {
        sumi_kernels::linear(x, self.weight.val(), added)
    }

    fn down(&self, x: Tensor<2>, adapter: &Adapter) -> Tensor<2> {
        sumi_kernels::linear(x, adapter.down.val(), Added::default())
    }

    fn up(h: Tensor<2>, up: Tensor<2>, onto: Tensor<2>) -> Tensor<2> {
        sumi_kernels::linear(h, up, Added { residual: Some(onto), ..Added::default() })
    }

    fn weight_rows(&self) -> Tensor<2> {
        self.weight.val().cast(DType::F32)
    }
}

impl Adapted<4> for Conv2d {
    fn adapters(&self) -> &[Adapter] {
        &self.adapters
    }

    fn product(&self, x: Tensor<4>, added: Added<4>) -> Tensor<4> {
        sumi_kernels::conv2d(x, self.weight.val(), added, self.stride())
    }

    /// The window, the padding and the step are the frozen convolution's.
    fn down(&self, x: Tensor<4>, adapter: &Adapter) -> Tensor<4> {
        let [_, inputs, height, width] = self.weight.lazy_shape().dims();
        let down = adapter.down.val();
        let rank = down.dims()[0];
        let down = down.reshape([rank, inputs, height, width]);
        sumi_kernels::conv2d(x, down, Added::default(), self.stride())
    }

    fn up(h: Tensor<4>, up: Tensor<2>, onto: Tensor<4>) -> Tensor<4> {
        let [outputs, rank] = up.dims();
        let stride = Stride { step: 1, padding: Padding::all(0), upsample: false };
        let added = Added { residual: Some(onto), ..Added::default() };
        sumi_kernels::conv2d(h, up.reshape([outputs, rank, 1, 1]), added, stride)
    }

    fn weight_rows(&self) -> Tensor<2> {
        self.weight.val().cast(DType::F32).flatten(1, 3)
    }
}
