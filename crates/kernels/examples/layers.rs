//! Times each operation, forward and forward with backward, next to Burn's own:
//! `cargo run --release -p sumi-kernels --example layers`.
use std::{hint::black_box, time::Instant};

use burn::tensor::{Device, Distribution, Tensor, activation, module, ops::ConvOptions};
use sumi_kernels::{Activation, Padding, attention, conv2d, group_norm, linear};

/// Median milliseconds of a call.
fn time(mut work: impl FnMut()) -> f64 {
    (0..3).for_each(|_| work());
    let mut times: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[std::env::var("Q").map_or(times.len() / 2, |q| q.parse().unwrap())]
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &device).require_grad()
}

/// Times `ours` and `stock` of these inputs, forward and with backward, and prints a row.
fn row<const N: usize, const D: usize>(
    name: &str,
    inputs: [Tensor<D>; N],
    ours: impl Fn([Tensor<D>; N]) -> Tensor<D>,
    stock: impl Fn([Tensor<D>; N]) -> Tensor<D>,
) {
    let plain = inputs.clone().map(|x| x.inner());
    let seed = Tensor::ones_like(&ours(plain.clone()));
    let both = |op: &dyn Fn([Tensor<D>; N]) -> Tensor<D>| {
        let forward = time(|| drop(black_box(op(plain.clone()))));
        // The product stands for the loss: its backward hands the op a gradient for one copy.
        let backward = time(|| {
            let y = op(inputs.clone());
            drop(black_box((y * Tensor::from_inner(seed.clone())).backward()));
        });
        [forward, backward]
    };
    let ([f, b], [sf, sb]) = (both(&ours), both(&stock));
    println!("{name:<34} {f:>8.3} {b:>8.3} {sf:>9.3} {sb:>9.3} {:>7.1}x", sb / b);
}

fn conv(name: &str, [n, i, size, o, kernel, stride]: [usize; 6]) {
    let (x, weight) = (random([n, i, size, size]), random([o, i, kernel, kernel]));
    let (bias, pad) = (random([o]), kernel / 2);
    let stock = ConvOptions::new([stride; 2], [pad; 2], [1, 1], 1);
    let of = |x: &Tensor<4>| match x.device().is_autodiff() {
        true => Some(bias.clone()),
        false => Some(bias.clone().inner()),
    };
    row(
        &format!("conv {name} {n}x{i}x{size}x{size}->{o}"),
        [x, weight],
        |[x, w]| {
            let bias = of(&x);
            conv2d(x, w, bias, stride, Padding::all(pad))
        },
        |[x, w]| {
            let bias = of(&x);
            module::conv2d(x, w, bias, stock.clone())
        },
    );
}

fn norm([n, c, size, groups]: [usize; 4]) {
    let ones = |x: &Tensor<4>| Tensor::<1>::ones([c], &x.device());
    row(
        &format!("norm+silu {n}x{c}x{size}x{size} /{groups}"),
        [random([n, c, size, size])],
        |[x]| {
            let g = ones(&x);
            group_norm(x, g.clone(), g, groups, 1e-5, Activation::Silu)
        },
        |[x]| {
            let flat = x.reshape([n, groups, c / groups * size * size]);
            let flat = flat.clone() - flat.mean_dim(2);
            let y = flat.clone() / (flat.square().mean_dim(2) + 1e-5).sqrt();
            let g = Tensor::<4>::ones([1, c, 1, 1], &y.device());
            activation::silu(y.reshape([n, c, size, size]) * g.clone() + g)
        },
    );
}

fn main() {
    println!(
        "{:<34} {:>8} {:>8} {:>9} {:>9} {:>8}",
        "ms", "forward", "+back", "Burn fwd", "+back", "ratio"
    );
    for (n, i, size, o) in [
        (128, 32, 8, 32),
        (128, 64, 8, 32),
        (128, 96, 8, 32),
        (128, 32, 4, 64),
        (128, 64, 4, 64),
        (128, 128, 4, 64),
        (128, 1, 8, 32),
        (8, 128, 32, 128),
        (8, 256, 16, 256),
    ] {
        conv("3x3", [n, i, size, o, 3, 1]);
    }
    conv("3x3/2", [128, 32, 8, 32, 3, 2]);
    conv("1x1", [128, 64, 8, 32, 1, 1]);
    conv("1x1", [128, 128, 4, 64, 1, 1]);
    conv("1x1", [8, 256, 16, 256, 1, 1]);
    for shape in [[128, 32, 8, 32], [128, 64, 4, 32], [128, 64, 8, 32], [8, 128, 32, 32]] {
        norm(shape);
    }
    for [r, i, o] in [[128, 32, 128], [128, 128, 64], [2048, 64, 64]] {
        row(
            &format!("linear {r}x{i}->{o}"),
            [random([r, i]), random([o, i])],
            |[x, w]| linear(x, w, None),
            |[x, w]| x.matmul(w.transpose()),
        );
    }
    for shape in [[128, 1, 16, 64], [8, 4, 256, 64]] {
        row(
            &format!("attention {shape:?}"),
            [(); 3].map(|()| random(shape)),
            |[q, k, v]| attention(q, k, v),
            |[q, k, v]| activation::softmax(q.matmul(k.swap_dims(2, 3)) * 0.125, 3).matmul(v),
        );
    }
}
