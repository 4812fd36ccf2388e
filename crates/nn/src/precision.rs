//! In how many bits the weights are kept.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};

/// The type of the weights that products are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits, as networks are trained.
    #[default]
    F32,
    /// 16 bits with the range of `f32` and 8 significant bits.
    Bf16,
    /// 16 bits with 11 significant bits, up to 65504.
    F16,
}

impl Precision {
    /// Burn's name of the type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// Whether a parameter of `rank` dimensions of a layer such as `Struct:Linear` is one of the weights
/// that [`to_precision`] rounds.
pub(crate) fn is_rounded(layer: &str, rank: usize) -> bool {
    rank >= 2 && matches!(layer, "Struct:Conv2d" | "Struct:Linear" | "Struct:Embedding")
}

/// Rounds the weights of convolutions, linear layers and embeddings to `precision`, for use outside
/// training.
///
/// Biases and normalisations keep their type, and so do activations and sums: a layer's
/// result has the type of its input.
pub fn to_precision<M: Module>(module: M, precision: Precision) -> M {
    module.map(&mut Round { dtype: precision.dtype(), containers: Vec::new() })
}

struct Round {
    dtype: DType,
    /// What each step of the path leads into, such as `Struct:Linear`.
    containers: Vec<String>,
}

impl ModuleMapper for Round {
    fn enter_module(&mut self, _: &str, container: &str) {
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let layer = self.containers.last().map_or("", String::as_str);
        match is_rounded(layer, D) {
            true => param.map(|weight| weight.cast(self.dtype)),
            false => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv2d, Embedding, GroupNorm, Init, Linear};
    use burn::tensor::Device;
    use sumi_kernels::Activation;

    #[derive(Module, Debug)]
    struct Layers {
        conv: Conv2d,
        norm: GroupNorm,
        linear: Vec<Linear>,
        embedding: Embedding,
    }

    #[test]
    fn weights_of_products_are_rounded_and_nothing_else() {
        let device = Device::flex();
        let mut init = Init::new(&device, 1);
        let layers = Layers {
            conv: Conv2d::same(&mut init, [3, 8], 3),
            norm: GroupNorm::new(&mut init, 8, 2, 1e-5),
            linear: vec![Linear::new(&mut init, 8, 5)],
            embedding: Embedding::new(&mut init, 4, 5),
        };
        for (precision, dtype) in [(Precision::Bf16, DType::BF16), (Precision::F16, DType::F16)] {
            let rounded = to_precision(layers.clone(), precision);
            assert_eq!(rounded.conv.weight.val().dtype(), dtype);
            assert_eq!(rounded.linear[0].weight.val().dtype(), dtype);
            for bias in [&rounded.conv.bias, &rounded.linear[0].bias] {
                assert_eq!(bias.as_ref().unwrap().val().dtype(), DType::F32);
            }
            assert_eq!(rounded.norm.weight.val().dtype(), DType::F32);
            assert_eq!(rounded.embedding.weight.val().dtype(), dtype);
            let rows = rounded.embedding.forward(&[3, 0, 3]);
            assert_eq!((rows.dtype(), rows.dims()), (DType::F32, [3, 5]));

            let x = init.uniform([2, 6, 6, 3], 1.0).val();
            let y = rounded.norm.forward(rounded.conv.forward(x), Activation::Silu);
            let y = rounded.linear[0].forward(y.mean_dim(1).mean_dim(2).reshape([2, 8]));
            assert_eq!((y.dtype(), y.dims()), (DType::F32, [2, 5]));
        }
        let tensors = || -> std::collections::BTreeMap<String, (Vec<usize>, Vec<f32>)> {
            let named = |p: crate::NamedParameter| {
                (p.name, (p.shape, p.values.try_to_vec_as::<f32>().unwrap()))
            };
            crate::parameters(&layers).into_iter().map(named).collect()
        };
        let rounded = to_precision(layers.clone(), Precision::Bf16);
        let loaded = crate::load(layers.clone(), &mut tensors(), Precision::Bf16).unwrap();
        assert!(loaded.conv.weight.val().into_data() == rounded.conv.weight.val().into_data());
        assert!(loaded.norm.weight.val().into_data() == rounded.norm.weight.val().into_data());
        let (a, b) = (loaded.embedding.weight.val(), rounded.embedding.weight.val());
        assert!(a.into_data() == b.into_data());

        let same = to_precision(layers.clone(), Precision::F32);
        let weights = |layers: &Layers| layers.conv.weight.val().into_data();
        assert!(weights(&same) == weights(&layers));
    }
}
