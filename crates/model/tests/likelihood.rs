//! The derivative of a network by its input, and the likelihood of pictures.

use burn::tensor::{Device, Tensor, TensorData};
use std::ops::ControlFlow;
use std::path::Path;
use sumi_model::{Batch, Known, Likelihood, Model, TorchNoise, UNetDenoiser};
use sumi_process::Linear;
use sumi_sampler::{Denoiser, DifferentiableDenoiser, Limit, State};

fn open(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    Model::open(&folder, &Device::flex()).unwrap()
}

fn go_on(_: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn dot(a: &Batch, b: &Batch) -> f64 {
    a.times(b).samples().iter().flatten().sum()
}

/// `v^T J u` from the left, and by a central difference along `u`.
#[test]
fn the_derivative_is_that_of_finite_differences() {
    for (name, classes) in [("ddpm", None), ("ddim-v", None), ("classes", Some(&[2u32, 1][..]))] {
        let model = open(name);
        let [c, h, w] = model.picture_dims().unwrap();
        let mut noise = TorchNoise::new(5, 2);
        let mut normal = || {
            let data = TensorData::new(noise.normals(c * h * w), [2, c, h, w]);
            Batch(Tensor::from_data(data, &Device::flex()))
        };
        let (x, u, v) = (normal(), normal(), normal());
        let parameterisation = model.scheduler.parameterisation().unwrap();
        let classes = classes.map(<[u32]>::to_vec);
        let mut denoiser = UNetDenoiser::new(&model.unet, classes, &parameterisation, None);
        for time in [20.0, 500.0] {
            let level = parameterisation.process.level(time);
            let of = Linear { first: -level.sigma, second: level.alpha };
            let (denoised, product) = denoiser.denoise_vjp(&x, level, of, &v).unwrap();
            let plain = denoiser.denoise(&x, level).unwrap();
            assert_eq!(denoised.x0.to_vec(), plain.x0.to_vec(), "{name}");
            let mut at = |step: f64| {
                let x = x.combine(1.0, &u, step);
                let said = denoiser.denoise(&x, level).unwrap();
                dot(&v, &said.x0.combine(of.first, &said.eps, of.second))
            };
            // Wide enough for f32 to tell the two apart, narrow enough for the third derivative.
            const STEP: f64 = 5e-3;
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let scale = (dot(&product, &product) * dot(&u, &u)).sqrt();
            let error = (dot(&product, &u) - numeric).abs() / scale;
            assert!(error < 1e-3, "{name} at {time}: {error:e}");
        }
    }
}

/// Three pictures of bytes for the model, the first of one value.
fn pictures(model: &Model) -> Vec<f32> {
    let each: usize = model.picture_dims().unwrap().iter().product();
    let value = |i: usize| ((i / each) * (i * 37 % 256)) as f32 % 256.0;
    (0..3 * each).map(|i| 2.0 * value(i) / 255.0 - 1.0).collect()
}

#[test]
fn a_pictures_bound_does_not_depend_on_its_batch() {
    let mut model = open("classes");
    model.scheduler.num_train_timesteps = 30;
    let values = pictures(&model);
    let each = values.len() / 3;
    let likelihood = Likelihood::new(&model).unwrap();
    let limit = Limit::Clip { range: 1.0 };
    let all = Known { values: &values, classes: &[0, 2, 1], levels: 256, seed: 7 };
    let together = likelihood.bound(all, limit, &mut go_on).unwrap();
    assert_eq!((together.terms.len(), together.prior.len()), (30, 3));
    let last = Known { values: &values[2 * each..], classes: &[1], levels: 256, seed: 9 };
    let alone = likelihood.bound(last, limit, &mut go_on).unwrap();
    assert_eq!(together.totals()[2], alone.totals()[0]);
    assert!(together.totals().iter().all(|&bits| bits > 0.0));
    let unclipped = likelihood.bound(last, Limit::None, &mut go_on).unwrap();
    assert_ne!(unclipped.totals(), alone.totals());
}

#[test]
fn a_pictures_density_does_not_depend_on_its_batch_beyond_the_tolerance() {
    let model = open("classes");
    let values = pictures(&model);
    let each = values.len() / 3;
    let likelihood = Likelihood::new(&model).unwrap();
    let all = Known { values: &values, classes: &[0, 2, 1], levels: 256, seed: 7 };
    let together = likelihood.density(all, 1e-4, &mut go_on).unwrap();
    let last = Known { values: &values[2 * each..], classes: &[1], levels: 256, seed: 9 };
    let alone = likelihood.density(last, 1e-4, &mut go_on).unwrap();
    let off = (together.bits[2] - alone.bits[0]).abs();
    // Dozens of steps of that relative tolerance each; a network that nobody trained finds these pictures
    // most unlikely.
    assert!(off < 1e-3 * alone.bits[0].abs(), "{} and {}", together.bits[2], alone.bits[0]);
    assert!(together.evaluations > 20 && together.evaluations < 2000);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let model = open("classes");
    let values = pictures(&model);
    let likelihood = Likelihood::new(&model).unwrap();
    let known = Known { values: &values, classes: &[0, 2, 1], levels: 256, seed: 7 };
    let refusal = |known, tolerance| {
        likelihood.density(known, tolerance, &mut go_on).unwrap_err().to_string()
    };
    assert!(refusal(known, 0.0).contains("tolerance: expected a number from 1e-12 to 0.1"));
    assert!(
        refusal(Known { classes: &[], ..known }, 1e-3).contains("data: expected a class below")
    );
    assert!(
        refusal(Known { values: &values[1..], ..known }, 1e-3).contains("data: expected pictures")
    );
    assert!(refusal(Known { levels: 1, ..known }, 1e-3).contains("levels: expected at least 2"));
    let mut stop = |_: f64| ControlFlow::Break(());
    let stopped = likelihood.bound(known, Limit::None, &mut stop).unwrap_err();
    assert_eq!(stopped.to_string(), "cancelled");
}
