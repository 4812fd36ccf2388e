//! The same operations from Burn's own, for every other backend and element type.

use burn::tensor::{
    Tensor, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use crate::{Activation, AdamWStep, Added, Gelu, Padding, Pooling, Stride, conv};

pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    added: Added<4>,
    stride: Stride,
) -> Tensor<4> {
    let x = if stride.upsample { upsample(x) } else { x };
    let Padding { top, bottom, left, right } = stride.padding;
    let step = [stride.step, stride.step];
    let padding = [(top, bottom), (left, right)];
    let groups = if conv::is_depthwise(x.dims(), weight.dims()) { x.dims()[3] } else { 1 };
    let options = ConvOptions::new_with_padding(step, padding, [1, 1], groups);
    // The products are computed as precisely as the weight is, everything else as `x` is.
    let (outer, inner) = (x.dtype(), weight.dtype());
    let x = x.cast(inner).permute([0, 3, 1, 2]);
    let y = module::conv2d(x, weight, None, options).permute([0, 2, 3, 1]).cast(outer);
    let y = match added.bias {
        Some(bias) => {
            let [n, o] = bias.dims();
            y + bias.reshape([n, 1, 1, o])
        }
        None => y,
    };
    added.bounds.hold(match added.residual {
        Some(residual) => y + residual,
        None => y,
    })
}

pub(crate) fn average_pool(x: Tensor<4>, pooling: Pooling) -> Tensor<4> {
    let Pooling { window, step, padding } = pooling;
    let options = AvgPoolOptions::new(window).with_stride([step; 2]).with_padding([padding; 2]);
    let options = options.with_count_include_pad(false);
    module::avg_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

pub(crate) fn max_pool(x: Tensor<4>, pooling: Pooling) -> Tensor<4> {
    let Pooling { window, step, padding } = pooling;
    let options = MaxPoolOptions::new(window).with_stride([step; 2]).with_padding([padding; 2]);
    module::max_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

/// Repeats every pixel twice in both directions.
fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    x.reshape([n, h, 1, w, 1, c]).expand([n, h, 2, w, 2, c]).reshape([n, 2 * h, 2 * w, c])
}

pub(crate) fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let mean_of = |x: Tensor<4>| x.mean_dim(1).mean_dim(3);
    let grouped = x.reshape([n, h * w, groups, c / groups]);
    let centred = grouped.clone() - mean_of(grouped);
    let variance = mean_of(centred.clone().square());
    let normalised = (centred / (variance + eps).sqrt()).reshape([n, h, w, c]);
    let y = normalised * gamma.reshape([1, 1, 1, c]) + beta.reshape([1, 1, 1, c]);
    match activation {
        Activation::Identity => y,
        Activation::Silu => burn::tensor::activation::silu(y),
    }
}

pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, added: Added<2>) -> Tensor<2> {
    let (outer, inner) = (x.dtype(), weight.dtype());
    let y = x.cast(inner).matmul(weight.transpose()).cast(outer);
    let y = match added.bias {
        Some(bias) => y + bias,
        None => y,
    };
    added.bounds.hold(match added.residual {
        Some(residual) => y + residual,
        None => y,
    })
}

pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = (q.dims()[3] as f64).powf(-0.5);
    let [q, k, v] = [q, k, v].map(|x| x.swap_dims(1, 2));
    let scores = q.matmul(k.swap_dims(2, 3)) * scale;
    burn::tensor::activation::softmax(scores, 3).matmul(v).swap_dims(1, 2)
}

pub(crate) fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + eps).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

pub(crate) fn gelu<const D: usize>(x: Tensor<D>, which: Gelu) -> Tensor<D> {
    match which {
        Gelu::Exact => burn::tensor::activation::gelu(x),
        Gelu::Tanh => burn::tensor::activation::gelu_approximate(x),
        Gelu::Quick => burn::tensor::activation::sigmoid(x.clone() * 1.702) * x,
    }
}

pub(crate) fn geglu(x: Tensor<2>) -> Tensor<2> {
    let half = x.dims()[1] / 2;
    x.clone().narrow(1, 0, half) * gelu(x.narrow(1, half, half), Gelu::Exact)
}

pub(crate) fn attention_biased(qkv: [Tensor<4>; 3], bias: Tensor<4>, scale: f64) -> Tensor<4> {
    let [q, k, v] = qkv.map(|x| x.swap_dims(1, 2));
    let scores = q.matmul(k.swap_dims(2, 3)) * scale + bias;
    burn::tensor::activation::softmax(scores, 3).matmul(v).swap_dims(1, 2)
}

pub(crate) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    [exp_avg, exp_avg_sq]: [Tensor<D>; 2],
    settings: AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (correction1, correction2) = settings.corrections();
    let grad = grad * settings.grad_scale;
    let exp_avg = lerp(exp_avg, grad.clone(), 1.0 - settings.beta1);
    let exp_avg_sq = exp_avg_sq * settings.beta2 + grad.square() * (1.0 - settings.beta2);
    let denominator = exp_avg_sq.clone().sqrt() / correction2 + settings.eps;
    let move_by = exp_avg.clone() / denominator * (settings.learning_rate / correction1);
    let param = param * (1.0 - settings.learning_rate * settings.weight_decay) - move_by;
    (param, exp_avg, exp_avg_sq)
}

pub(crate) fn lerp<const D: usize>(average: Tensor<D>, value: Tensor<D>, weight: f64) -> Tensor<D> {
    average.clone() + (value - average) * weight
}

pub(crate) fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.square().sum()
}
