//! The operations that a diffusion network spends its time in, each one a function on tensors.
//!
//! On the CPU backend, in `f32`, they run Sumi's own vector code with its own backward pass; on
//! every other backend they run Burn's operations. Callers never see which. On the CPU a result
//! depends neither on the number of threads nor on what else is in the batch, to the last bit.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod autodiff;
mod buffer;
mod conv;
mod flex;
mod gemm;
mod linear;
mod norm;
mod optimizer;
pub mod profile;
mod simd;
mod stock;
mod threads;
mod window;

#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use autodiff::NetworkOps;
use flex::{is_fast, kind};
pub use optimizer::AdamWStep;
use profile::{Direction, Kind};
use simd::Isa;
pub use threads::{ThreadsError, set_threads, threads};

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
/// The weights may be of another floating-point type than `x`; the result is of the type of `x`.
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[O, I, KH, KW]`, `bias` `[O]`, result
/// `[N, O, (H + top + bottom - KH) / stride + 1, (W + left + right - KW) / stride + 1]`.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: Padding,
) -> Tensor<4> {
    let weight = as_type_of(&x, weight);
    let bias_is_fast = bias.as_ref().is_none_or(|bias| is_fast(&[kind(bias)]));
    if !bias_is_fast || !is_fast(&[kind(&x), kind(&weight)]) {
        return stock::conv2d(x, weight, bias, stride, padding);
    }
    let bias = bias.unwrap_or_else(|| no_bias(&weight, weight.dims()[0]));
    Tensor::from_dispatch(Dispatch::fast_conv2d(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride,
        padding,
    ))
}

/// The weights in the type of `x`.
fn as_type_of<const D: usize>(x: &Tensor<D>, weight: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    if weight.dtype() == dtype { weight } else { weight.cast(dtype) }
}

/// A bias of zeros, which takes no part in differentiation.
fn no_bias<const D: usize>(weight: &Tensor<D>, len: usize) -> Tensor<1> {
    Tensor::zeros([len], &weight.device().without_autodiff())
}

/// Group normalisation followed by an activation,
/// `y = act((x - mean_g) / sqrt(var_g + eps) * gamma[c] + beta[c])`
/// with mean and (biased) variance over each sample's group of channels.
///
/// # Shapes
/// `x` `[N, C, H, W]`, `gamma` and `beta` `[C]`, result `[N, C, H, W]`; `groups` divides C.
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    if !is_fast(&[kind(&x), kind(&gamma), kind(&beta)]) {
        return stock::group_norm(x, gamma, beta, groups, eps, activation);
    }
    Tensor::from_dispatch(Dispatch::fast_group_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        groups,
        eps,
        activation,
    ))
}

/// `x * sigmoid(x)`, element by element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !is_fast(&[kind(&x)]) {
        return burn::tensor::activation::silu(x);
    }
    Tensor::from_dispatch(Dispatch::fast_silu(x.into_dispatch()))
}

/// A linear layer, `y = x weight^T + bias`. The weights may be of another floating-point type than
/// `x`; the result is of the type of `x`.
///
/// # Shapes
/// `x` `[R, I]`, `weight` `[O, I]` (PyTorch's layout), `bias` `[O]`, result `[R, O]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let weight = as_type_of(&x, weight);
    let bias_is_fast = bias.as_ref().is_none_or(|bias| is_fast(&[kind(bias)]));
    if !bias_is_fast || !is_fast(&[kind(&x), kind(&weight)]) {
        return stock::linear(x, weight, bias);
    }
    let bias = bias.unwrap_or_else(|| no_bias(&weight, weight.dims()[0]));
    Tensor::from_dispatch(Dispatch::fast_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// Scaled dot-product attention, `softmax(q k^T / sqrt(D)) v`.
///
/// # Shapes
/// `q` `[N, H, T, D]`, `k` `[N, H, S, D]`, `v` `[N, H, S, D]`, result `[N, H, T, D]`.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    if !is_fast(&[kind(&q), kind(&k), kind(&v)]) {
        return stock::attention(q, k, v);
    }
    Tensor::from_dispatch(Dispatch::fast_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
    ))
}

/// One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), in PyTorch's form: the parameter
/// shrinks by `1 - lr * weight_decay`, then moves by
/// `-lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`.
///
/// Returns the parameter and the two averages `m` and `v`, in the memory of the arguments where
/// nothing else holds it. It is not differentiable.
///
/// # Shapes
/// All alike.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    exp_avg: Tensor<D>,
    exp_avg_sq: Tensor<D>,
    step: AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let all = [&param, &grad, &exp_avg, &exp_avg_sq];
    assert!(all.iter().all(|x| x.dims() == param.dims()), "adamw: the shapes differ");
    if !all.iter().all(|x| is_plain(x)) {
        return stock::adamw(param, grad, [exp_avg, exp_avg_sq], step);
    }
    let _span = profile::span(Kind::Optimizer, Direction::Backward, 0);
    let [mut param, mut exp_avg, mut exp_avg_sq] =
        [param, exp_avg, exp_avg_sq].map(|x| flex::primitive(x).into_owned());
    optimizer::adamw(
        Isa::best(),
        step,
        param.storage_mut(),
        flex::primitive(grad).slice(),
        [exp_avg.storage_mut(), exp_avg_sq.storage_mut()],
    );
    (flex::wrap(param), flex::wrap(exp_avg), flex::wrap(exp_avg_sq))
}

/// `average + weight * (value - average)`, in the memory of `average` where nothing else holds
/// it. It is not differentiable.
///
/// # Shapes
/// Both alike.
pub fn lerp<const D: usize>(average: Tensor<D>, value: Tensor<D>, weight: f64) -> Tensor<D> {
    assert_eq!(average.dims(), value.dims(), "lerp: the shapes differ");
    if !is_plain(&average) || !is_plain(&value) {
        return stock::lerp(average, value, weight);
    }
    let _span = profile::span(Kind::Optimizer, Direction::Backward, 0);
    let mut average = flex::primitive(average).into_owned();
    optimizer::lerp(Isa::best(), average.storage_mut(), flex::primitive(value).slice(), weight);
    flex::wrap(average)
}

/// The sum of the squares of all elements, always added in the same order. On the CPU it is not
/// differentiable.
///
/// # Shapes
/// Any, to `[1]`.
pub fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    if !is_plain(&x) {
        return stock::sum_of_squares(x);
    }
    let _span = profile::span(Kind::Optimizer, Direction::Backward, 0);
    let sum = optimizer::sum_of_squares(Isa::best(), flex::primitive(x).slice());
    flex::wrap(flex::tensor(vec![sum], [1].into()))
}

/// Whether the tensor is on the CPU backend, in `f32` and outside differentiation.
fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    is_fast(&[kind(x)]) && !x.device().is_autodiff()
}
