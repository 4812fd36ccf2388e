//! From Burn's CPU tensors to slices and back.

use burn::{
    backend::{DispatchDevice, Flex, TensorMetadata},
    tensor::{DType, Device, Element, Shape, Tensor, bf16, f16},
};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;

use crate::{buffer::Scratch, pool};

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

/// Whether the tensor is a weight that the CPU kernels read: in `f32`, or in half precision and
/// outside differentiation.
pub(crate) fn is_fast_weight<const D: usize>(weight: &Tensor<D>) -> bool {
    let (device, dtype) = kind(weight);
    let half = matches!(dtype, DType::BF16 | DType::F16) && !device.is_autodiff();
    is_fast(&[(device, if half { DType::F32 } else { dtype })])
}

/// The numbers of a weight, as they are stored.
#[derive(Clone, Copy)]
pub(crate) enum Weight<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> From<&'a [f32]> for Weight<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self::F32(numbers)
    }
}

impl Weight<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
        }
    }

    /// `rows` rows of `len` numbers that are `stride` apart, from `first` on: where the first is
    /// and how far apart they are, in `room` if they are not stored in `f32`.
    #[inline(always)]
    pub(crate) fn rows(
        &self,
        first: usize,
        [rows, len, stride]: [usize; 3],
        room: &mut Scratch,
    ) -> (*const f32, usize) {
        if let Self::F32(numbers) = self {
            assert!(rows == 0 || first + (rows - 1) * stride + len <= numbers.len());
            return (numbers[first..].as_ptr(), stride);
        }
        room.resize(rows * len);
        for (row, to) in room.slice().chunks_exact_mut(len.max(1)).enumerate() {
            let part = first + row * stride..first + row * stride + len;
            match self {
                Self::F32(_) => {}
                Self::Bf16(numbers) => widen(&numbers[part], to),
                Self::F16(numbers) => numbers[part].convert_to_f32_slice(to),
            }
        }
        (room.pointer(), len)
    }
}

/// Exact but for the kind of a NaN, for which `half` asks number by number.
#[inline(always)]
fn widen(from: &[bf16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
    }
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
        self.numbers()
    }

    /// Its numbers, as a weight.
    pub(crate) fn weight(&self) -> Weight<'_> {
        match self.0.dtype() {
            DType::BF16 => Weight::Bf16(self.numbers()),
            DType::F16 => Weight::F16(self.numbers()),
            _ => Weight::F32(self.numbers()),
        }
    }

    fn numbers<E: Element + Pod>(&self) -> &[E] {
        let all = self.0.storage::<E>();
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
    FlexTensor::new(pool::bytes(data), Layout::contiguous(shape), DType::F32)
}

/// The extents of a tensor.
pub(crate) fn dims<const D: usize>(x: &FlexTensor) -> [usize; D] {
    x.shape().dims()
}

/// [`unwrap`] with its numbers in order.
pub(crate) fn primitive<const D: usize>(x: Tensor<D>) -> Contiguous {
    Contiguous::new(unwrap(x))
}

/// The CPU tensor inside; [`is_fast`] must hold, and no differentiation.
pub(crate) fn unwrap<const D: usize>(x: Tensor<D>) -> FlexTensor {
    match x.try_into_primitive::<Flex>() {
        Ok(x) => x,
        Err(error) => unreachable!("a CPU tensor outside differentiation: {error:?}"),
    }
}

/// The reverse of [`unwrap`].
pub(crate) fn wrap<const D: usize>(x: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(x)
}
