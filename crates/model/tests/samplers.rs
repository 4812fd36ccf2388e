//! Every sampler that diffusers has, through a network: `testdata/make_sampler_goldens.py` made them.

use burn::tensor::Device;
use std::path::{Path, PathBuf};
use sumi_formats::safetensors;
use sumi_model::{Classes, Generator, Model, Plan, Request, SamplerChoice};
use sumi_sampler::{CATALOG, GridKind, SamplerKind};

/// max |a - b| / max |b|.
fn relative_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / scale
}

/// Draws two samples by the run `SAMPLER/STEPS/GRID`.
fn draw(model: &Model, run: &str) -> Vec<f32> {
    let [name, steps, grid] = run.split('/').collect::<Vec<_>>().try_into().unwrap();
    let choice = SamplerChoice {
        kind: Some(SamplerKind::named(name).unwrap()),
        steps: Some(steps.parse().unwrap()),
        grid: (grid == "karras").then_some(GridKind::Karras),
        ..SamplerChoice::default()
    };
    let plan = Plan::new(&model.scheduler, choice).unwrap();
    let request = Request { count: 2, batch: 2, seed: 3, classes: Classes::All, noise: None };
    let mut generator = Generator::new(model, &plan, request).unwrap();
    generator.next_batch(&mut ()).unwrap().unwrap().samples
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn agrees(name: &str) {
    let path = folder(name);
    let model = Model::open(&path, &Device::flex()).unwrap();
    let theirs = safetensors::read(path.join("expected.safetensors")).unwrap();
    let mut far = Vec::new();
    for tensor in theirs.tensors.iter().filter(|tensor| tensor.name != "noise") {
        let error = relative_error(&draw(&model, &tensor.name), &tensor.to_f32().unwrap());
        println!("{name} {}: {error:e}", tensor.name);
        if error.is_nan() || error > 1e-4 {
            far.push(format!("{}: {error:e}", tensor.name));
        }
    }
    assert!(far.is_empty(), "{name}:\n{}", far.join("\n"));
}

#[test]
fn samplers_agree_where_the_network_predicts_the_noise() {
    agrees("samplers-epsilon");
}

#[test]
fn samplers_agree_where_the_network_predicts_v() {
    agrees("samplers-v");
}

#[test]
fn samplers_agree_where_no_signal_is_left() {
    agrees("samplers-zero-snr");
}

#[test]
fn samplers_agree_on_a_flow() {
    agrees("samplers-flow");
}

/// Sample `i` of a seed is the sample 0 of the seed plus `i`, to the last bit, whatever is drawn beside it.
#[test]
fn samples_do_not_depend_on_their_batch_under_any_sampler() {
    for name in ["samplers-epsilon", "samplers-flow"] {
        let model = Model::open(&folder(name), &Device::flex()).unwrap();
        let path = model.scheduler.process().unwrap().path();
        for entry in CATALOG.iter().filter(|entry| entry.serves.contains(&path)) {
            let kind = SamplerKind::named(entry.name).ok();
            let choice = SamplerChoice { kind, steps: Some(4), ..SamplerChoice::default() };
            let plan = Plan::new(&model.scheduler, choice).unwrap();
            let draw = |count, batch, seed| {
                let classes = Classes::All;
                let request = Request { count, batch, seed, classes, noise: None };
                let mut generator = Generator::new(&model, &plan, request).unwrap();
                let mut samples = Vec::new();
                while let Some(batch) = generator.next_batch(&mut ()).unwrap() {
                    samples.extend(batch.samples);
                }
                samples
            };
            let together = draw(3, 3, 7);
            assert_eq!(together, draw(3, 2, 7), "{name} {}", entry.name);
            let last = &together[together.len() / 3 * 2..];
            assert_eq!(last, draw(1, 1, 9), "{name} {}", entry.name);
        }
    }
}
