use super::*;
use crate::{
    Activation, AdamWStep, activation, activation::Function, attention, norm, optimizer, stock,
};

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[test]
fn silu_agrees_with_the_reference() {
    let mut x: Vec<f32> = Numbers::new(1).vec(1003).iter().map(|x| x * 30.0).collect();
    x.extend([0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0, 1e30, -87.0, 88.0, -88.5]);
    let dy = Numbers::new(2).vec(x.len());
    everywhere(|isa| {
        let y = activation::forward(isa, Function::Silu, &x);
        let dx = activation::backward(isa, Function::Silu, &x, &dy);
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
    assert!(activation::forward(Isa::best(), Function::Silu, &[f32::NAN])[0].is_nan());
}

fn norm_reference(s: &norm::Shape, x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let (picture, per_group) = (s.channels * s.pixels, s.channels / s.groups);
    let mut y = vec![0.0; x.len()];
    for (sample, x) in x.chunks(picture).enumerate() {
        for group in 0..s.groups {
            let members: Vec<usize> =
                (0..picture).filter(|at| at % s.channels / per_group == group).collect();
            let count = members.len() as f64;
            let mean = members.iter().map(|&at| x[at]).sum::<f64>() / count;
            let variance = members.iter().map(|&at| (x[at] - mean).powi(2)).sum::<f64>() / count;
            for at in members {
                let c = at % s.channels;
                let z = (x[at] - mean) / (variance + s.eps).sqrt() * gamma[c] + beta[c];
                let active = s.activation == Activation::Silu;
                y[sample * picture + at] = if active { z * sigmoid(z) } else { z };
            }
        }
    }
    y
}

#[test]
fn group_norm_agrees_with_the_reference() {
    for (samples, channels, pixels, groups) in
        [(2, 32, 16, 32), (2, 16, 16, 8), (3, 6, 35, 2), (1, 8, 1, 2), (2, 3, 7, 1), (1, 72, 9, 4)]
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

fn attention_reference(s: &attention::Shape, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let (t, keys, d) = (s.queries, s.keys, s.width);
    let mut y = vec![0.0; q.len()];
    for (n, h) in (0..s.samples).flat_map(|n| (0..s.heads).map(move |h| (n, h))) {
        let place = |tokens: usize, token: usize| ((n * tokens + token) * s.heads + h) * d;
        let part = |x: &[f64], len: usize| -> Vec<f64> {
            (0..len).flat_map(|token| x[place(len, token)..][..d].to_vec()).collect()
        };
        let (q, k, v) = (part(q, t), part(k, keys), part(v, keys));
        let mut scores = matmul(&q, &turn(&k, keys, d), [t, d, keys]);
        for row in scores.chunks_mut(keys) {
            row.iter_mut().for_each(|score| *score = (*score / (d as f64).sqrt()).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
        for (token, row) in matmul(&scores, &v, [t, keys, d]).chunks(d).enumerate() {
            y[place(t, token)..][..d].copy_from_slice(row);
        }
    }
    y
}

#[test]
fn attention_agrees_with_the_reference() {
    for (n, h, t, keys, d) in
        [(3, 1, 16, 16, 64), (1, 2, 5, 9, 7), (2, 1, 1, 1, 3), (1, 1, 17, 33, 20), (2, 3, 4, 35, 5)]
    {
        let shape = attention::Shape::new([n, t, h, d], [n, keys, h, d], [n, keys, h, d]);
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
            let (ours, notes) = attention::forward(isa, &shape, &q, &k, &v);
            assert_near(&ours, &y, 1e-5, &format!("{isa:?} {shape:?} y"));
            let [dq, dk, dv] = attention::backward(isa, &shape, [&q, &k, &v, &notes, &dy]);
            if let Some(expected) = &gradients {
                for (ours, expected) in [&dq, &dk, &dv].into_iter().zip(expected) {
                    assert_near(ours, expected, 1e-4, &format!("{isa:?} {shape:?} gradient"));
                }
            }
            let one = attention::Shape { samples: 1, ..shape };
            let last = |x: &[f32]| x[x.len() - x.len() / n..].to_vec();
            let (alone, _) = attention::forward(isa, &one, &last(&q), &last(&k), &last(&v));
            assert_same(&alone, &last(&ours), "a sample by itself");
            vec![ours, notes, dq, dk, dv]
        });
    }
}

/// Several blocks and spans of queries, and several lots of keys.
#[test]
fn long_attention_agrees_with_burn() {
    let dims = [[1, 600, 2, 20], [1, 300, 2, 20], [1, 300, 2, 20]];
    let mut source = Numbers::new(12);
    let data = dims.map(|dims| source.vec(dims.iter().product()));
    let run = |ours: bool| {
        let [q, k, v] = [0, 1, 2].map(|i| tensor(&data[i], dims[i], true));
        let (a, b, c) = (q.clone(), k.clone(), v.clone());
        let y = if ours { crate::attention(a, b, c) } else { stock::attention(a, b, c) };
        let grads = y.clone().powi_scalar(2).sum().backward();
        let [dq, dk, dv] = [q, k, v].map(|x| numbers(x.grad(&grads).unwrap()));
        [numbers(y), dq, dk, dv]
    };
    for (i, (ours, theirs)) in run(true).iter().zip(run(false)).enumerate() {
        assert_near(ours, &wide(&theirs), 1e-4, &format!("result {i}"));
    }
}

#[test]
#[should_panic(expected = "expected keys")]
fn attention_to_nothing_is_refused() {
    attention::Shape::new([1, 2, 1, 4], [1, 0, 1, 4], [1, 0, 1, 4]);
}

#[test]
fn scores_far_below_zero_still_make_weights() {
    let shape = attention::Shape { samples: 1, heads: 1, queries: 2, keys: 5, width: 1 };
    let (q, v) = ([-1000.0, 1000.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
    let (y, _) = attention::forward(Isa::best(), &shape, &q, &[3.0, 2.0, 1.0, 4.0, 5.0], &v);
    assert_near(&y, &[3.0, 5.0], 1e-6, "one key stands out");
}

#[test]
fn attention_of_many_queries_and_of_nan() {
    let shape = attention::Shape { samples: 1, heads: 1, queries: 300, keys: 70, width: 12 };
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
    let shapes = [[4, 6, 6, 8], [4, 6, 6, 8], [4, 6, 6, 8]];
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
        let (x, w) = (x2.clone(), w2.clone());
        let b = crate::Added { bias: Some(b2.clone().unsqueeze()), ..Default::default() };
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
fn concat_agrees_with_burn() {
    for (pixels, a, b) in [(1, 1, 1), (6, 16, 32), (35, 5, 70), (70, 33, 17)] {
        let mut source = Numbers::new(13);
        let [x, y, dz] = [a, b, a + b].map(|channels| source.vec(2 * pixels * channels));
        let run = |ours: bool| {
            let x = tensor(&x, [2, pixels, 1, a], true);
            let y = tensor(&y, [2, pixels, 1, b], true);
            let both = (x.clone(), y.clone());
            let z = if ours {
                crate::concat(both.0, both.1)
            } else {
                Tensor::cat(vec![both.0, both.1], 3)
            };
            let value = numbers(z.clone());
            let grads = (z * tensor(&dz, [2, pixels, 1, a + b], false)).sum().backward();
            [value, numbers(x.grad(&grads).unwrap()), numbers(y.grad(&grads).unwrap())]
        };
        for (ours, theirs) in run(true).iter().zip(run(false)) {
            assert_same(ours, &theirs, &format!("{pixels} pixels, {a} and {b} channels"));
        }
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
