use super::*;
use crate::{Activation, AdamWStep, activation, attention, linear, norm, optimizer, stock};

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The derivative of `f` at each of `x`, times `dy` and summed, by central differences.
fn slopes(x: &[f32], dy: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let x = wide(x);
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let at = |offset: f64| {
                let mut x = x.clone();
                x[i] += offset;
                f(&x).iter().zip(dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>()
            };
            (at(step) - at(-step)) / (2.0 * step)
        })
        .collect()
}

#[test]
fn silu_agrees_with_the_reference() {
    let mut x: Vec<f32> = Numbers::new(1).vec(1003).iter().map(|x| x * 30.0).collect();
    x.extend([0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0, 1e30, -87.0, 88.0, -88.5]);
    let dy = Numbers::new(2).vec(x.len());
    everywhere(|isa| {
        let y = activation::forward(isa, &x);
        let dx = activation::backward(isa, &x, &dy);
        for i in 0..x.len() {
            let z = f64::from(x[i]);
            let (value, s) = (z * sigmoid(z), sigmoid(z));
            let slope = f64::from(dy[i]) * s * (1.0 + z * (1.0 - s));
            let error = (f64::from(y[i]) - value).abs();
            assert!(error <= 1e-6 * value.abs() + 1e-35, "{isa:?} silu({z}): {}", y[i]);
            assert!((f64::from(dx[i]) - slope).abs() <= 2e-6, "{isa:?} silu'({z}): {}", dx[i]);
        }
        vec![y, dx]
    });
    assert!(activation::forward(Isa::best(), &[f32::NAN])[0].is_nan());
}

fn norm_reference(s: &norm::Shape, x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let span = s.channels / s.groups * s.pixels;
    let mut y = vec![0.0; x.len()];
    for (group, x) in x.chunks(span).enumerate() {
        let mean = x.iter().sum::<f64>() / span as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / span as f64;
        for (i, x) in x.iter().enumerate() {
            let at = group * span + i;
            let c = at / s.pixels % s.channels;
            let z = (x - mean) / (variance + s.eps).sqrt() * gamma[c] + beta[c];
            y[at] = if s.activation == Activation::Silu { z * sigmoid(z) } else { z };
        }
    }
    y
}

#[test]
fn group_norm_agrees_with_the_reference() {
    for (samples, channels, pixels, groups) in
        [(2, 32, 64, 32), (2, 16, 16, 8), (3, 6, 35, 2), (1, 8, 1, 2), (2, 3, 7, 1), (1, 8, 50, 4)]
    {
        for activation in [Activation::Identity, Activation::Silu] {
            let shape = norm::Shape { samples, channels, pixels, groups, eps: 1e-5, activation };
            let mut source = Numbers::new(5);
            let x: Vec<f32> =
                source.vec(samples * channels * pixels).iter().map(|x| 2.0 * x + 0.5).collect();
            let [gamma, beta] = [source.vec(channels), source.vec(channels)];
            let dy = source.vec(x.len());
            let (wx, wg, wb) = (wide(&x), wide(&gamma), wide(&beta));
            let expected = norm_reference(&shape, &wx, &wg, &wb);
            let dx = slopes(&x, &dy, |x| norm_reference(&shape, x, &wg, &wb));
            let dg = slopes(&gamma, &dy, |gamma| norm_reference(&shape, &wx, gamma, &wb));
            let db = slopes(&beta, &dy, |beta| norm_reference(&shape, &wx, &wg, beta));
            everywhere(|isa| {
                let (y, statistics) = norm::forward(isa, shape, &x, &gamma, &beta);
                let ours = norm::backward(isa, shape, [&x, &gamma, &beta, &dy], &statistics);
                assert_near(&y, &expected, 1e-5, &format!("{isa:?} {shape:?} y"));
                assert_near(&ours.0, &dx, 1e-4, &format!("{isa:?} {shape:?} dx"));
                assert_near(&ours.1, &dg, 1e-4, &format!("{isa:?} {shape:?} dgamma"));
                assert_near(&ours.2, &db, 1e-4, &format!("{isa:?} {shape:?} dbeta"));
                vec![y, ours.0, ours.1, ours.2]
            });
        }
    }
}

#[test]
fn group_norm_of_a_large_mean_keeps_its_digits() {
    let x: Vec<f32> = Numbers::new(1).vec(4096).iter().map(|x| x + 1000.0).collect();
    let shape = norm::Shape {
        samples: 1,
        channels: 4,
        pixels: 1024,
        groups: 1,
        eps: 1e-5,
        activation: Activation::Identity,
    };
    let [gamma, beta] = [[1.0; 4], [0.0; 4]];
    let expected = norm_reference(&shape, &wide(&x), &wide(&gamma), &wide(&beta));
    let (y, _) = norm::forward(Isa::best(), shape, &x, &gamma, &beta);
    assert_near(&y, &expected, 1e-4, "mean 1000, deviation 0.6");
}

fn matmul(left: &[f64], right: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    (0..m * n)
        .map(|at| (0..k).map(|i| left[at / n * k + i] * right[i * n + at % n]).sum())
        .collect()
}

fn turn(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|at| x[at % rows * columns + at / rows]).collect()
}

#[test]
fn linear_agrees_with_the_reference() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (7, 13, 5), (128, 32, 128), (64, 128, 10), (33, 65, 47), (300, 40, 17)]
    {
        let shape = linear::Shape::new([rows, inputs], [outputs, inputs]);
        let mut source = Numbers::new(4);
        let [x, w, b, dy] =
            [rows * inputs, outputs * inputs, outputs, rows * outputs].map(|len| source.vec(len));
        let (wx, ww, wdy) = (wide(&x), wide(&w), wide(&dy));
        let mut y = matmul(&wx, &turn(&ww, outputs, inputs), [rows, inputs, outputs]);
        y.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(b[at % outputs]));
        let dx = matmul(&wdy, &ww, [rows, outputs, inputs]);
        let dw = matmul(&turn(&wdy, rows, outputs), &wx, [outputs, rows, inputs]);
        let db = matmul(&vec![1.0; rows], &wdy, [1, rows, outputs]);
        everywhere(|isa| {
            let ours = [
                linear::forward(isa, &shape, &x, &w, &b),
                linear::input_gradient(isa, &shape, &dy, &w),
                linear::weight_gradient(isa, &shape, &x, &dy),
                linear::bias_gradient(&shape, &dy),
            ];
            for (ours, expected) in ours.iter().zip([&y, &dx, &dw, &db]) {
                assert_near(ours, expected, 1e-5, &format!("{isa:?} {shape:?}"));
            }
            let one = linear::Shape::new([1, inputs], [outputs, inputs]);
            let first = linear::forward(isa, &one, &x[..inputs], &w, &b);
            assert_same(&first, &ours[0][..outputs], "a row by itself");
            ours.into()
        });
    }
}

fn attention_reference(s: &attention::Shape, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let (t, keys, d) = (s.queries, s.keys, s.width);
    let mut y = Vec::new();
    for head in 0..s.heads {
        let part = |x: &[f64], len: usize| x[head * len * d..(head + 1) * len * d].to_vec();
        let (q, k, v) = (part(q, t), part(k, keys), part(v, keys));
        let mut scores = matmul(&q, &turn(&k, keys, d), [t, d, keys]);
        for row in scores.chunks_mut(keys) {
            row.iter_mut().for_each(|score| *score = (*score / (d as f64).sqrt()).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
        y.extend(matmul(&scores, &v, [t, keys, d]));
    }
    y
}

#[test]
fn attention_agrees_with_the_reference() {
    for (n, h, t, keys, d) in
        [(3, 1, 16, 16, 64), (1, 2, 5, 9, 7), (2, 1, 1, 1, 3), (1, 1, 17, 33, 20)]
    {
        let shape = attention::Shape::new([n, h, t, d], [n, h, keys, d], [n, h, keys, d]);
        let mut source = Numbers::new(6);
        let [q, k, v, dy] = [t, keys, keys, t].map(|len| source.vec(n * h * len * d));
        let (wq, wk, wv) = (wide(&q), wide(&k), wide(&v));
        let y = attention_reference(&shape, &wq, &wk, &wv);
        let gradients = if n * t < 40 {
            Some([
                slopes(&q, &dy, |q| attention_reference(&shape, q, &wk, &wv)),
                slopes(&k, &dy, |k| attention_reference(&shape, &wq, k, &wv)),
                slopes(&v, &dy, |v| attention_reference(&shape, &wq, &wk, v)),
            ])
        } else {
            None
        };
        everywhere(|isa| {
            let (ours, weights) = attention::forward(isa, &shape, &q, &k, &v);
            assert_near(&ours, &y, 1e-5, &format!("{isa:?} {shape:?} y"));
            let [dq, dk, dv] = attention::backward(isa, &shape, [&q, &k, &v, &weights, &dy]);
            if let Some(expected) = &gradients {
                for (ours, expected) in [&dq, &dk, &dv].into_iter().zip(expected) {
                    assert_near(ours, expected, 1e-4, &format!("{isa:?} {shape:?} gradient"));
                }
            }
            let one = attention::Shape { heads: 1, ..shape };
            let last = |x: &[f32], len: usize| x[x.len() - len * d..].to_vec();
            let (lq, lk, lv) = (last(&q, t), last(&k, keys), last(&v, keys));
            let (alone, _) = attention::forward(isa, &one, &lq, &lk, &lv);
            assert_same(&alone, &last(&ours, t), "a head by itself");
            vec![ours, weights, dq, dk, dv]
        });
    }
}

#[test]
fn attention_of_many_queries_and_of_nan() {
    let shape = attention::Shape { heads: 1, queries: 300, keys: 70, width: 12 };
    let mut source = Numbers::new(9);
    let [mut q, k, v] = [300, 70, 70].map(|len| source.vec(len * 12));
    let y = attention_reference(&shape, &wide(&q), &wide(&k), &wide(&v));
    let (ours, _) = attention::forward(Isa::best(), &shape, &q, &k, &v);
    assert_near(&ours, &y, 1e-5, "300 queries");
    q[0] = f32::NAN;
    let (ours, _) = attention::forward(Isa::best(), &shape, &q, &k, &v);
    assert!(ours[0].is_nan() && !ours[12].is_nan());
}

#[test]
fn operations_agree_with_burn_through_autodiff() {
    let mut source = Numbers::new(8);
    let shapes = [[4, 8, 6, 6], [4, 8, 6, 6], [4, 8, 6, 6]];
    let data = shapes.map(|shape| source.vec(shape.iter().product()));
    let [gamma, beta] = [source.vec(8), source.vec(8)];
    let [x2, w2, b2] = [9 * 20, 30 * 20, 30].map(|len| source.vec(len));
    let run = |ours: bool| {
        let [q, k, v] = [0, 1, 2].map(|i| tensor(&data[i], shapes[i], true));
        let [gamma, beta, b2] =
            [(&gamma, 8), (&beta, 8), (&b2, 30)].map(|(x, n)| tensor(x, [n], true));
        let [x2, w2] = [(&x2, [9, 20]), (&w2, [30, 20])].map(|(x, dims)| tensor(x, dims, true));
        let (a, b, c) = (q.clone(), k.clone(), v.clone());
        let attended = if ours { crate::attention(a, b, c) } else { stock::attention(a, b, c) };
        let (g, b) = (gamma.clone(), beta.clone());
        let normed = if ours {
            crate::group_norm(attended, g, b, 4, 1e-5, Activation::Silu)
        } else {
            stock::group_norm(attended, g, b, 4, 1e-5, Activation::Silu)
        };
        let (x, w, b) = (x2.clone(), w2.clone(), Some(b2.clone()));
        let flat = if ours { crate::linear(x, w, b) } else { stock::linear(x, w, b) };
        let flat = if ours { crate::silu(flat) } else { burn::tensor::activation::silu(flat) };
        let value = [numbers(normed.clone()), numbers(flat.clone())].concat();
        let grads = (normed.powi_scalar(2).sum() + flat.powi_scalar(2).sum()).backward();
        let mut all = vec![value];
        all.extend([q, k, v].map(|x| numbers(x.grad(&grads).unwrap())));
        all.extend([gamma, beta, b2].map(|x| numbers(x.grad(&grads).unwrap())));
        all.extend([x2, w2].map(|x| numbers(x.grad(&grads).unwrap())));
        all
    };
    for (i, (ours, theirs)) in run(true).iter().zip(run(false)).enumerate() {
        assert_near(ours, &wide(&theirs), 1e-4, &format!("result {i}"));
    }
}

#[test]
fn views_are_read_as_they_are_meant() {
    let data = Numbers::new(2).vec(2 * 6 * 4 * 5);
    let x = tensor(&data, [2, 4, 6, 5], false).swap_dims(1, 2).narrow(1, 1, 4);
    let expected = numbers(burn::tensor::activation::silu(x.clone()));
    assert_near(&numbers(crate::silu(x.clone())), &wide(&expected), 1e-6, "silu of a view");
    let total: f64 = wide(&numbers(x.clone())).iter().map(|x| x * x).sum();
    assert_near(&numbers(crate::sum_of_squares(x.clone())), &[total], 1e-6, "its squares");
    let moved = crate::lerp(x.clone(), x.clone() * 3.0, 0.5);
    assert_near(&numbers(moved), &wide(&numbers(x * 2.0)), 1e-6, "its average");
}

#[test]
fn other_element_types_are_left_to_burn() {
    let device = Device::flex();
    let x = Tensor::<1>::from_data(
        TensorData::new(vec![0.5f64, -1.0], [2]),
        (&device, burn::tensor::DType::F64),
    );
    let y = crate::silu(x).into_data().try_to_vec::<f64>().unwrap();
    assert!((y[0] - 0.5 * sigmoid(0.5)).abs() < 1e-12);
}

const STEP: AdamWStep = AdamWStep {
    learning_rate: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 3,
    grad_scale: 0.5,
};

#[test]
fn adamw_agrees_with_the_formula_and_with_burn() {
    for len in [1, 37, 40_000] {
        let mut source = Numbers::new(11);
        let [p, g, m, mut v] = [(); 4].map(|()| source.vec(len));
        v.iter_mut().for_each(|v| *v = v.abs());
        let mut expected = [Vec::new(), Vec::new(), Vec::new()];
        for i in 0..len {
            let [p, g, m, v] = [p[i], g[i] * 0.5, m[i], v[i]].map(f64::from);
            let (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
            let denominator = v.sqrt() / (1.0 - 0.999f64.powi(3)).sqrt() + 1e-8;
            let p = p * (1.0 - 0.001) - 0.01 / (1.0 - 0.9f64.powi(3)) * m / denominator;
            for (list, value) in expected.iter_mut().zip([p, m, v]) {
                list.push(value);
            }
        }
        everywhere(|isa| {
            let (mut p, mut m, mut v) = (p.clone(), m.clone(), v.clone());
            optimizer::adamw(isa, STEP, &mut p, &g, [&mut m, &mut v]);
            for (ours, expected) in [&p, &m, &v].into_iter().zip(&expected) {
                assert_near(ours, expected, 1e-6, &format!("{isa:?} {len}"));
            }
            vec![p, m, v]
        });
        let [p, g, m, v] = [&p, &g, &m, &v].map(|x| tensor(x, [len], false));
        let kept = p.clone();
        let before = numbers(kept.clone());
        let ours = crate::adamw(p.clone(), g.clone(), m.clone(), v.clone(), STEP);
        let theirs = stock::adamw(p, g, [m, v], STEP);
        assert_same(&numbers(kept), &before, "a shared parameter");
        for (ours, theirs) in [(ours.0, theirs.0), (ours.1, theirs.1), (ours.2, theirs.2)] {
            assert_near(&numbers(ours), &wide(&numbers(theirs)), 1e-6, "tensors");
        }
    }
}

#[test]
fn lerp_and_sum_of_squares_agree_with_their_formulas() {
    for len in [0, 1, 15, 100, 50_001] {
        let mut source = Numbers::new(12);
        let [a, b] = [source.vec(len), source.vec(len)];
        let mixed: Vec<f64> = a
            .iter()
            .zip(&b)
            .map(|(&a, &b)| f64::from(a) + 0.25 * (f64::from(b) - f64::from(a)))
            .collect();
        let squares = wide(&a).iter().map(|x| x * x).sum::<f64>();
        everywhere(|isa| {
            let mut ours = a.clone();
            optimizer::lerp(isa, &mut ours, &b, 0.25);
            assert_near(&ours, &mixed, 1e-6, "lerp");
            let sum = optimizer::sum_of_squares(isa, &a);
            assert_near(&[sum], &[squares], 1e-6, "sum of squares");
            vec![ours, vec![sum]]
        });
    }
}

#[test]
fn setting_threads_twice_is_harmless() {
    let running = rayon::current_num_threads();
    assert_eq!(crate::set_threads(running), Ok(()));
    let error = crate::set_threads(running + 1).unwrap_err();
    assert_eq!((error.asked, error.running), (running + 1, running));
}
