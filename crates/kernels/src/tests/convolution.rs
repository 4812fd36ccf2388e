use super::*;
use crate::{
    Padding,
    conv::{self, Shape},
    stock,
};

/// `y`, `dx`, `dw`, `db` in `f64`.
fn reference(shape: &Shape, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> [Vec<f64>; 4] {
    let w = shape.window;
    let [n_len, o_len, oh, ow] = shape.output();
    let mut y = vec![0.0; n_len * o_len * oh * ow];
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    let mut db = vec![0.0; o_len];
    for n in 0..n_len {
        for o in 0..o_len {
            for p in 0..oh * ow {
                let at = (n * o_len + o) * oh * ow + p;
                y[at] += f64::from(bias[o]);
                db[o] += f64::from(dy[at]);
                for i in 0..shape.inputs {
                    for t in 0..w.taps() {
                        let iy = (p / ow * w.stride + t / w.kernel_w) as isize - w.top;
                        let ix = (p % ow * w.stride + t % w.kernel_w) as isize - w.left;
                        let inside = (0..w.height as isize).contains(&iy)
                            && (0..w.width as isize).contains(&ix);
                        if !inside {
                            continue;
                        }
                        let from = ((n * shape.inputs + i) * w.height + iy as usize) * w.width
                            + ix as usize;
                        let tap = (o * shape.inputs + i) * w.taps() + t;
                        y[at] += f64::from(x[from]) * f64::from(weight[tap]);
                        dx[from] += f64::from(dy[at]) * f64::from(weight[tap]);
                        dw[tap] += f64::from(dy[at]) * f64::from(x[from]);
                    }
                }
            }
        }
    }
    [y, dx, dw, db]
}

struct Case {
    x: [usize; 4],
    /// Output channels, kernel height, kernel width.
    weight: [usize; 3],
    stride: usize,
    padding: Padding,
}

const fn case(
    x: [usize; 4],
    weight: [usize; 3],
    stride: usize,
    [top, bottom, left, right]: [usize; 4],
) -> Case {
    Case { x, weight, stride, padding: Padding { top, bottom, left, right } }
}

const ALL: [usize; 4] = [1; 4];
const NONE: [usize; 4] = [0; 4];
const CASES: &[Case] = &[
    case([3, 32, 8, 8], [32, 3, 3], 1, ALL),
    case([5, 64, 4, 4], [40, 3, 3], 1, ALL),
    case([2, 96, 8, 8], [32, 3, 3], 1, ALL),
    case([2, 8, 8, 8], [16, 3, 3], 2, [0, 1, 0, 1]),
    case([2, 8, 8, 8], [16, 3, 3], 2, ALL),
    case([3, 32, 8, 8], [48, 1, 1], 1, NONE),
    case([3, 5, 5, 7], [3, 1, 1], 1, NONE),
    case([2, 16, 32, 32], [4, 1, 1], 1, NONE),
    case([1, 3, 28, 28], [9, 3, 3], 1, ALL),
    case([2, 1, 28, 28], [33, 3, 3], 1, ALL),
    case([2, 12, 28, 28], [1, 1, 1], 1, NONE),
    case([1, 2, 33, 31], [5, 3, 3], 1, ALL),
    case([2, 3, 7, 5], [2, 3, 3], 2, ALL),
    case([2, 3, 9, 6], [2, 5, 3], 3, [2, 0, 1, 2]),
    case([1, 2, 6, 6], [3, 2, 2], 2, NONE),
    case([1, 2, 6, 7], [3, 1, 1], 2, NONE),
    case([1, 2, 9, 9], [3, 2, 2], 4, NONE),
    case([2, 2, 6, 7], [3, 4, 2], 1, NONE),
    case([2, 2, 5, 5], [3, 3, 3], 1, [3, 4, 3, 3]),
    case([2, 3, 1, 1], [4, 3, 3], 1, ALL),
    case([9, 70, 2, 2], [7, 3, 3], 1, ALL),
    case([1, 4, 40, 40], [3, 7, 7], 1, [3; 4]),
    case([1, 150, 6, 6], [130, 3, 3], 1, ALL),
];

impl Case {
    fn shape(&self) -> Shape {
        let [o, kh, kw] = self.weight;
        Shape::new(self.x, [o, self.x[1], kh, kw], self.stride, self.padding)
    }

    /// `x`, `weight`, `bias` and the gradient of `y`.
    fn operands(&self) -> [Vec<f32>; 4] {
        let mut numbers = Numbers::new(7);
        let [o, kh, kw] = self.weight;
        let lens = [
            self.x.iter().product(),
            o * self.x[1] * kh * kw,
            o,
            self.shape().output().iter().product(),
        ];
        lens.map(|len| numbers.vec(len))
    }
}

#[test]
fn agrees_with_the_reference() {
    for case in CASES {
        let shape = case.shape();
        let [x, weight, bias, dy] = case.operands();
        let [y, dx, dw, db] = reference(&shape, &x, &weight, &bias, &dy);
        everywhere(|isa| {
            let what = format!("{isa:?} {:?} {:?} / {}", case.x, case.weight, case.stride);
            let ours = conv::forward(isa, &shape, &x, &weight, &bias);
            assert_near(&ours, &y, 1e-5, &format!("{what}: y"));
            let ours_dx = conv::input_gradient(isa, &shape, &dy, &weight);
            assert_near(&ours_dx, &dx, 1e-5, &format!("{what}: dx"));
            let (ours_dw, ours_db) = conv::weight_gradient(isa, &shape, &x, &dy);
            assert_near(&ours_dw, &dw, 1e-5, &format!("{what}: dw"));
            assert_near(&ours_db, &db, 1e-5, &format!("{what}: db"));
            vec![ours, ours_dx, ours_dw, ours_db]
        });
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let batch = 64;
    for (channels, size, kernel, stride) in
        [(32, 8, 3, 1), (64, 4, 3, 1), (8, 8, 3, 2), (16, 4, 1, 1)]
    {
        let weight = [24, channels, kernel, kernel];
        let padding = Padding::all(kernel / 2);
        let mut source = Numbers::new(3);
        let x = source.vec(batch * channels * size * size);
        let w = source.vec(weight.iter().product());
        let bias = source.vec(24);
        for isa in Isa::available() {
            let run = |n: usize, x: &[f32]| {
                let shape = Shape::new([n, channels, size, size], weight, stride, padding);
                let y = conv::forward(isa, &shape, x, &w, &bias);
                let dx = conv::input_gradient(isa, &shape, &y, &w);
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

#[test]
fn agrees_with_burn_through_autodiff() {
    for case in CASES {
        let [o, kh, kw] = case.weight;
        let [x, weight, bias, dy] = case.operands();
        let shape = case.shape();
        let gradients = |stock: bool| {
            let x = tensor(&x, case.x, true);
            let weight = tensor(&weight, [o, case.x[1], kh, kw], true);
            let bias = tensor(&bias, [o], true);
            let arguments =
                (x.clone(), weight.clone(), Some(bias.clone()), case.stride, case.padding);
            let (a, b, c, d, e) = arguments;
            let y = if stock { stock::conv2d(a, b, c, d, e) } else { crate::conv2d(a, b, c, d, e) };
            let result = numbers(y.clone());
            let grads = (y * tensor(&dy, shape.output(), false)).sum().backward();
            let [dx, dw] = [x.grad(&grads), weight.grad(&grads)].map(|g| numbers(g.unwrap()));
            [result, dx, dw, numbers(bias.grad(&grads).unwrap())]
        };
        for (ours, theirs) in gradients(false).iter().zip(gradients(true)) {
            assert_near(ours, &wide(&theirs), 1e-4, &format!("{:?} {:?}", case.x, case.weight));
        }
    }
}

#[test]
fn only_tracked_inputs_get_gradients() {
    let [x, weight] = [2 * 3 * 4 * 4, 5 * 3 * 3 * 3].map(|len| Numbers::new(1).vec(len));
    let x = tensor(&x, [2, 3, 4, 4], false);
    let weight = tensor(&weight, [5, 3, 3, 3], true);
    let y = crate::conv2d(x.clone(), weight.clone(), None, 1, Padding::all(1));
    let plain = crate::conv2d(x, weight.clone().inner(), None, 1, Padding::all(1));
    assert_same(&numbers(y.clone()), &numbers(plain), "with and without autodiff");
    let grads = y.sum().backward();
    assert!(weight.grad(&grads).is_some());
}
