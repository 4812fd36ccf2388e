//! The operations that a diffusion network spends its time in, each one a function on tensors.
//!
//! On the CPU backend they run Sumi's own vector code with its own backward pass; on every other
//! backend they run Burn's operations. Callers never see which.

use burn::tensor::{Tensor, module, ops::ConvOptions};

/// What a normalisation is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `x * sigmoid(x)`.
    Silu,
}

/// Zero padding of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same number of pixels on every side.
    pub const fn all(pixels: usize) -> Self {
        Self { top: pixels, bottom: pixels, left: pixels, right: pixels }
    }
}

/// A 2-D convolution (cross-correlation), `y[n,o] = bias[o] + sum_i x[n,i] * weight[o,i]`.
///
/// # Shapes
/// `x` [N, I, H, W], `weight` [O, I, KH, KW], `bias` [O], result
/// [N, O, (H + top + bottom - KH) / stride + 1, (W + left + right - KW) / stride + 1].
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: Padding,
) -> Tensor<4> {
    let Padding { top, bottom, left, right } = padding;
    let options = ConvOptions::new_with_padding(
        [stride, stride],
        [(top, bottom), (left, right)],
        [1, 1],
        1,
    );
    module::conv2d(x, weight, bias, options)
}

/// Group normalisation followed by an activation,
/// `y = act((x - mean_g) / sqrt(var_g + eps) * gamma[c] + beta[c])`
/// with mean and (biased) variance over each sample's group of channels.
///
/// # Shapes
/// `x` [N, C, H, W], `gamma` and `beta` [C], result [N, C, H, W]; `groups` divides C.
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let flat = x.reshape([n, groups, c / groups * h * w]);
    let mean = flat.clone().mean_dim(2);
    let centred = flat - mean;
    let variance = centred.clone().square().mean_dim(2);
    let normalised = (centred / (variance + eps).sqrt()).reshape([n, c, h, w]);
    let y = normalised * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1]);
    match activation {
        Activation::Identity => y,
        Activation::Silu => silu(y),
    }
}

/// `x * sigmoid(x)`, element by element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    burn::tensor::activation::silu(x)
}

/// A linear layer, `y = x weight^T + bias`.
///
/// # Shapes
/// `x` [R, I], `weight` [O, I] (PyTorch's layout), `bias` [O], result [R, O].
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// Scaled dot-product attention, `softmax(q k^T / sqrt(D)) v`.
///
/// # Shapes
/// `q` [N, H, T, D], `k` [N, H, S, D], `v` [N, H, S, D], result [N, H, T, D].
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = (q.dims()[3] as f64).powf(-0.5);
    let scores = q.matmul(k.swap_dims(2, 3)) * scale;
    burn::tensor::activation::softmax(scores, 3).matmul(v)
}
