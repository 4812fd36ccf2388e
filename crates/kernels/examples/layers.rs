//! Times each operation, forward and forward with backward, next to Burn's own:
//! `cargo run --release -p sumi-kernels --example layers`.
use std::{hint::black_box, time::Instant};

use burn::tensor::{Device, Distribution, Tensor, activation, module, ops::ConvOptions};
use sumi_kernels::{Activation, Padding, attention, conv2d, group_norm, linear};

/// Median milliseconds of a call.
fn time(work: impl Fn()) -> f64 {
    (0..3).for_each(|_| work());
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..21).map(once).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
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
    let both = |op: &dyn Fn([Tensor<D>; N]) -> Tensor<D>| {
        let forward = time(|| drop(black_box(op(plain.clone()))));
        let backward = time(|| drop(black_box(op(inputs.clone()).backward())));
        [forward, backward]
    };
    let ([f, b], [sf, sb]) = (both(&ours), both(&stock));
    println!("{name:<34} {f:>8.3} {b:>8.3} {sf:>9.3} {sb:>9.3} {:>7.1}x", sb / b);
}

fn conv([n, i, size, o, kernel, stride]: [usize; 6]) {
    let pad = kernel / 2;
    let stock = ConvOptions::new([stride; 2], [pad; 2], [1, 1], 1);
    row(
        &format!("conv {kernel}x{kernel}/{stride} {n}x{i}x{size}x{size}->{o}"),
        [random([n, i, size, size]), random([o, i, kernel, kernel])],
        |[x, w]| conv2d(x, w, None, stride, Padding::all(pad)),
        |[x, w]| module::conv2d(x, w, None, stock.clone()),
    );
}

fn norm([n, c, size, groups]: [usize; 4]) {
    let ours = |[x]: [Tensor<4>; 1]| {
        let gamma = Tensor::<1>::ones([c], &x.device());
        group_norm(x, gamma.clone(), gamma, groups, 1e-5, Activation::Silu)
    };
    let stock = |[x]: [Tensor<4>; 1]| {
        let flat = x.reshape([n, groups, c / groups * size * size]);
        let flat = flat.clone() - flat.mean_dim(2);
        let y = flat.clone() / (flat.square().mean_dim(2) + 1e-5).sqrt();
        let gamma = Tensor::<4>::ones([1, c, 1, 1], &y.device());
        activation::silu(y.reshape([n, c, size, size]) * gamma.clone() + gamma)
    };
    let name = format!("norm+silu {n}x{c}x{size}x{size} /{groups}");
    row(&name, [random([n, c, size, size])], ours, stock);
}

fn main() {
    println!("{:<34} {:>8} {:>8} {:>9} {:>9}", "ms", "forward", "+back", "Burn fwd", "+back");
    for (channels, size, outputs) in [(32, 8, 32), (64, 8, 32), (96, 8, 32), (1, 8, 32)] {
        conv([128, channels, size, outputs, 3, 1]);
    }
    for channels in [32, 64, 128] {
        conv([128, channels, 4, 64, 3, 1]);
    }
    [[128, 32, 8, 32, 3, 2], [128, 64, 8, 32, 1, 1], [128, 128, 4, 64, 1, 1]]
        .into_iter()
        .for_each(conv);
    [[8, 256, 16, 256, 1, 1], [8, 128, 32, 128, 3, 1], [8, 256, 16, 256, 3, 1]]
        .into_iter()
        .for_each(conv);
    [[128, 32, 8, 32], [128, 64, 4, 32], [128, 64, 8, 32], [8, 128, 32, 32]]
        .into_iter()
        .for_each(norm);
    for [r, i, o] in [[128, 32, 128], [128, 128, 64], [2048, 64, 64]] {
        let (ours, name) = (|[x, w]: [_; 2]| linear(x, w, None), format!("linear {r}x{i}->{o}"));
        row(&name, [random([r, i]), random([o, i])], ours, |[x, w]| x.matmul(w.transpose()));
    }
    for shape in [[128, 1, 16, 64], [8, 4, 256, 64]] {
        let stock = |[q, k, v]: [Tensor<4>; 3]| {
            activation::softmax(q.matmul(k.swap_dims(2, 3)) * 0.125, 3).matmul(v)
        };
        let name = format!("attention {shape:?}");
        row(&name, [(); 3].map(|()| random(shape)), |[q, k, v]| attention(q, k, v), stock);
    }
}
