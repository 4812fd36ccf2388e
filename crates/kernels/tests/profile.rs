//! The profile counts every operation of the CPU backend, by the direct algorithm's flops. The
//! counters belong to the process, so all of it is one test.

use burn::tensor::{Device, Distribution, Tensor};
use sumi_kernels::profile::{self, Direction, Kind, Report};
use sumi_kernels::{Activation, AdamWStep, Added, Padding, Stride};

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let x = Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device);
    if device.is_autodiff() { x.require_grad() } else { x }
}

fn found(report: &Report, kind: Kind, direction: Direction) -> (u64, u64) {
    let mut work = report.work.iter().filter(|w| (w.kind, w.direction) == (kind, direction));
    work.next().map_or((0, 0), |work| (work.calls, work.flops))
}

/// Every operation once, with gradients where the device has them.
fn all(device: &Device) {
    let x = random([2, 6, 5, 4], device);
    let weight = random([3, 4, 3, 3], device);
    let stride = Stride { step: 1, padding: Padding::all(1), upsample: false };
    let y = sumi_kernels::conv2d(x, weight, Added::default(), stride);
    let ones = Tensor::<1>::ones([3], device);
    let y = sumi_kernels::group_norm(y, ones.clone(), ones, 3, 1e-5, Activation::Silu);
    let y = sumi_kernels::silu(y).reshape([2, 30, 3, 1]).repeat_dim(3, 7);
    let y = sumi_kernels::attention(y.clone(), y.clone(), y).reshape([180, 7]);
    let y = sumi_kernels::linear(y, random([11, 7], device), Added::default()).sum();
    if device.is_autodiff() {
        drop(y.backward());
    }
}

fn optimize(device: &Device) {
    let step = AdamWStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        step: 1,
        grad_scale: 1.0,
    };
    let x = || random::<1>([10], device);
    let (param, _, _) = sumi_kernels::adamw(x(), x(), x(), x().abs(), step);
    drop(sumi_kernels::sum_of_squares(sumi_kernels::lerp(x(), param, 0.1)));
}

#[test]
fn every_operation_is_counted() {
    let device = Device::flex();
    all(&device);
    assert!(profile::stop().work.is_empty(), "counted without a start");

    let conv = 2 * 2 * 3 * 4 * 9 * 30;
    let attention = 4 * 2 * 3 * 30 * 30 * 7;
    let linear = 2 * 180 * 7 * 11;
    profile::start();
    all(&device);
    let forward = profile::stop();
    assert_eq!(found(&forward, Kind::Convolution, Direction::Forward), (1, conv));
    assert_eq!(found(&forward, Kind::Normalisation, Direction::Forward), (1, 0));
    assert_eq!(found(&forward, Kind::Activation, Direction::Forward), (1, 0));
    assert_eq!(found(&forward, Kind::Attention, Direction::Forward), (1, attention));
    assert_eq!(found(&forward, Kind::Linear, Direction::Forward), (1, linear));
    assert_eq!(forward.work.len(), 5);
    assert_eq!(forward.flops(), conv + attention + linear);
    assert!(forward.everything_else_secs() >= 0.0);

    profile::start();
    all(&device.clone().autodiff());
    optimize(&device);
    let both = profile::stop();
    for (kind, flops) in [
        (Kind::Convolution, conv),
        (Kind::Normalisation, 0),
        (Kind::Activation, 0),
        (Kind::Attention, attention),
        (Kind::Linear, linear),
    ] {
        assert_eq!(found(&both, kind, Direction::Forward), (1, flops), "{kind:?}");
        assert_eq!(found(&both, kind, Direction::Backward), (1, 2 * flops), "{kind:?}");
    }
    assert_eq!(found(&both, Kind::Optimizer, Direction::Backward), (3, 0));
    assert!(profile::stop().secs == 0.0, "stopped twice");
}
