//! Times a 3x3 convolution of 256 channels at 16x16 pixels, batch 16, forward and forward with both
//! gradients: `cargo run --release -p sumi-kernels --example convolution -- [--threads N] [--reps R]
//! [--json]`. `bench/peers/speed.py --what conv` holds it against other programs.
use std::{hint::black_box, time::Instant};

use burn::tensor::{Device, Distribution, Tensor};
use sumi_kernels::{Added, Padding, Stride, conv2d, profile, set_threads, threads};

const N: usize = 16;
const C: usize = 256;
const SIDE: usize = 16;
const KERNEL: usize = 3;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &device).require_grad()
}

/// Seconds of each call after three to warm up, from the shortest to the longest.
fn times(reps: usize, work: impl Fn()) -> Vec<f64> {
    (0..3).for_each(|_| work());
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..reps).map(once).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The number after an option.
fn option(arguments: &[String], name: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

fn main() -> Result<(), sumi_kernels::ThreadsError> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(threads) = option(&arguments, "--threads") {
        set_threads(threads)?;
    }
    let reps = option(&arguments, "--reps").unwrap_or(21).max(1);
    let (x, weight, bias) =
        (random([N, SIDE, SIDE, C]), random([C, C, KERNEL, KERNEL]), random::<2>([1, C]));
    let plain = (x.clone().inner(), weight.clone().inner(), bias.clone().inner());
    let stride = Stride { step: 1, padding: Padding::all(1), upsample: false };
    let conv =
        |x, weight, bias| conv2d(x, weight, Added { bias: Some(bias), ..Added::default() }, stride);

    let forward =
        times(reps, || drop(black_box(conv(plain.0.clone(), plain.1.clone(), plain.2.clone()))));
    let both = times(reps, || {
        drop(black_box(conv(x.clone(), weight.clone(), bias.clone()).backward()));
    });
    let products = 2.0 * (N * C * C * KERNEL * KERNEL * SIDE * SIDE) as f64;
    let peak = profile::gemm_peak();
    let json = arguments.iter().any(|argument| argument == "--json");
    let rows = [("forward", forward, products), ("forward_backward", both, 3.0 * products)].map(
        |(name, times, flops)| {
            let [low, mid, high] = [times[0], times[reps / 2], times[reps - 1]];
            if !json {
                let rate = flops / mid * 1e-9;
                println!("{name}: {:.3} ms ({:.3} to {:.3}), {rate:.0} Gflop/s", mid * 1e3, low * 1e3, high * 1e3);
            }
            format!(
                "\"{name}\": {{\"median_secs\": {mid:e}, \"min_secs\": {low:e}, \"max_secs\": {high:e}, \
                 \"flops\": {flops}, \"times_secs\": {times:?}}}"
            )
        },
    );
    if json {
        println!(
            "{{\"x\": [{N}, {C}, {SIDE}, {SIDE}], \"weight\": [{C}, {C}, {KERNEL}, {KERNEL}], \
             \"threads\": {}, \"gemm_peak_gflops_per_sec\": {}, {}}}",
            threads(),
            peak * 1e-9,
            rows.join(", ")
        );
    }
    Ok(())
}
