//! Guidance and editing on a small network that diffusers wrote.

use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;
use sumi_model::{
    Batch, Card, Classes, Edit, Ends, Generated, Generator, Guidance, Interpolation, Model, Plan,
    Request, SamplerChoice, TorchNoise, UNetDenoiser, Weak,
};
use sumi_process::Prediction;
use sumi_sampler::{Clip, Guided, Linked, Resampling, Run, SamplerKind, ddim};

const DIMS: [usize; 3] = [3, 16, 16];
const EACH: usize = 3 * 16 * 16;

/// A model of three classes, of which the last is taken to stand for none.
fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/classes");
    let mut model = Model::open(&folder, &Device::flex()).unwrap();
    model.card = Some(Card { null_class: Some(2), ..Card::default() });
    model
}

fn plan(model: &Model, sampler: &str, steps: usize) -> Plan {
    let kind = SamplerKind::named(sampler).ok();
    let choice = SamplerChoice { kind, steps: Some(steps), ..SamplerChoice::default() };
    Plan::new(&model.scheduler, choice).unwrap()
}

fn request(count: usize, batch: usize, classes: Classes) -> Request {
    Request { count, batch, seed: 3, classes, noise: None }
}

fn all(mut generator: Generator<'_>) -> Generated {
    let mut all = generator.next_batch(&mut ()).unwrap().unwrap();
    while let Some(batch) = generator.next_batch(&mut ()).unwrap() {
        all.samples.extend(batch.samples);
        all.classes.extend(batch.classes);
    }
    all
}

fn guidance(scale: f64) -> Guidance<'static> {
    Guidance { weak: Weak::NoClass, scale, rescale: 0.0, interval: None }
}

fn picture() -> Vec<f32> {
    (0..EACH).map(|i| (i as f32 * 0.37).sin()).collect()
}

#[test]
fn both_opinions_in_one_pass_are_those_of_two() {
    let model = model();
    let plan = plan(&model, "ddim", 4);
    let generator = Generator::new(&model, &plan, request(3, 3, Classes::All)).unwrap();
    let found = all(generator.guided(guidance(3.0)).unwrap());
    assert_eq!(found.classes, [0, 1, 0]);

    let of = |classes| {
        UNetDenoiser::new(&model.unet, Some(classes), &plan.parameterisation, Some(&plan.grid))
    };
    let pair = (of(vec![0, 1, 0]), of(vec![2, 2, 2]));
    let inner = Guided { pair, scale: 3.0, rescale: None, interval: None };
    let mut denoiser = Linked(Clip { inner, limit: plan.limit });
    let mut noise = TorchNoise::new(3, 3);
    let x = TensorData::new(noise.normals(EACH), [3, 3, 16, 16]);
    let x = Batch(Tensor::from_data(x, &Device::flex()));
    let (noise, observer) = (&mut noise, &mut ());
    let mut run = Run { denoiser: &mut denoiser, grid: &plan.grid, noise, observer };
    assert!(ddim(x, &mut run, 0.0).unwrap().to_vec() == found.samples);
}

#[test]
fn scale_1_is_the_class_and_scale_0_is_none() {
    let model = model();
    let plan = plan(&model, "ddpm", 4);
    let plain =
        |classes| all(Generator::new(&model, &plan, request(2, 2, classes)).unwrap()).samples;
    let guided = |scale| {
        let generator = Generator::new(&model, &plan, request(2, 1, Classes::One(1))).unwrap();
        all(generator.guided(guidance(scale)).unwrap()).samples
    };
    assert!(guided(1.0) == plain(Classes::One(1)));
    assert!(guided(0.0) == plain(Classes::One(2)));
    assert!(guided(2.0) != guided(1.0));
}

#[test]
fn guidance_that_cannot_be_is_refused_by_name() {
    let (guided, mut plain) = (model(), model());
    plain.card = None;
    let refusal = |model: &Model, guidance: Guidance<'_>| {
        let plan = plan(model, "ddim", 4);
        let generator = Generator::new(model, &plan, request(1, 1, Classes::All)).unwrap();
        generator.guided(guidance).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refusal(&plain, guidance(2.0)).starts_with("guidance: expected a model that also"));
    let wide = Guidance { rescale: 1.5, ..guidance(2.0) };
    assert!(refusal(&guided, wide).starts_with("guidance-rescale: expected a number from 0 to 1"));
    assert!(refusal(&guided, guidance(f64::NAN)).starts_with("guidance: expected a number"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ddpm");
    let other = Model::open(&folder, &Device::flex()).unwrap();
    let away = Guidance { weak: Weak::Model(&other), ..guidance(2.0) };
    assert!(refusal(&guided, away).contains("found 3 x 32 x 32 numbers and 0 classes"));
}

/// The kept half is the picture's, bit for bit; the rest is drawn, and a sample does not depend on the
/// samples beside it.
#[test]
fn what_is_kept_stays_exactly_and_batches_do_not_matter() {
    let model = model();
    let redraw: Vec<bool> = (0..256).map(|at| at >= 128).collect();
    for (sampler, resampling) in
        [("ddpm", None), ("ddim", None), ("ddpm", Some(Resampling { rounds: 2, jump: 2 }))]
    {
        let plan = plan(&model, sampler, 5);
        let draw = |batch| {
            let edit =
                Edit { init: picture(), redraw: Some(redraw.clone()), resampling, strength: None };
            let generator = Generator::new(&model, &plan, request(3, batch, Classes::All)).unwrap();
            all(generator.edited(edit).unwrap()).samples
        };
        let found = draw(3);
        assert!(found == draw(1), "{sampler} {resampling:?}");
        for sample in found.chunks(EACH) {
            let pairs = sample.iter().zip(picture()).enumerate();
            let kept = |at: usize| !redraw[at % 256];
            assert!(pairs.clone().all(|(at, (drawn, init))| !kept(at) || *drawn == init));
            assert!(pairs.clone().any(|(at, (drawn, init))| !kept(at) && *drawn != init));
        }
        assert!(found[..EACH] != found[2 * EACH..], "two seeds of one class");
    }
}

#[test]
fn strength_is_how_much_of_the_way_is_walked() {
    let model = model();
    let plan = plan(&model, "ddim", 10);
    let generator = |strength| {
        let edit = Edit { init: picture(), strength: Some(strength), ..Edit::default() };
        Generator::new(&model, &plan, request(2, 2, Classes::All)).unwrap().edited(edit)
    };
    let nothing = generator(0.0).unwrap();
    assert_eq!(nothing.steps(), 0);
    assert!(all(nothing).samples == [picture(), picture()].concat());
    let half = generator(0.55).unwrap();
    assert_eq!(half.steps(), 5);
    let half = all(half);
    let first = plan.grid.intervals[5].from;
    let start = |(x0, eps): (&f32, &f32)| x0 * first.alpha as f32 + eps * first.sigma as f32;
    let expected: Vec<f32> = picture().iter().zip(&half.noise).map(start).collect();
    let off = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-6;
    assert!(!half.start.iter().zip(&expected).any(off));
    assert_eq!(generator(1.0).unwrap().steps(), 10);
    let refusal = generator(1.1).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refusal, "strength: expected a number from 0 to 1, found 1.1");
}

/// Both ends come back; between two classes the middle is neither's.
#[test]
fn interpolation_ends_at_its_ends() {
    let mut model = model();
    // Of a network that predicts the data itself, and never saw any, the last step keeps nothing.
    model.scheduler.prediction_type = Prediction::Epsilon;
    let mut plan = plan(&model, "ddim", 250);
    // Nor does anything hold it together all the way up to noise.
    plan.grid = plan.grid.from_step(175);
    let (a, b) = (picture(), picture().iter().map(|x| -0.5 * x).collect::<Vec<f32>>());
    let ends = Ends { pictures: [&a, &b], classes: Some([0, 1]) };
    let between = Interpolation::new(&model, &plan, ends, &mut ()).unwrap();
    let distance = |x: &[f32], y: &[f32]| {
        let square: f32 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
        (square / x.len() as f32).sqrt()
    };
    let apart = distance(&a, &b);
    for (w, end) in [(0.0, &a), (1.0, &b)] {
        let back = between.at(w, &mut ()).unwrap();
        let off = distance(&back, end);
        assert!(off < 0.05 * apart, "{w}: {off} of {apart}");
    }
    let middle = between.at(0.5, &mut ()).unwrap();
    assert!(distance(&middle, &a) > 0.1 * apart && distance(&middle, &b) > 0.1 * apart);
    for (classes, said) in [(Some([0, 7]), "found 7"), (Some([2, 2]), "")] {
        let refused = Interpolation::new(&model, &plan, Ends { classes, ..ends }, &mut ());
        match refused {
            Err(error) => assert!(!said.is_empty() && error.to_string().ends_with(said)),
            Ok(_) => assert!(said.is_empty()),
        }
    }
    assert_eq!(DIMS.iter().product::<usize>(), a.len());
}
