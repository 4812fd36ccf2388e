//! The same operations from Burn's own, for every other backend and element type.

use burn::tensor::{Tensor, module, ops::ConvOptions};

use crate::{Activation, AdamWStep, Padding};

pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: Padding,
) -> Tensor<4> {
    let Padding { top, bottom, left, right } = padding;
    let options =
        ConvOptions::new_with_padding([stride, stride], [(top, bottom), (left, right)], [1, 1], 1);
    module::conv2d(x, weight, bias, options)
}

pub(crate) fn group_norm(
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
        Activation::Silu => burn::tensor::activation::silu(y),
    }
}

pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = (q.dims()[3] as f64).powf(-0.5);
    let scores = q.matmul(k.swap_dims(2, 3)) * scale;
    burn::tensor::activation::softmax(scores, 3).matmul(v)
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
