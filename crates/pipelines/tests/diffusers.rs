//! What diffusers draws with tiny pipelines: `testdata/make_pipelines.py` made them.

use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::path::{Path, PathBuf};
use sumi_formats::{TensorMap, safetensors};
use sumi_model::SamplerChoice;
use sumi_nn::Precision;
use sumi_pipelines::{Drawing, Init, Pipeline, Prompts, Request};
use sumi_sampler::{GridKind, SamplerKind};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// max |a - b| / max |b|.
fn relative_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0f32, |m, x| m.max(x.abs())).max(f32::MIN_POSITIVE);
    let worst = a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs()));
    if a.iter().any(|x| x.is_nan()) { f32::NAN } else { worst / scale }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.try_to_vec_as::<f32>().unwrap()
}

/// The picture and the mask that the script made too: its formulas.
fn init(case: &Value) -> Option<Init> {
    case["init"].as_str()?;
    let inputs = safetensors::read(testdata().join("inputs.safetensors")).unwrap();
    let image = inputs.get("init").unwrap().to_f32().unwrap();
    let mask = case["mask"]
        .as_str()
        .map(|_| inputs.get("mask").unwrap().to_f32().unwrap().iter().map(|&x| x >= 0.5).collect());
    Some(Init { image, dims: [32, 32], mask, strength: case["strength"].as_f64() })
}

fn request(case: &Value) -> Request {
    let text = |key: &str| case[key].as_str().map(str::to_string);
    let size = case["size"].as_array();
    Request {
        prompts: Prompts {
            prompt: text("prompt").unwrap(),
            negative: text("negative"),
            plain: true,
            clip_skip: case["clip_skip"].as_u64().unwrap_or(0) as usize,
        },
        seed: case["seed"].as_u64().unwrap(),
        choice: SamplerChoice {
            kind: text("sampler").map(|name| SamplerKind::named(&name).unwrap()),
            steps: case["steps"].as_u64().map(|steps| steps as usize),
            eta: case["eta"].as_f64(),
            grid: case["karras"].as_bool().unwrap().then_some(GridKind::Karras),
            ..SamplerChoice::default()
        },
        guidance: case["guidance"].as_f64().unwrap(),
        dims: size.map(|size| [1, 0].map(|i: usize| size[i].as_u64().unwrap() as usize)),
        init: init(case),
        ..Request::default()
    }
}

/// Runs every case of a folder, and says which are too far from diffusers' tensors.
fn agrees(name: &str) {
    let folder = testdata().join(name);
    let expected = safetensors::read(folder.join("expected.safetensors")).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let plain = open(&folder);
    let mut far = Vec::new();
    for case in &cases {
        let loras = case["loras"].as_array().unwrap();
        let mut changed = None;
        if !loras.is_empty() {
            let mut pipeline = open(&folder);
            for lora in loras {
                let path = folder.join(lora.as_str().unwrap());
                let added = pipeline.add_lora(&path, 1.0).unwrap();
                assert!(added.unmatched.is_empty(), "{name}: {:?}", added.unmatched);
            }
            changed = Some(pipeline);
        }
        check(changed.as_ref().unwrap_or(&plain), case, &expected, &mut far);
    }
    assert!(far.is_empty(), "{name}:\n{}", far.join("\n"));
}

fn open(folder: &Path) -> Pipeline {
    Pipeline::open(folder, &Device::flex(), Precision::F32, &Default::default()).unwrap()
}

fn check(pipeline: &Pipeline, case: &Value, expected: &TensorMap, far: &mut Vec<String>) {
    let name = case["name"].as_str().unwrap();
    let request = request(case);
    let drawing = Drawing::new(pipeline, &request).unwrap();
    let mut hold = |tensor: &str, found: &[f32], bar: f32| {
        let Some(theirs) = expected.get(&format!("{name}/{tensor}")) else { return };
        let error = relative_error(found, &theirs.to_f32().unwrap());
        println!("{name} {tensor}: {error:e}");
        if error.is_nan() || error > bar {
            far.push(format!("{name} {tensor}: {error:e} (bar {bar:e})"));
        }
    };
    hold("prompt_embeds", &values(&drawing.prompt().embeds), 1e-4);
    if let Some(negative) = drawing.negative() {
        hold("negative_prompt_embeds", &values(&negative.embeds), 1e-4);
    }
    let (mut noise, mut latents, mut image) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..case["count"].as_u64().unwrap() {
        let drawn = drawing.draw(index, &mut ()).unwrap();
        noise.extend(values(&drawn.noise));
        latents.extend(values(&drawn.latents));
        if expected.get(&format!("{name}/image")).is_some() {
            image.extend(values(&pipeline.decode(drawn.latents, false).unwrap().image));
        }
    }
    hold("initial_latents", &noise, 1e-6);
    hold("latents", &latents, 1e-3);
    if !image.is_empty() {
        hold("image", &image, 1e-3);
    }
}

#[test]
fn stable_diffusion_1() {
    agrees("sd1");
}

#[test]
fn stable_diffusion_2_with_v() {
    agrees("sd2");
}

#[test]
fn stable_diffusion_xl() {
    agrees("sdxl");
}

#[test]
fn nine_channels() {
    agrees("inpaint");
}

#[test]
fn chinese_prompts_and_a_lora() {
    agrees("taiyi");
}
