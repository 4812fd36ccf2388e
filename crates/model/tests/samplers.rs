//! Every sampler that diffusers has, through a network: `testdata/make_sampler_goldens.py` made them.

use burn::tensor::Device;
use std::path::Path;
use sumi_formats::safetensors;
use sumi_model::{Classes, Generator, Model, Plan, Request, SamplerChoice};
use sumi_sampler::{GridKind, SamplerKind};

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

fn agrees(folder: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let model = Model::open(&path, &Device::flex()).unwrap();
    let theirs = safetensors::read(path.join("expected.safetensors")).unwrap();
    let mut far = Vec::new();
    for tensor in theirs.tensors.iter().filter(|tensor| tensor.name != "noise") {
        let error = relative_error(&draw(&model, &tensor.name), &tensor.to_f32().unwrap());
        println!("{folder} {}: {error:e}", tensor.name);
        if error.is_nan() || error > 1e-4 {
            far.push(format!("{}: {error:e}", tensor.name));
        }
    }
    assert!(far.is_empty(), "{folder}:\n{}", far.join("\n"));
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
fn samplers_agree_on_a_flow() {
    agrees("samplers-flow");
}
