//! From Burn's CPU tensors to slices and back.

use burn::{
    backend::{DispatchDevice, Flex, TensorMetadata},
    tensor::{Bytes, DType, Device, Shape, Tensor},
};
use burn_flex::{FlexTensor, Layout};

/// Whether the tensors all live on the CPU backend, in `f32`.
pub(crate) fn is_fast(tensors: &[(Device, DType)]) -> bool {
    tensors.iter().all(|(device, dtype)| {
        *dtype == DType::F32
            && match device.as_dispatch() {
                DispatchDevice::Flex(_) => true,
                DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
                #[allow(unreachable_patterns)]
                _ => false,
            }
    })
}

/// What [`is_fast`] asks of a tensor.
pub(crate) fn kind<const D: usize>(x: &Tensor<D>) -> (Device, DType) {
    (x.device(), x.dtype())
}

/// A tensor whose numbers lie in order.
pub(crate) struct Contiguous(FlexTensor);

impl Contiguous {
    /// Copies only where the tensor is a view with other strides.
    pub(crate) fn new(x: FlexTensor) -> Self {
        if x.layout().contiguous_offsets().is_some() { Self(x) } else { Self(x.to_contiguous()) }
    }

    /// Its numbers.
    pub(crate) fn slice(&self) -> &[f32] {
        let all = self.0.storage::<f32>();
        match self.0.layout().contiguous_offsets() {
            Some((start, end)) => &all[start..end],
            None => all,
        }
    }

    /// Its numbers, taken over where nothing else holds them.
    pub(crate) fn into_owned(self) -> FlexTensor {
        let whole = self.slice().len() == self.0.storage::<f32>().len();
        if whole && self.0.is_unique() {
            return self.0;
        }
        tensor(self.slice().to_vec(), self.0.shape())
    }
}

/// A tensor of these numbers.
pub(crate) fn tensor(data: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(data), Layout::contiguous(shape), DType::F32)
}

/// The extents of a tensor.
pub(crate) fn dims<const D: usize>(x: &FlexTensor) -> [usize; D] {
    x.shape().dims()
}

/// The CPU tensor inside; [`is_fast`] must hold, and no differentiation.
pub(crate) fn primitive<const D: usize>(x: Tensor<D>) -> Contiguous {
    match x.try_into_primitive::<Flex>() {
        Ok(x) => Contiguous::new(x),
        Err(error) => unreachable!("a CPU tensor outside differentiation: {error:?}"),
    }
}

/// The reverse of [`primitive`].
pub(crate) fn wrap<const D: usize>(x: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(x)
}
