//! What looks at a picture's channels one by one: pools, and convolutions of each channel by itself.

use super::*;
use crate::{
    Added, Bounds, Padding, Pooling, Stride,
    conv::{self, Shape},
    pooling::{self, Of},
    stock,
};

const fn pooling(window: [usize; 2], step: usize, padding: usize) -> Pooling {
    Pooling { window, step, padding }
}

const POOLS: &[([usize; 4], Pooling)] = &[
    ([2, 7, 6, 5], pooling([3, 3], 1, 1)),
    ([2, 9, 8, 40], pooling([3, 3], 2, 0)),
    ([1, 5, 5, 16], pooling([2, 3], 1, 1)),
    ([3, 4, 6, 33], pooling([4, 6], 1, 0)),
    ([1, 6, 6, 3], pooling([2, 2], 3, 1)),
    ([2, 1, 1, 7], pooling([3, 3], 1, 1)),
];

/// The mean or the greatest of every window, in `f64`.
fn pooled([n, h, w, c]: [usize; 4], x: &[f64], pooling: Pooling, of: Of) -> Vec<f64> {
    let Pooling { window: [kh, kw], step, padding } = pooling;
    let (oh, ow) = ((h + 2 * padding - kh) / step + 1, (w + 2 * padding - kw) / step + 1);
    let window = |at: usize| {
        let (channel, column) = (at % c, at / c % ow * step);
        let (row, sample) = (at / c / ow % oh * step, at / c / ow / oh);
        let seen = (0..kh * kw).filter_map(move |tap| {
            let y = (row + tap / kw).checked_sub(padding).filter(|&y| y < h)?;
            let x = (column + tap % kw).checked_sub(padding).filter(|&x| x < w)?;
            Some(((sample * h + y) * w + x) * c + channel)
        });
        let values: Vec<f64> = seen.map(|at| x[at]).collect();
        match of {
            Of::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Of::Greatest => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    };
    (0..n * oh * ow * c).map(window).collect()
}

#[test]
fn pools_agree_with_the_reference() {
    for &(extents, pooling) in POOLS {
        let x = Numbers::new(11).vec(extents.iter().product());
        let shape = pooling::Shape::new(extents, pooling);
        for of in [Of::Mean, Of::Greatest] {
            let expected = pooled(extents, &wide(&x), pooling, of);
            everywhere(|isa| {
                let y = pooling::forward(isa, &shape, &x, of);
                // Two dozen summands.
                assert_near(
                    &y,
                    &expected,
                    1e-6,
                    &format!("{isa:?} {extents:?} {pooling:?} {of:?}"),
                );
                vec![y]
            });
        }
    }
}

#[test]
fn a_pooled_sample_does_not_depend_on_its_batch() {
    let (extents, pooling) = ([7, 6, 5, 20], pooling([3, 3], 1, 1));
    let x = Numbers::new(12).vec(extents.iter().product());
    let (step, one) = (x.len() / 7, [1, 6, 5, 20]);
    for isa in Isa::available() {
        let run = |extents, x: &[f32]| {
            pooling::forward(isa, &pooling::Shape::new(extents, pooling), x, Of::Mean)
        };
        let all = run(extents, &x);
        for sample in 0..7 {
            let part = run(one, &x[sample * step..(sample + 1) * step]);
            assert_same(&part, &all[sample * part.len()..][..part.len()], "a sample by itself");
        }
    }
}

/// On the CPU, and as Burn does it, with gradients.
#[test]
fn pools_agree_with_burn() {
    type Pool = fn(Tensor<4>, Pooling) -> Tensor<4>;
    let pools: [(Pool, Pool); 2] =
        [(crate::average_pool, stock::average_pool), (crate::max_pool, stock::max_pool)];
    for &(extents, pooling) in POOLS {
        let x = Numbers::new(13).vec(extents.iter().product());
        for (ours, theirs) in pools {
            let y = numbers(ours(tensor(&x, extents, false), pooling));
            let stock = numbers(theirs(tensor(&x, extents, false), pooling));
            assert_near(&y, &wide(&stock), 1e-6, &format!("{extents:?} {pooling:?}"));
            let tracked = tensor(&x, extents, true);
            let y_tracked = ours(tracked.clone(), pooling);
            assert_near(&numbers(y_tracked.clone()), &wide(&y), 1e-6, "with gradients");
            let dx = numbers(tracked.grad(&y_tracked.sum().backward()).unwrap());
            assert!(dx.iter().any(|&d| d != 0.0));
        }
    }
}

struct Case {
    x: [usize; 4],
    /// Height and width.
    kernel: [usize; 2],
    step: usize,
    padding: Padding,
}

const fn case(x: [usize; 4], kernel: [usize; 2], step: usize, pad: [usize; 4]) -> Case {
    let [top, bottom, left, right] = pad;
    Case { x, kernel, step, padding: Padding { top, bottom, left, right } }
}

const CASES: &[Case] = &[
    case([2, 7, 9, 17], [3, 3], 1, [1; 4]),
    case([1, 6, 14, 40], [3, 3], 1, [1; 4]),
    case([2, 8, 8, 16], [3, 3], 2, [0, 1, 0, 1]),
    case([1, 9, 21, 19], [3, 3], 2, [1, 1, 1, 1]),
    case([2, 7, 12, 33], [5, 5], 1, [2; 4]),
    case([1, 14, 22, 16], [5, 5], 2, [1, 2, 1, 2]),
    case([2, 2, 2, 18], [5, 5], 1, [2; 4]),
    case([1, 4, 4, 16], [3, 3], 1, [3, 4, 3, 3]),
    case([1, 1, 1, 5], [3, 3], 2, [1; 4]),
    case([1, 5, 9, 6], [1, 7], 1, [0, 0, 3, 3]),
    case([1, 8, 7, 20], [3, 3], 3, [0; 4]),
    case([2, 6, 5, 3], [2, 4], 1, [1, 0, 2, 1]),
    case([1, 3, 3, 2], [1, 1], 1, [0; 4]),
];

impl Case {
    fn weight(&self) -> [usize; 4] {
        [self.x[3], 1, self.kernel[0], self.kernel[1]]
    }

    fn shape(&self) -> Shape {
        Shape::new(self.x, self.weight(), self.step, self.padding, 1)
    }

    fn stride(&self) -> Stride {
        Stride { step: self.step, padding: self.padding, upsample: false }
    }

    /// `x`, `weight`, a bias for each sample, a residual.
    fn operands(&self) -> [Vec<f32>; 4] {
        let mut numbers = Numbers::new(17);
        let y = self.shape().output();
        let lens = [self.x, self.weight(), [y[0], 1, 1, y[3]], y];
        lens.map(|extents| numbers.vec(extents.into_iter().product()))
    }

    /// As it is defined, in `f64`.
    fn reference(&self, [x, weight, bias, residual]: [&[f64]; 4], bounds: Bounds) -> Vec<f64> {
        let (w, [_, oh, ow, channels]) = (self.shape().window, self.shape().output());
        let output = |at: usize| {
            let (c, p, n) = (at % channels, at / channels % (oh * ow), at / channels / (oh * ow));
            let mut y = bias[(n * channels + c) % bias.len()] + residual[at];
            for t in 0..w.taps() {
                let iy = (p / ow * w.stride + t / w.kernel_w).wrapping_sub(w.top);
                let ix = (p % ow * w.stride + t % w.kernel_w).wrapping_sub(w.left);
                if iy < w.height && ix < w.width {
                    let from = ((n * w.height + iy) * w.width + ix) * channels + c;
                    y += x[from] * weight[c * w.taps() + t];
                }
            }
            y.clamp(f64::from(bounds.low), f64::from(bounds.high))
        };
        (0..residual.len()).map(output).collect()
    }
}

#[test]
fn each_channel_by_itself_agrees_with_the_reference() {
    let bounds = Bounds { low: 0.0, high: 1.5 };
    for case in CASES {
        let (shape, [x, weight, bias, residual]) = (case.shape(), case.operands());
        let [wx, ww, wb, wr] = [&x, &weight, &bias, &residual].map(|x| wide(x));
        let expected = case.reference([&wx, &ww, &wb, &wr], bounds);
        everywhere(|isa| {
            let added = conv::Added { bias: &bias, residual: Some(&residual), bounds };
            let y = conv::forward(isa, &shape, &x, weight.as_slice().into(), added);
            assert_near(&y, &expected, 1e-6, &format!("{isa:?} {:?} {:?}", case.x, case.kernel));
            vec![y]
        });
    }
}

#[test]
fn each_channel_by_itself_does_not_depend_on_the_batch() {
    let case = case([6, 7, 9, 20], [3, 3], 1, [1; 4]);
    let [x, weight, bias, _] = case.operands();
    let bias = &bias[..20];
    let step = x.len() / 6;
    for isa in Isa::available() {
        let run = |n: usize, x: &[f32]| {
            let shape = Shape::new([n, 7, 9, 20], case.weight(), 1, case.padding, 1);
            let added = conv::Added { bias, residual: None, bounds: Bounds::RELU6 };
            conv::forward(isa, &shape, x, weight.as_slice().into(), added)
        };
        let all = run(6, &x);
        for sample in 0..6 {
            let part = run(1, &x[sample * step..(sample + 1) * step]);
            assert_same(&part, &all[sample * part.len()..][..part.len()], "a sample by itself");
        }
    }
}

/// Burn's own operation, which also makes the gradients, and half-precision weights.
#[test]
fn each_channel_by_itself_agrees_with_burn() {
    for case in CASES {
        let [x, weight, bias, residual] = case.operands();
        let (extents, channels) = (case.shape().output(), case.x[3]);
        let added = |tracked| Added {
            bias: Some(tensor(&bias, [extents[0], channels], tracked)),
            residual: Some(tensor(&residual, extents, tracked)),
            bounds: Bounds::RELU6,
        };
        let run = |tracked: bool| {
            let weight: Tensor<4> = tensor(&weight, case.weight(), tracked);
            let y = crate::conv2d(
                tensor(&x, case.x, tracked),
                weight.clone(),
                added(tracked),
                case.stride(),
            );
            (y, weight)
        };
        let (ours, (theirs, tracked)) = (numbers(run(false).0), run(true));
        let what = format!("{:?} {:?}", case.x, case.kernel);
        assert_near(&ours, &wide(&numbers(theirs.clone())), 1e-5, &what);
        assert!(tracked.grad(&theirs.sum().backward()).is_some());
        let half = tensor(&weight, case.weight(), false).cast(DType::BF16);
        let [half, whole] = [half.clone(), half.cast(DType::F32)].map(|w| {
            numbers(crate::conv2d(tensor(&x, case.x, false), w, added(false), case.stride()))
        });
        assert_same(&half, &whole, &what);
    }
}

#[test]
fn bounds_hold_under_differentiation_too() {
    let stride = Stride { step: 1, padding: Padding::all(1), upsample: false };
    let mut source = Numbers::new(19);
    let [x, weight] = [2 * 4 * 4 * 3, 5 * 3 * 3 * 3].map(|len| source.vec(len));
    let run = |tracked, bounds| {
        let (x, weight) =
            (tensor(&x, [2, 4, 4, 3], tracked), tensor(&weight, [5, 3, 3, 3], tracked));
        (crate::conv2d(x.clone(), weight, Added { bounds, ..Added::default() }, stride), x)
    };
    let plain = numbers(run(false, Bounds::NONE).0);
    let held: Vec<f32> = plain.iter().map(|y| y.clamp(0.0, 6.0)).collect();
    assert!(held != plain);
    assert_same(&numbers(run(false, Bounds::RELU6).0), &held, "plain");
    for bounds in [Bounds::RELU, Bounds::RELU6] {
        let (y, x) = run(true, bounds);
        let expected = wide(&numbers(run(false, bounds).0));
        assert_near(&numbers(y.clone()), &expected, 1e-6, "differentiated");
        assert!(x.grad(&y.sum().backward()).is_some());
    }
}
