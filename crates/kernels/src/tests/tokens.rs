use super::*;
use crate::{Gelu, activation, activation::Function, layer_norm, stock};

/// `P(X <= x)` for a standard normal X: its power series about 0, or its continued fraction far out
/// (Abramowitz and Stegun 26.2.11 and 26.2.14).
fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let fraction = (1..100).rev().fold(x.abs(), |rest, n| x.abs() + f64::from(n) / rest);
    if x < 0.0 { density / fraction } else { 1.0 - density / fraction }
}

fn gelu(x: f64, which: Gelu) -> f64 {
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    match which {
        Gelu::Exact => x * normal_cdf(x),
        Gelu::Tanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            // (1 + tanh z) / 2, without what cancels.
            x * sigmoid(2.0 * inner)
        }
        Gelu::Quick => x * sigmoid(1.702 * x),
    }
}

#[test]
fn gelu_agrees_with_the_reference() {
    let mut x: Vec<f32> = Numbers::new(1).vec(1003).iter().map(|x| x * 9.0).collect();
    x.extend([0.0, -0.0, 1e-30, -1e-30, 40.0, -40.0]);
    let dy = Numbers::new(2).vec(x.len());
    for which in [Gelu::Exact, Gelu::Tanh, Gelu::Quick] {
        everywhere(|isa| {
            let y = activation::forward(isa, Function::Gelu(which), &x);
            let dx = activation::backward(isa, Function::Gelu(which), &x, &dy);
            for i in 0..x.len() {
                let (z, value) = (f64::from(x[i]), gelu(f64::from(x[i]), which));
                let error = (f64::from(y[i]) - value).abs();
                // The exponent of a tail is known to half a unit in its last place, 2e-6 at 5.
                let bound = if z > -5.0 { 2e-6 * value.abs() } else { 1e-4 * value.abs() };
                assert!(error <= bound + 1e-30, "{isa:?} {which:?}({z}): {}", y[i]);
                let slope = (gelu(z + 1e-5, which) - gelu(z - 1e-5, which)) / 2e-5;
                let error = (f64::from(dx[i]) - f64::from(dy[i]) * slope).abs();
                assert!(error <= 2e-6, "{isa:?} {which:?}'({z}): {}", dx[i]);
            }
            vec![y, dx]
        });
        for bad in [f32::NAN, f32::INFINITY] {
            let y = activation::forward(Isa::best(), Function::Gelu(which), &[bad, -1e30]);
            assert!(y[0].is_nan() == bad.is_nan() && y[1].abs() < 1e-6, "{which:?} {y:?}");
        }
    }
}

#[test]
fn geglu_agrees_with_the_reference() {
    for (rows, half) in [(1, 1), (3, 16), (5, 37), (2, 700)] {
        let x: Vec<f32> = Numbers::new(3).vec(rows * 2 * half).iter().map(|x| 3.0 * x).collect();
        let dy = Numbers::new(4).vec(rows * half);
        let reference = |x: &[f64]| -> Vec<f64> {
            let row = |row: &[f64]| -> Vec<f64> {
                (0..half).map(|i| row[i] * gelu(row[half + i], Gelu::Exact)).collect()
            };
            x.chunks(2 * half).flat_map(row).collect()
        };
        let dx = (rows * half < 200).then(|| slopes(&x, &dy, reference));
        everywhere(|isa| {
            let y = activation::geglu(isa, &x, half);
            assert_near(&y, &reference(&wide(&x)), 1e-6, &format!("{isa:?} {rows} {half}"));
            let ours = activation::geglu_backward(isa, &x, half, &dy);
            if let Some(dx) = &dx {
                assert_near(&ours, dx, 1e-5, &format!("{isa:?} {rows} {half} dx"));
            }
            vec![y, ours]
        });
    }
}

#[test]
fn layer_norm_agrees_with_the_reference() {
    for (rows, width) in [(1, 1), (4, 16), (3, 37), (2, 72), (600, 3)] {
        let mut source = Numbers::new(5);
        let x: Vec<f32> = source.vec(rows * width).iter().map(|x| 2.0 * x + 0.5).collect();
        let [gamma, beta] = [source.vec(width), source.vec(width)];
        let dy = source.vec(x.len());
        let reference = |x: &[f64], gamma: &[f64], beta: &[f64]| -> Vec<f64> {
            let row = |row: &[f64]| -> Vec<f64> {
                let mean = row.iter().sum::<f64>() / width as f64;
                let square = |x: &f64| (x - mean) * (x - mean);
                let variance = row.iter().map(square).sum::<f64>() / width as f64;
                let scale = (variance + 1e-5).sqrt().recip();
                (0..width).map(|c| (row[c] - mean) * scale * gamma[c] + beta[c]).collect()
            };
            x.chunks(width).flat_map(row).collect()
        };
        let (wx, wg, wb) = (wide(&x), wide(&gamma), wide(&beta));
        let expected = reference(&wx, &wg, &wb);
        let dg = slopes(&gamma, &dy, |gamma| reference(&wx, gamma, &wb));
        let db = slopes(&beta, &dy, |beta| reference(&wx, &wg, beta));
        let dx = (rows < 100).then(|| slopes(&x, &dy, |x| reference(x, &wg, &wb)));
        everywhere(|isa| {
            let what = format!("{isa:?} {rows} {width}");
            let (y, statistics) = layer_norm::forward(isa, &x, [&gamma, &beta], 1e-5);
            assert_near(&y, &expected, 1e-5, &what);
            let ours = layer_norm::backward(isa, [&x, &gamma, &dy], &statistics);
            if let Some(dx) = &dx {
                assert_near(&ours.0, dx, 1e-4, &format!("{what} dx"));
            }
            assert_near(&ours.1, &dg, 1e-4, &format!("{what} dgamma"));
            assert_near(&ours.2, &db, 1e-4, &format!("{what} dbeta"));
            vec![y, ours.0, ours.1, ours.2]
        });
    }
}

#[test]
fn operations_on_tokens_agree_with_burn_through_autodiff() {
    let mut source = Numbers::new(8);
    let [x, gamma, beta] = [12 * 22, 22, 22].map(|len| source.vec(len));
    let run = |ours: bool| {
        let x = tensor(&x, [12, 22], true);
        let [gamma, beta] = [&gamma, &beta].map(|x| tensor(x, [22], true));
        let (a, g, b) = (x.clone(), gamma.clone(), beta.clone());
        let y = if ours {
            let y = crate::gelu(crate::layer_norm(a, g, b, 1e-5), Gelu::Tanh);
            crate::geglu(crate::gelu(crate::gelu(y, Gelu::Exact), Gelu::Quick))
        } else {
            let y = stock::gelu(stock::layer_norm(a, g, b, 1e-5), Gelu::Tanh);
            stock::geglu(stock::gelu(stock::gelu(y, Gelu::Exact), Gelu::Quick))
        };
        let value = numbers(y.clone());
        let grads = y.powi_scalar(2).sum().backward();
        let gradients = [gamma, beta].map(|x| numbers(x.grad(&grads).unwrap()));
        [vec![value, numbers(x.grad(&grads).unwrap())], gradients.to_vec()].concat()
    };
    for (i, (ours, theirs)) in run(true).iter().zip(run(false)).enumerate() {
        assert_near(ours, &wide(&theirs), 1e-4, &format!("result {i}"));
    }
}
