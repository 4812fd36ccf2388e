//! Times a convolution, forward and with its gradients.
use burn::tensor::{Device, Distribution, Tensor};
use std::time::Instant;
use sumi_kernels::{Added, Padding, Stride, conv2d};
fn time(work: impl Fn()) -> f64 {
    (0..3).for_each(|_| work());
    let mut times: Vec<f64> = (0..40)
        .map(|_| {
            let s = Instant::now();
            work();
            s.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[0]
}
fn main() {
    let device = Device::flex().autodiff();
    let only = std::env::args().nth(1).and_then(|a| a.parse::<usize>().ok());
    for (index, [n, s, i, o, k, step]) in [
        [8, 32, 128, 128, 3, 1],
        [8, 16, 256, 256, 3, 1],
        [8, 16, 512, 256, 3, 1],
        [8, 8, 256, 256, 3, 1],
        [8, 4, 256, 256, 3, 1],
        [8, 4, 512, 256, 3, 1],
        [1, 32, 128, 128, 3, 1],
        [1, 16, 256, 256, 3, 1],
        [1, 8, 256, 256, 3, 1],
        [1, 4, 256, 256, 3, 1],
        [16, 16, 256, 256, 3, 1],
        [128, 8, 32, 32, 3, 1],
        [128, 8, 64, 32, 3, 1],
        [128, 4, 64, 64, 3, 1],
        [128, 8, 1, 32, 3, 1],
        [8, 32, 3, 128, 3, 1],
        [8, 32, 128, 3, 3, 1],
        [8, 32, 256, 128, 1, 1],
        [8, 16, 512, 256, 1, 1],
        [8, 32, 128, 128, 3, 2],
        [8, 1, 512, 256, 1, 1],
        [128, 8, 64, 32, 1, 1],
    ]
    .into_iter()
    .enumerate()
    {
        if only.is_some_and(|o| o != index) {
            continue;
        }
        let x = Tensor::<4>::random([n, s, s, i], Distribution::Uniform(-1.0, 1.0), &device)
            .require_grad();
        let w = Tensor::<4>::random([o, i, k, k], Distribution::Uniform(-1.0, 1.0), &device)
            .require_grad();
        let stride = Stride { step, padding: Padding::all(k / 2), upsample: false };
        let (px, pw) = (x.clone().inner(), w.clone().inner());
        let f = time(|| {
            std::hint::black_box(conv2d(px.clone(), pw.clone(), Added::default(), stride));
        });
        let y = conv2d(x.clone(), w.clone(), Added::default(), stride);
        let g = y.inner();
        let b = time(|| {
            let y = conv2d(x.clone(), w.clone(), Added::default(), stride);
            std::hint::black_box((y * Tensor::from_inner(g.clone())).sum().backward());
        });
        let flops = 2.0 * (n * (s / step) * (s / step) * i * o * k * k) as f64;
        println!(
            "{n}x{s}x{s}x{i}->{o} {k}/{step}: forward {f:.3} ms {:.0} Gflop/s, with gradients {b:.3} ms",
            flops / f / 1e6
        );
    }
}
