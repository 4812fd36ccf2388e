use super::*;
use crate::{
    Added, Bounds, Padding, Stride,
    conv::{self, Shape},
    stock,
};

/// `y`, `dx`, `dw`, and `db` for each sample, in `f64`.
fn reference(shape: &Shape, [x, weight, bias, dy]: [&[f64]; 4]) -> [Vec<f64>; 4] {
    let w = shape.window;
    let [samples, oh, ow, outputs] = shape.output();
    let (mut y, mut db) = (vec![0.0; dy.len()], vec![0.0; samples * outputs]);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    for at in 0..y.len() {
        let (o, p) = (at % outputs, at / outputs % (oh * ow));
        let n = at / outputs / (oh * ow);
        y[at] += bias[(n * outputs + o) % bias.len()];
        db[n * outputs + o] += dy[at];
        for t in 0..w.taps() {
            let iy = (p / ow * w.stride + t / w.kernel_w).wrapping_sub(w.top);
            let ix = (p % ow * w.stride + t % w.kernel_w).wrapping_sub(w.left);
            if iy >= w.height || ix >= w.width {
                continue;
            }
            let pixel = iy / w.zoom * (w.width / w.zoom) + ix / w.zoom;
            for i in 0..shape.inputs {
                let from = (n * w.source_pixels() + pixel) * shape.inputs + i;
                let tap = (o * shape.inputs + i) * w.taps() + t;
                y[at] += x[from] * weight[tap];
                dx[from] += dy[at] * weight[tap];
                dw[tap] += dy[at] * x[from];
            }
        }
    }
    [y, dx, dw, db]
}

struct Case {
    /// `[N, H, W, I]`.
    x: [usize; 4],
    /// Output channels, kernel height, kernel width.
    weight: [usize; 3],
    stride: Stride,
}

const fn case(x: [usize; 4], weight: [usize; 3], step: usize, pad: [usize; 4]) -> Case {
    let [top, bottom, left, right] = pad;
    let padding = Padding { top, bottom, left, right };
    Case { x, weight, stride: Stride { step, padding, upsample: false } }
}

const fn upsampled(x: [usize; 4], weight: [usize; 3], pad: [usize; 4]) -> Case {
    let case = case(x, weight, 1, pad);
    Case { stride: Stride { upsample: true, ..case.stride }, ..case }
}

const ALL: [usize; 4] = [1; 4];
const NONE: [usize; 4] = [0; 4];
const CASES: &[Case] = &[
    case([3, 8, 8, 32], [32, 3, 3], 1, ALL),
    case([5, 4, 4, 64], [40, 3, 3], 1, ALL),
    case([2, 8, 8, 96], [32, 3, 3], 1, ALL),
    case([2, 8, 8, 8], [16, 3, 3], 2, [0, 1, 0, 1]),
    case([2, 8, 8, 8], [16, 3, 3], 2, ALL),
    case([3, 8, 8, 32], [48, 1, 1], 1, NONE),
    case([3, 5, 7, 5], [3, 1, 1], 1, NONE),
    case([2, 32, 32, 16], [4, 1, 1], 1, NONE),
    case([2, 3, 3, 300], [20, 1, 1], 1, NONE),
    case([2, 3, 5, 70], [290, 1, 1], 1, NONE),
    case([2, 20, 17, 20], [300, 1, 1], 1, NONE),
    case([1, 1, 1, 600], [40, 1, 1], 1, NONE),
    case([1, 28, 28, 3], [9, 3, 3], 1, ALL),
    case([2, 28, 28, 1], [33, 3, 3], 1, ALL),
    case([2, 14, 14, 20], [33, 3, 3], 1, ALL),
    case([2, 28, 28, 12], [1, 1, 1], 1, NONE),
    case([1, 33, 31, 2], [5, 3, 3], 1, ALL),
    case([1, 13, 11, 17], [19, 3, 3], 1, ALL),
    case([1, 9, 10, 12], [12, 3, 3], 1, [2, 2, 2, 2]),
    case([2, 10, 9, 13], [14, 3, 3], 1, NONE),
    case([2, 7, 9, 14], [13, 3, 3], 1, [0, 2, 2, 1]),
    case([2, 7, 5, 3], [2, 3, 3], 2, ALL),
    case([2, 9, 6, 3], [2, 5, 3], 3, [2, 0, 1, 2]),
    case([1, 6, 6, 2], [3, 2, 2], 2, NONE),
    case([1, 6, 7, 2], [3, 1, 1], 2, NONE),
    case([1, 9, 9, 2], [3, 2, 2], 4, NONE),
    case([2, 6, 7, 2], [3, 4, 2], 1, NONE),
    case([2, 5, 5, 2], [3, 3, 3], 1, [3, 4, 3, 3]),
    case([2, 5, 5, 16], [16, 3, 3], 1, [3, 4, 3, 3]),
    case([2, 1, 1, 3], [4, 3, 3], 1, ALL),
    case([9, 2, 2, 70], [7, 3, 3], 1, ALL),
    case([1, 40, 40, 4], [3, 7, 7], 1, [3; 4]),
    case([2, 5, 9, 18], [17, 1, 7], 1, [0, 0, 3, 3]),
    case([2, 9, 5, 18], [17, 7, 1], 1, [3, 3, 0, 0]),
    case([1, 8, 8, 20], [35, 1, 3], 1, [0, 0, 1, 1]),
    case([1, 8, 8, 20], [35, 3, 1], 1, [1, 1, 0, 0]),
    case([1, 7, 7, 12], [20, 5, 5], 1, [2; 4]),
    case([2, 9, 9, 3], [32, 3, 3], 2, NONE),
    case([1, 9, 8, 33], [34, 3, 3], 2, NONE),
    case([2, 8, 9, 3], [33, 3, 3], 2, [0, 1, 1, 1]),
    case([1, 6, 6, 150], [130, 3, 3], 1, ALL),
    case([1, 12, 8, 32], [3, 3, 3], 1, ALL),
    case([40, 8, 8, 16], [16, 3, 3], 1, ALL),
    upsampled([2, 4, 4, 32], [32, 3, 3], ALL),
    upsampled([2, 3, 5, 17], [13, 3, 3], ALL),
    upsampled([2, 3, 4, 5], [3, 3, 3], ALL),
    upsampled([1, 4, 3, 16], [16, 3, 3], [0, 1, 1, 0]),
];

impl Case {
    fn weight(&self) -> [usize; 4] {
        let [o, kh, kw] = self.weight;
        [o, self.x[3], kh, kw]
    }

    fn shape(&self) -> Shape {
        let Stride { step, padding, upsample } = self.stride;
        Shape::new(self.x, self.weight(), step, padding, 1 + usize::from(upsample))
    }

    /// `x`, `weight`, the gradient of `y`, a bias for each sample, a residual.
    fn operands(&self) -> [Vec<f32>; 5] {
        let mut numbers = Numbers::new(7);
        let y = self.shape().output();
        let [x, weight, y, bias] = [self.x, self.weight(), y, [y[0], 1, 1, y[3]]]
            .map(|extents| extents.into_iter().product());
        [x, weight, y, bias, y].map(|len| numbers.vec(len))
    }
}

#[test]
fn agrees_with_the_reference() {
    for case in CASES {
        let shape = case.shape();
        let [x, weight, dy, bias, residual] = case.operands();
        let shared = &bias[..shape.outputs];
        let [wx, ww, ws, wb, wdy] = [&x, &weight, shared, &bias, &dy].map(wide);
        let [y, dx, dw, db] = reference(&shape, [&wx, &ww, &ws, &wdy]);
        let [each, ..] = reference(&shape, [&wx, &ww, &wb, &wdy]);
        let most = each.iter().fold(0.0f64, |most, y| most.max(y.abs())) as f32;
        let bounds = Bounds { low: -0.5 * most, high: 0.75 * most };
        let held = |y: f64| y.clamp(f64::from(bounds.low), f64::from(bounds.high));
        let each = each.iter().zip(&residual).map(|(y, &r)| held(y + f64::from(r)));
        let each: Vec<f64> = each.collect();
        let mut total = vec![0.0; shape.outputs];
        db.iter().enumerate().for_each(|(at, db)| total[at % shape.outputs] += db);
        everywhere(|isa| {
            let what = format!("{isa:?} {:?} {:?} / {:?}", case.x, case.weight, case.stride);
            let plain = conv::Added { bias: shared, residual: None, bounds: Bounds::NONE };
            let added = conv::Added { bias: &bias, residual: Some(&residual), bounds };
            let ours = [
                conv::forward(isa, &shape, &x, weight.as_slice().into(), plain),
                conv::forward(isa, &shape, &x, weight.as_slice().into(), added),
                conv::input_gradient(isa, &shape, &dy, weight.as_slice().into()),
                conv::weight_gradient(isa, &shape, &x, &dy),
                conv::bias_gradient(isa, &shape, &dy, true),
                conv::bias_gradient(isa, &shape, &dy, false),
            ];
            let expected = [&y, &each, &dx, &dw, &total, &db];
            let names = ["y", "y + residual", "dx", "dw", "db", "db of each sample"];
            // Winograd's transforms cost a digit.
            let tolerances = match case.weight[1..] == [3, 3] && case.stride.step == 1 {
                true => [3e-5, 3e-5, 3e-5, 3e-5, 1e-5, 1e-5],
                false => [1e-5; 6],
            };
            for i in 0..ours.len() {
                let what = format!("{what}: {}", names[i]);
                assert_near(&ours[i], expected[i], tolerances[i], &what);
            }
            ours.into()
        });
    }
}

/// The gradients against differences of the forward pass, which share nothing with them.
#[test]
fn gradients_are_those_of_the_forward_pass() {
    let cases = [
        case([1, 6, 5, 13], [3, 3, 3], 1, ALL),
        case([2, 5, 4, 2], [3, 3, 3], 2, [0, 1, 0, 1]),
        upsampled([1, 3, 2, 12], [2, 3, 3], ALL),
        case([2, 2, 2, 5], [4, 1, 1], 1, NONE),
    ];
    for case in cases {
        let shape = case.shape();
        let [x, weight, dy, bias, _] = case.operands();
        let (wx, ww, wb) = (wide(&x), wide(&weight), wide(&bias));
        let y = |x: &[f64], w: &[f64]| reference(&shape, [x, w, &wb, &wide(&dy)])[0].clone();
        let dx = slopes(&x, &dy, |x| y(x, &ww));
        let dw = slopes(&weight, &dy, |weight| y(&wx, weight));
        for isa in Isa::available() {
            let ours = conv::input_gradient(isa, &shape, &dy, weight.as_slice().into());
            assert_near(&ours, &dx, 3e-5, &format!("{isa:?} {:?} dx", case.x));
            let ours = conv::weight_gradient(isa, &shape, &x, &dy);
            assert_near(&ours, &dw, 3e-5, &format!("{isa:?} {:?} dw", case.x));
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let batch = 64;
    for (channels, size, kernel, step) in
        [(32, 8, 3, 1), (64, 4, 3, 1), (8, 8, 3, 2), (16, 4, 1, 1), (80, 16, 3, 1)]
    {
        let weight = [24, channels, kernel, kernel];
        let padding = Padding::all(kernel / 2);
        let mut source = Numbers::new(3);
        let x = source.vec(batch * channels * size * size);
        let w = source.vec(weight.iter().product());
        let bias = source.vec(24);
        for isa in Isa::available() {
            let run = |n: usize, x: &[f32]| {
                let shape = Shape::new([n, size, size, channels], weight, step, padding, 1);
                let added = conv::Added { bias: &bias, residual: None, bounds: Bounds::NONE };
                let y = conv::forward(isa, &shape, x, w.as_slice().into(), added);
                let dx = conv::input_gradient(isa, &shape, &y, w.as_slice().into());
                (y, dx)
            };
            let (y, dx) = run(batch, &x);
            let (step_x, step_y) = (x.len() / batch, y.len() / batch);
            for (first, n) in [(0, 1), (5, 1), (63, 1), (0, 7), (11, 7), (57, 7)] {
                let (part_y, part_dx) = run(n, &x[first * step_x..(first + n) * step_x]);
                assert_same(&part_y, &y[first * step_y..][..part_y.len()], "y");
                assert_same(&part_dx, &dx[first * step_x..][..part_dx.len()], "dx");
            }
        }
    }
}

/// The result and the gradients of `x`, `weight`, bias and residual, ours or Burn's.
fn through_autodiff(case: &Case, each: bool, stock: bool) -> [Vec<f32>; 5] {
    let [x, weight, dy, bias, residual] = case.operands();
    let output = case.shape().output();
    let rows = if each { output[0] } else { 1 };
    let x = tensor(&x, case.x, true);
    let weight = tensor(&weight, case.weight(), true);
    let bias = tensor::<2>(&bias[..rows * output[3]], [rows, output[3]], true);
    let residual = tensor(&residual, output, true);
    let added =
        Added { bias: Some(bias.clone()), residual: Some(residual.clone()), bounds: Bounds::NONE };
    let y = if stock {
        stock::conv2d(x.clone(), weight.clone(), added, case.stride)
    } else {
        crate::conv2d(x.clone(), weight.clone(), added, case.stride)
    };
    let result = numbers(y.clone());
    let grads = (y * tensor(&dy, output, false)).sum().backward();
    let [dx, dw, dr] = [&x, &weight, &residual].map(|t| numbers(t.grad(&grads).unwrap()));
    [result, dx, dw, numbers(bias.grad(&grads).unwrap()), dr]
}

#[test]
fn agrees_with_burn_through_autodiff() {
    for case in CASES {
        for each in [false, true] {
            let theirs = through_autodiff(case, each, true);
            for (ours, theirs) in through_autodiff(case, each, false).iter().zip(theirs) {
                assert_near(ours, &wide(&theirs), 1e-4, &format!("{:?} {:?}", case.x, case.weight));
            }
        }
    }
}

#[test]
fn half_precision_weights_act_as_the_numbers_they_hold() {
    let direct = case([2, 5, 6, 20], [19, 1, 1], 1, NONE);
    for case in [&CASES[0], &direct] {
        let [x, weight, _, bias, _] = case.operands();
        for dtype in [DType::BF16, DType::F16] {
            let weight = tensor(&weight, case.weight(), false).cast(dtype);
            let run = |weight| {
                let bias = Some(tensor(&bias[..case.weight[0]], [1, case.weight[0]], false));
                let added = Added { bias, ..Added::default() };
                numbers(crate::conv2d(tensor(&x, case.x, false), weight, added, case.stride))
            };
            let (half, whole) = (run(weight.clone()), run(weight.cast(DType::F32)));
            assert_same(&half, &whole, &format!("{:?} {dtype:?}", case.x));
        }
    }
}

#[test]
fn only_tracked_inputs_get_gradients() {
    let [x, weight] = [2 * 3 * 4 * 4, 5 * 3 * 3 * 3].map(|len| Numbers::new(1).vec(len));
    let x = tensor(&x, [2, 4, 4, 3], false);
    let weight = tensor(&weight, [5, 3, 3, 3], true);
    let stride = Stride { step: 1, padding: Padding::all(1), upsample: false };
    let y = crate::conv2d(x.clone(), weight.clone(), Added::default(), stride);
    let plain = crate::conv2d(x, weight.clone().inner(), Added::default(), stride);
    assert_same(&numbers(y.clone()), &numbers(plain), "with and without autodiff");
    let grads = y.sum().backward();
    assert!(weight.grad(&grads).is_some());
}

fn matmul(left: &[f64], right: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    (0..m * n)
        .map(|at| (0..k).map(|i| left[at / n * k + i] * right[i * n + at % n]).sum())
        .collect()
}

#[test]
fn linear_agrees_with_the_reference() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (7, 13, 5), (128, 32, 128), (64, 128, 10), (33, 65, 47), (300, 40, 17)]
    {
        let mut source = Numbers::new(4);
        let [x, w, b] = [rows * inputs, outputs * inputs, outputs].map(|len| source.vec(len));
        let turned: Vec<f64> = (0..inputs * outputs)
            .map(|at| f64::from(w[at % outputs * inputs + at / outputs]))
            .collect();
        let mut y = matmul(&wide(&x), &turned, [rows, inputs, outputs]);
        y.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(b[at % outputs]));
        let run = |x: &[f32], rows: usize| {
            let x = tensor(x, [rows, inputs], false);
            let bias = Some(tensor(&b, [1, outputs], false));
            let w = tensor(&w, [outputs, inputs], false);
            numbers(crate::linear(x, w, Added { bias, ..Added::default() }))
        };
        let ours = run(&x, rows);
        assert_near(&ours, &y, 1e-5, &format!("{rows} {inputs} {outputs}"));
        assert_same(&run(&x[..inputs], 1), &ours[..outputs], "a row by itself");
    }
}
