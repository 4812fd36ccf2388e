//! Models that diffusers wrote, sampled here and there: `testdata/make_goldens.py` made them.

use burn::tensor::Device;
use std::path::{Path, PathBuf};
use sumi_formats::safetensors;
use sumi_model::{
    Classes, Generated, Generator, Model, Plan, Request, SamplerChoice, SchedulerConfig,
};
use sumi_sampler::SamplerKind;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn request(count: usize, batch: usize) -> Request {
    Request { count, batch, seed: 3, classes: Classes::All, noise: None }
}

fn draw(model: &Model, choice: SamplerChoice, request: Request) -> Generated {
    let plan = Plan::new(&model.scheduler, choice).unwrap();
    let mut generator = Generator::new(model, &plan, request).unwrap();
    let mut all = generator.next_batch(&mut ()).unwrap().unwrap();
    while let Some(batch) = generator.next_batch(&mut ()).unwrap() {
        all.noise.extend(batch.noise);
        all.samples.extend(batch.samples);
        all.classes.extend(batch.classes);
    }
    all
}

fn choice(kind: &str, steps: usize, eta: Option<f64>) -> SamplerChoice {
    let kind = SamplerKind::named(kind).unwrap();
    SamplerChoice { kind: Some(kind), steps: Some(steps), eta, ..SamplerChoice::default() }
}

/// max |a - b| / max |b|.
fn relative_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / scale
}

fn agrees(name: &str, run: &str, choice: SamplerChoice, change: impl Fn(&mut SchedulerConfig)) {
    let mut model = Model::open(&folder(name), &Device::flex()).unwrap();
    change(&mut model.scheduler);
    let ours = draw(&model, choice, request(2, 2));
    let theirs = safetensors::read(folder(name).join("expected.safetensors")).unwrap();
    let of = |kind: &str| theirs.get(&format!("{kind}/{run}")).unwrap().to_f32().unwrap();
    let error = relative_error(&ours.noise, &of("noise"));
    assert!(error <= 1e-6, "{name} {run}: noise differs by {error:e}");
    let error = relative_error(&ours.samples, &of("samples"));
    assert!(error <= 1e-4, "{name} {run}: samples differ by {error:e}");
    println!("{name} {run}: {error:e}");
}

#[test]
fn ancestral_sampling_agrees() {
    agrees("ddpm", "ddpm-50", choice("ddpm", 50, None), |_| {});
}

#[test]
fn ddim_agrees_on_every_spacing_and_eta() {
    use sumi_sampler::Spacing::{Leading, Linspace, Trailing};
    agrees("ddpm", "ddim-5-clip", choice("ddim", 5, None), |_| {});
    for (run, steps, eta, spacing) in [
        ("ddim-20", 20, None, Leading),
        ("ddim-20-eta1", 20, Some(1.0), Leading),
        ("ddim-7-trailing", 7, None, Trailing),
        ("ddim-6-linspace", 6, None, Linspace),
    ] {
        agrees("ddpm", run, choice("ddim", steps, eta), |scheduler| {
            scheduler.clip_sample = Some(false);
            scheduler.timestep_spacing = Some(spacing);
        });
    }
}

#[test]
fn v_prediction_thresholding_cosine_and_offset_agree() {
    agrees(
        "ddim-v",
        "ddim-10",
        SamplerChoice { steps: Some(10), ..SamplerChoice::default() },
        |_| {},
    );
    agrees("ddim-v", "ddpm-40", choice("ddpm", 40, None), |_| {});
}

#[test]
fn classes_and_x0_prediction_agree() {
    agrees("classes", "ddim-20", choice("ddim", 20, None), |_| {});
}

#[test]
fn old_names_in_a_torch_file_agree() {
    agrees("old-names", "ddim-20", choice("ddim", 20, None), |_| {});
}

#[test]
fn samples_do_not_depend_on_the_batch() {
    for name in ["ddpm", "classes"] {
        let model = Model::open(&folder(name), &Device::flex()).unwrap();
        for choice in [choice("ddim", 3, None), choice("ddpm", 4, None)] {
            let together = draw(&model, choice, request(16, 64));
            for batch in [1, 7] {
                let apart = draw(&model, choice, request(16, batch));
                assert!(apart.samples == together.samples, "{name} at batch {batch}");
                assert_eq!(apart.classes, together.classes);
            }
        }
    }
}

#[test]
fn samples_do_not_depend_on_the_number_of_threads() {
    let model = Model::open(&folder("ddpm"), &Device::flex()).unwrap();
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let choice = choice("ddpm", 4, None);
        pool.install(|| draw(&model, choice, request(5, 5)).samples)
    };
    assert!(with_threads(1) == with_threads(2));
}

#[test]
fn given_noise_starts_the_run() {
    let model = Model::open(&folder("ddpm"), &Device::flex()).unwrap();
    let choice = choice("ddim", 2, None);
    let drawn = draw(&model, choice, request(3, 2));
    let given = Request { noise: Some(drawn.noise.clone()), seed: 99, ..request(3, 2) };
    assert!(draw(&model, choice, given).samples == drawn.samples);
}

#[test]
fn a_folder_survives_being_written_again() {
    for name in ["ddpm", "classes", "old-names", "ddim-v"] {
        let model = Model::open(&folder(name), &Device::flex()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        model.save(copy.path()).unwrap();
        let again = Model::open(copy.path(), &Device::flex()).unwrap();
        assert_eq!(again.unet_config, model.unet_config);
        assert_eq!(again.scheduler, model.scheduler);
        let choice = choice("ddim", 2, None);
        let (a, b) = (draw(&model, choice, request(1, 1)), draw(&again, choice, request(1, 1)));
        assert!(a.samples == b.samples);
    }
}

/// What is written has exactly the tensors and the configuration keys that diffusers wrote.
#[test]
fn what_is_written_is_what_diffusers_writes() {
    for name in ["ddpm", "classes", "ddim-v"] {
        let model = Model::open(&folder(name), &Device::flex()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        model.save(copy.path()).unwrap();
        let layout = |folder: &Path| {
            let header = safetensors::read_header(Model::weights_path(folder)).unwrap();
            let mut tensors: Vec<_> =
                header.tensors.into_iter().map(|t| (t.name, t.shape, t.dtype)).collect();
            tensors.sort_by(|a, b| a.0.cmp(&b.0));
            tensors
        };
        assert_eq!(layout(copy.path()), layout(&folder(name)));
        let json = |folder: &Path, file: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
        };
        let ours = json(copy.path(), "unet/config.json");
        for (key, value) in json(&folder(name), "unet/config.json").as_object().unwrap() {
            if !key.starts_with('_') {
                let same = match (ours[key].as_f64(), value.as_f64()) {
                    (Some(a), Some(b)) => a == b,
                    _ => ours[key] == *value,
                };
                assert!(same, "{name}: {key}: {} is not {value}", ours[key]);
            }
        }
        assert_eq!(ours["_class_name"], "UNet2DModel");
        let index = json(copy.path(), "model_index.json");
        assert_eq!(index["unet"], json(&folder(name), "model_index.json")["unet"]);
    }
}
