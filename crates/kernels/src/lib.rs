//! The operations that a diffusion network spends its time in, each one a function on tensors.
//!
//! On the CPU backend, in `f32`, they run Sumi's own vector code with its own backward pass; on
//! every other backend they run Burn's operations, and so do pools and convolutions of each channel by
//! itself where they are differentiated. Callers never see which. On the CPU a result
//! depends neither on the number of threads nor on what else is in the batch, to the last bit.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod autodiff;
mod buffer;
mod concat;
mod conv;
mod flex;
mod gemm;
mod layer_norm;
mod norm;
mod optimizer;
mod pool;
mod pooling;
pub mod profile;
mod simd;
mod stock;
mod threads;

#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use activation::Function;
use autodiff::{NetworkOps, TokenOps};
use flex::{is_fast, is_fast_weight, kind};
pub use norm::{GroupStatistics, group_norm_part};
pub use optimizer::AdamWStep;
pub use pool::release_memory;
pub use pooling::{Pooling, average_pool, max_pool};
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

/// Which Gaussian error linear unit, `x P(X <= x)` for a standard normal X (Hendrycks and Gimpel, Gaussian
/// Error Linear Units, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gelu {
    /// As it is defined, by the error function.
    Exact,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    Tanh,
    /// `x sigmoid(1.702 x)`, as OpenAI's CLIP has it.
    Quick,
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

/// How the kernel of a convolution moves over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride {
    /// Pixels from one window to the next.
    pub step: usize,
    /// Zeros around the picture.
    pub padding: Padding,
    /// Whether every pixel is first repeated, twice in both directions (nearest-neighbour
    /// upsampling).
    pub upsample: bool,
}

/// What a layer adds to its products, and where it holds the sum.
#[derive(Clone, Debug, Default)]
pub struct Added<const D: usize> {
    /// One number a channel: `[1, O]` the same for all samples, `[N, O]` one for each.
    pub bias: Option<Tensor<2>>,
    /// Something of the result's shape.
    pub residual: Option<Tensor<D>>,
    /// What the sum is held between.
    pub bounds: Bounds,
}

/// The numbers that a result is held between: `min(high, max(low, y))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The least.
    pub low: f32,
    /// The greatest.
    pub high: f32,
}

impl Bounds {
    /// Every number as it is.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// A rectified linear unit, `max(0, y)`.
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(6, max(0, y))`.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// Holds a tensor between them.
    pub fn hold<const D: usize>(self, y: Tensor<D>) -> Tensor<D> {
        match self {
            Self::NONE => y,
            Self::RELU => burn::tensor::activation::relu(y),
            Self { low, high } => y.clamp(low, high),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::NONE
    }
}

/// A 2-D convolution (cross-correlation),
/// `y[n,o] = sum_i x[n,i] * weight[o,i] + bias[n,o] + residual[n,o]`, held between bounds. The weight may be
/// in half precision; the result is of the type of `x`.
///
/// # Shapes
/// `x` `[N, H, W, I]`, `weight` `[O, I, KH, KW]`, result
/// `[N, (H + top + bottom - KH) / step + 1, (W + left + right - KW) / step + 1, O]`, where H and W
/// are twice the picture's if it is upsampled. A weight `[I, 1, KH, KW]` convolves each channel by itself.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, mut added: Added<4>, stride: Stride) -> Tensor<4> {
    let bias_is_fast = added.bias.as_ref().is_none_or(|bias| is_fast(&[kind(bias)]));
    let residual_is_fast = added.residual.as_ref().is_none_or(|x| is_fast(&[kind(x)]));
    let fast = bias_is_fast && residual_is_fast && is_fast(&[kind(&x)]) && is_fast_weight(&weight);
    let differentiated = x.device().is_autodiff()
        || weight.device().is_autodiff()
        || added.bias.as_ref().is_some_and(|bias| bias.device().is_autodiff())
        || added.residual.as_ref().is_some_and(|x| x.device().is_autodiff());
    let elsewhere = differentiated || stride.upsample;
    if !fast || elsewhere && conv::is_depthwise(x.dims(), weight.dims()) {
        return stock::conv2d(x, weight, added, stride);
    }
    let bias = added.bias.take().unwrap_or_else(|| no_bias(&weight));
    if !differentiated {
        let operands = [flex::unwrap(x), flex::unwrap(weight), flex::unwrap(bias)];
        let residual = added.residual.map(flex::unwrap);
        return flex::wrap(autodiff::convolve(operands, residual, added.bounds, stride));
    }
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    let bias = bias.into_dispatch();
    added.bounds.hold(Tensor::from_dispatch(match added.residual {
        None => Dispatch::fast_conv2d(x, weight, bias, stride),
        Some(residual) => {
            Dispatch::fast_conv2d_residual(x, weight, bias, residual.into_dispatch(), stride)
        }
    }))
}

/// A bias of zeros, which takes no part in differentiation.
fn no_bias(weight: &Tensor<4>) -> Tensor<2> {
    let device = weight.device().without_autodiff();
    Tensor::zeros([1, weight.dims()[0]], (&device, DType::F32))
}

/// Group normalisation followed by an activation,
/// `y = act((x - mean_g) / sqrt(var_g + eps) * gamma[c] + beta[c])`
/// with mean and (biased) variance over each sample's group of channels.
///
/// # Shapes
/// `x` `[N, H, W, C]`, `gamma` and `beta` `[C]`, result `[N, H, W, C]`; `groups` divides C.
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
    Tensor::from_dispatch(Dispatch::fast_activation(x.into_dispatch(), Function::Silu))
}

/// A linear layer, `y = x weight^T + bias + residual`. The weight may be in half precision; the
/// result is of the type of `x`.
///
/// # Shapes
/// `x` `[R, I]`, `weight` `[O, I]` (PyTorch's layout), result `[R, O]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, added: Added<2>) -> Tensor<2> {
    let ([rows, inputs], [outputs, expected]) = (x.dims(), weight.dims());
    assert_eq!(
        inputs, expected,
        "linear: the input is {inputs} wide, the weight expects {expected}"
    );
    if !is_fast(&[kind(&x)]) || !is_fast_weight(&weight) {
        return stock::linear(x, weight, added);
    }
    // A convolution of pictures of one pixel.
    let added = Added {
        bias: added.bias,
        residual: added.residual.map(|x| x.reshape([rows, 1, 1, outputs])),
        bounds: added.bounds,
    };
    let stride = Stride { step: 1, padding: Padding::all(0), upsample: false };
    let weight = weight.reshape([outputs, inputs, 1, 1]);
    conv2d(x.reshape([rows, 1, 1, inputs]), weight, added, stride).reshape([rows, outputs])
}

/// Two feature maps side by side: the channels of `a`, then those of `b`.
///
/// # Shapes
/// `a` `[N, H, W, A]`, `b` `[N, H, W, B]`, result `[N, H, W, A + B]`.
pub fn concat(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if !is_fast(&[kind(&a), kind(&b)]) {
        return Tensor::cat(vec![a, b], 3);
    }
    Tensor::from_dispatch(Dispatch::fast_concat(a.into_dispatch(), b.into_dispatch()))
}

/// Scaled dot-product attention, `softmax(q k^T / sqrt(D)) v`.
///
/// # Shapes
/// `q` `[N, T, H, D]`, `k` `[N, S, H, D]`, `v` `[N, S, H, D]`, result `[N, T, H, D]`.
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

/// Layer normalisation, `y = (x - mean) / sqrt(var + eps) * gamma + beta` with mean and (biased) variance
/// over each row (Ba, Kiros and Hinton, Layer Normalization, Eq. 4).
///
/// # Shapes
/// `x` `[R, C]`, `gamma` and `beta` `[C]`, result `[R, C]`.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64) -> Tensor<2> {
    if !is_fast(&[kind(&x), kind(&gamma), kind(&beta)]) {
        return stock::layer_norm(x, gamma, beta, eps);
    }
    let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fast_layer_norm(x.into_dispatch(), gamma, beta, eps))
}

/// A Gaussian error linear unit, element by element.
pub fn gelu<const D: usize>(x: Tensor<D>, which: Gelu) -> Tensor<D> {
    if !is_fast(&[kind(&x)]) {
        return stock::gelu(x, which);
    }
    let function = Function::Gelu(which);
    Tensor::from_dispatch(Dispatch::fast_activation(x.into_dispatch(), function))
}

/// A gated Gaussian error linear unit: the first half of each row times the exact [`gelu`] of the second
/// (Shazeer, GLU Variants Improve Transformer, Eq. 5).
///
/// # Shapes
/// `[R, 2 C]` to `[R, C]`.
pub fn geglu(x: Tensor<2>) -> Tensor<2> {
    if !is_fast(&[kind(&x)]) {
        return stock::geglu(x);
    }
    Tensor::from_dispatch(Dispatch::fast_geglu(x.into_dispatch()))
}

/// Attention whose scores are shifted, `softmax(scale q k^T + bias) v`, for short sequences: the scores
/// are all held at once.
///
/// # Shapes
/// `q` `[N, T, H, D]`, `k` `[N, S, H, D]`, `v` `[N, S, H, D]`, `bias` `[N, H, T, S]` with 1 for N or H that
/// are all alike, result `[N, T, H, D]`.
pub fn attention_biased([q, k, v]: [Tensor<4>; 3], bias: Tensor<4>, scale: f64) -> Tensor<4> {
    stock::attention_biased([q, k, v], bias, scale)
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
