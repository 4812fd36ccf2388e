//! The smallest layers.

use crate::adapter::Adapted;
use crate::{Adapter, Init, Pass};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};
use sumi_kernels::{Activation, Added, Bounds, GroupStatistics, Padding, Stride};

/// PyTorch's default bound for weights and biases, `1 / sqrt(fan_in)`.
fn default_bound(fan_in: usize) -> f64 {
    (fan_in as f64).powf(-0.5)
}

/// `y = x weight^T + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What is learned beside the weight; mostly nothing.
    pub adapters: Vec<Adapter>,
}

impl Linear {
    /// PyTorch's default initialisation.
    pub fn new(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        let bound = default_bound(inputs);
        Self {
            weight: init.uniform([outputs, inputs], bound),
            bias: Some(init.uniform([outputs], bound)),
            adapters: Vec::new(),
        }
    }

    /// All zeros, for a layer that a residual connection passes by.
    pub fn zeros(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        Self {
            weight: init.constant([outputs, inputs], 0.0),
            bias: Some(init.constant([outputs], 0.0)),
            adapters: Vec::new(),
        }
    }

    /// PyTorch's default initialisation, without a bias.
    pub fn without_bias(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        let weight = init.uniform([outputs, inputs], default_bound(inputs));
        Self { weight, bias: None, adapters: Vec::new() }
    }

    /// # Shapes
    /// `[R, in]` to `[R, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_onto(x, None)
    }

    /// Adds `residual` to the result.
    ///
    /// # Shapes
    /// `[R, in]` to `[R, out]`, which is the residual's shape too.
    pub fn forward_onto(&self, x: Tensor<2>, residual: Option<Tensor<2>>) -> Tensor<2> {
        let bias = self.bias.as_ref().map(|bias| bias.val().unsqueeze());
        self.adapted(x, Added { bias, residual, ..Added::default() })
    }
}

/// A 2-D convolution.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, k, k]`, or `[out, 1, k, k]` where every channel is convolved by itself.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What is learned beside the weight; mostly nothing.
    pub adapters: Vec<Adapter>,
    #[module(skip)]
    stride: Stride,
}

impl Conv2d {
    /// PyTorch's default initialisation.
    pub fn new(
        init: &mut Init,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: Stride,
    ) -> Self {
        Self::shaped(init, [outputs, inputs, kernel, kernel], stride)
    }

    /// [`Conv2d::new`] with a weight of that shape: a kernel of any height and width, or of each channel by itself.
    pub fn shaped(init: &mut Init, weight: [usize; 4], stride: Stride) -> Self {
        let bound = default_bound(weight[1..].iter().product());
        let (outputs, weight) = (weight[0], init.uniform(weight, bound));
        let bias = init.uniform([outputs], bound);
        Self { weight, bias: Some(bias), adapters: Vec::new(), stride }
    }

    /// [`Conv2d::new`] with stride 1, the size kept.
    pub fn same(init: &mut Init, channels: [usize; 2], kernel: usize) -> Self {
        Self::new(init, channels, kernel, Self::same_size(kernel))
    }

    /// Patches of so many pixels on a side, none of which overlap, without a bias.
    pub fn patches(init: &mut Init, [inputs, outputs]: [usize; 2], side_px: usize) -> Self {
        let bound = default_bound(inputs * side_px * side_px);
        let weight = init.uniform([outputs, inputs, side_px, side_px], bound);
        let stride = Stride { step: side_px, padding: Padding::all(0), upsample: false };
        Self { weight, bias: None, adapters: Vec::new(), stride }
    }

    /// All zeros, stride 1, the size kept.
    pub fn zeros(init: &mut Init, [inputs, outputs]: [usize; 2], kernel: usize) -> Self {
        let weight = init.constant([outputs, inputs, kernel, kernel], 0.0);
        let bias = init.constant([outputs], 0.0);
        Self { weight, bias: Some(bias), adapters: Vec::new(), stride: Self::same_size(kernel) }
    }

    pub(crate) fn stride(&self) -> Stride {
        self.stride
    }

    fn same_size(kernel: usize) -> Stride {
        Stride { step: 1, padding: Padding::all(kernel / 2), upsample: false }
    }

    /// The same layer, which takes its pixels as they are.
    pub fn without_upsampling(&self) -> Self {
        let mut layer = self.clone();
        layer.stride.upsample = false;
        layer
    }

    /// The same layer for rows out of a picture, padded only where nothing of the picture lies: above the rows, below them.
    pub fn padded(&self, above: bool, below: bool) -> Self {
        let mut layer = self.clone();
        let Padding { top, bottom, .. } = &mut layer.stride.padding;
        *top = if above { *top } else { 0 };
        *bottom = if below { *bottom } else { 0 };
        layer
    }

    /// # Shapes
    /// `[N, H, W, in]` to `[N, H', W', out]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_onto(x, None, None)
    }

    /// [`Conv2d::forward`] of [`Conv2d::patches`], with pictures as they come from outside: a product of whole patches,
    /// which are moved once. Pixels beyond the last whole patch are not looked at.
    ///
    /// # Shapes
    /// `[N, in, H, W]` to `[N patches, out]`.
    pub fn forward_patches(&self, images: Tensor<4>) -> Tensor<2> {
        let ([n, c, h, w], side) = (images.dims(), self.stride.step);
        let weight = self.weight.val();
        let outputs = weight.dims()[0];
        let (down, across) = (h / side, w / side);
        if !self.adapters.is_empty() {
            return self
                .forward(images.permute([0, 2, 3, 1]))
                .reshape([n * down * across, outputs]);
        }
        let whole = images.slice([0..n, 0..c, 0..down * side, 0..across * side]);
        let cut = whole.reshape([n, c, down, side, across, side]).permute([0, 2, 4, 1, 3, 5]);
        let numbers = c * side * side;
        let bias = self.bias.as_ref().map(|bias| bias.val().unsqueeze());
        let added = Added { bias, ..Added::default() };
        let rows = cut.reshape([n * down * across, numbers]);
        sumi_kernels::linear(rows, weight.reshape([outputs, numbers]), added)
    }

    /// Adds `shift` to every pixel of a sample, and `residual` to the result.
    ///
    /// # Shapes
    /// `[N, H, W, in]` to `[N, H', W', out]`, which is the residual's shape too; `shift` `[N, out]`.
    pub fn forward_onto(
        &self,
        x: Tensor<4>,
        shift: Option<Tensor<2>>,
        residual: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let bias = self.bias.as_ref().map(|bias| bias.val().unsqueeze());
        let bias = match (bias, shift) {
            (Some(bias), Some(shift)) => Some(shift + bias),
            (bias, shift) => bias.or(shift),
        };
        self.adapted(x, Added { bias, residual, ..Added::default() })
    }

    /// Adds `residual` to the result and holds the sum between bounds.
    ///
    /// # Shapes
    /// `[N, H, W, in]` to `[N, H', W', out]`, which is the residual's shape too.
    pub fn forward_within(
        &self,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
        bounds: Bounds,
    ) -> Tensor<4> {
        let bias = self.bias.as_ref().map(|bias| bias.val().unsqueeze());
        self.adapted(x, Added { bias, residual, bounds })
    }
}

/// Group normalisation, with an activation after it where asked.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `gamma`, `[C]`.
    pub weight: Param<Tensor<1>>,
    /// `beta`, `[C]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    eps: f64,
}

impl GroupNorm {
    /// `gamma` 1, `beta` 0; `groups` divides `channels`.
    pub fn new(init: &mut Init, channels: usize, groups: usize, eps: f64) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            groups,
            eps,
        }
    }

    /// # Shapes
    /// `[N, H, W, C]`, kept.
    pub fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let (gamma, beta) = (self.weight.val(), self.bias.val());
        sumi_kernels::group_norm(x, gamma, beta, self.groups, self.eps, activation)
    }

    /// [`Self::forward`] of a part of a picture whose statistics are known.
    ///
    /// # Shapes
    /// `[1, H, W, C]`, kept.
    pub fn forward_part(
        &self,
        x: Tensor<4>,
        statistics: &GroupStatistics,
        activation: Activation,
    ) -> Tensor<4> {
        let scaling = [self.weight.val(), self.bias.val()];
        sumi_kernels::group_norm_part(x, scaling, statistics, self.groups, self.eps, activation)
    }
}

/// Layer normalisation.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `gamma`, `[C]`.
    pub weight: Param<Tensor<1>>,
    /// `beta`, `[C]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// `gamma` 1, `beta` 0.
    pub fn new(init: &mut Init, width: usize, eps: f64) -> Self {
        Self { weight: init.constant([width], 1.0), bias: init.constant([width], 0.0), eps }
    }

    /// # Shapes
    /// `[R, C]`, kept.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        sumi_kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}

/// One learned vector for each index.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, dim]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// Uniform with the variance of a standard normal, which is what PyTorch draws.
    pub fn new(init: &mut Init, entries: usize, dim: usize) -> Self {
        Self { weight: init.uniform([entries, dim], 3f64.sqrt()) }
    }

    /// How many vectors there are.
    pub fn entries(&self) -> usize {
        self.weight.lazy_shape()[0]
    }

    /// # Shapes
    /// N indices, each below [`Self::entries`], to `[N, dim]`.
    pub fn forward(&self, indices: &[u32]) -> Tensor<2> {
        let weight = self.weight.val();
        let indices: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
        let length = indices.len();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [length]), &weight.device());
        // The rows of an embedding that is kept in 16 bits are widened as they are looked up.
        weight.select(0, indices).cast(burn::tensor::DType::F32)
    }
}

/// In training, sets each element to zero with a probability and scales the rest to keep the mean.
#[derive(Module, Debug)]
pub struct Dropout {
    #[module(skip)]
    probability: f64,
}

impl Dropout {
    /// Drops with `probability`, from 0 up to but not including 1.
    pub fn new(probability: f64) -> Self {
        Self { probability }
    }

    /// # Shapes
    /// Any, kept.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass) -> Tensor<D> {
        match pass {
            Pass::Training(random) if self.probability > 0.0 => {
                let keep = 1.0 - self.probability;
                let mask: Vec<f32> = (0..x.shape().num_elements())
                    .map(|_| match f64::from(random.uniform_f32()) < keep {
                        true => (1.0 / keep) as f32,
                        false => 0.0,
                    })
                    .collect();
                let mask = Tensor::from_data(TensorData::new(mask, x.dims()), &x.device());
                x * mask
            }
            _ => x,
        }
    }
}
