//! Model folders that are wrong in one place: each gives an error that names it.

use burn::tensor::Device;
use serde_json::{Value, json};
use std::path::Path;
use sumi_formats::{NamedTensor, safetensors};
use sumi_model::{Classes, Generator, Model, Plan, Request, SamplerChoice};

/// A copy of the model that diffusers wrote, changed.
fn copy(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ddpm");
    let folder = tempfile::tempdir().unwrap();
    for file in [
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    ] {
        let to = folder.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), to).unwrap();
    }
    change(folder.path());
    folder
}

fn set(folder: &Path, file: &str, key: &str, value: Value) {
    let path = folder.join(file);
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json[key] = value;
    std::fs::write(path, json.to_string()).unwrap();
}

/// What is said about a folder on the way to its first sample.
fn refusal(folder: &Path) -> String {
    let attempt = || {
        let model = Model::open(folder, &Device::flex())?;
        let plan =
            Plan::new(&model.scheduler, SamplerChoice { steps: Some(1), ..Default::default() })?;
        let request = Request { count: 1, batch: 1, seed: 0, classes: Classes::All, noise: None };
        Generator::new(&model, &plan, request)?.next_batch(&mut ()).map(drop)
    };
    attempt().map_or_else(|error: sumi_model::ModelError| error.to_string(), |()| "none".into())
}

#[test]
fn a_field_out_of_range_is_named() {
    assert_eq!(refusal(copy(|_| {}).path()), "none");
    let (unet, scheduler) = ("unet/config.json", "scheduler/scheduler_config.json");
    for (file, key, value) in [
        (scheduler, "num_train_timesteps", json!(0)),
        (scheduler, "num_train_timesteps", json!(100_000)),
        (scheduler, "beta_start", json!(-0.1)),
        (scheduler, "algorithm_type", json!("bogus")),
        (scheduler, "solver_type", json!(7)),
        (scheduler, "final_sigmas_type", json!("none")),
        (scheduler, "use_karras_sigmas", json!("yes")),
        (scheduler, "use_flow_sigmas", json!(true)),
        (scheduler, "solver_order", json!(2.5)),
        (scheduler, "beta_schedule", json!("laplace")),
        (scheduler, "trained_betas", json!([0.1, 0.2])),
        (scheduler, "clip_sample_range", json!(-1.0)),
        (scheduler, "clip_sample_range", json!(0.0)),
        (scheduler, "sample_max_value", json!(-1.0)),
        (scheduler, "dynamic_thresholding_ratio", json!(2.0)),
        (scheduler, "steps_offset", json!(u64::MAX)),
        (scheduler, "prediction_type", json!("flow")),
        (scheduler, "variance_type", json!("learned")),
        (scheduler, "rescale_betas_zero_snr", json!(true)),
        (scheduler, "_class_name", json!("VQDiffusionScheduler")),
        (unet, "_class_name", json!("UNet2DConditionModel")),
        (unet, "sample_size", json!(33)),
        (unet, "sample_size", json!(1_000_000)),
        (unet, "out_channels", json!(6)),
        (unet, "layers_per_block", json!(65_536)),
        (unet, "block_out_channels", json!([])),
        (unet, "block_out_channels", json!([8, 1_000_000])),
        (unet, "norm_num_groups", json!(3)),
        (unet, "attention_head_dim", json!(7)),
        (unet, "norm_eps", json!(-1.0)),
        (unet, "freq_shift", json!(4)),
        (unet, "mid_block_scale_factor", json!(0)),
        (unet, "act_fn", json!("gelu")),
        (unet, "resnet_time_scale_shift", json!("scale_shift")),
        (unet, "down_block_types", json!(["DownBlock2D"])),
        (unet, "blok_out_channels", json!([8])),
    ] {
        let folder = copy(|folder| set(folder, file, key, value.clone()));
        let said = refusal(folder.path());
        let named = match key {
            "num_train_timesteps" => "timesteps",
            key => key,
        };
        let shape = key == "out_channels" && said.contains("expected shape");
        assert!(said.contains(named) || shape, "{key} = {value}: {said}");
    }
}

#[test]
fn a_weight_that_does_not_fit_is_named() {
    let weights = |folder: &Path, change: &dyn Fn(&mut Vec<NamedTensor>)| {
        let path = Model::weights_path(folder);
        let mut map = safetensors::read(&path).unwrap();
        change(&mut map.tensors);
        safetensors::write(&path, &map).unwrap();
    };
    type Change = &'static dyn Fn(&mut Vec<NamedTensor>);
    let cases: [(Change, &str); 4] = [
        (&|tensors| tensors.retain(|t| t.name != "conv_in.bias"), "\"conv_in.bias\" is missing"),
        (
            &|tensors| tensors.push(NamedTensor::from_f32("extra", &[1], &[0.0])),
            "not part of the network: extra",
        ),
        (
            &|tensors| {
                let bias = tensors.iter_mut().find(|t| t.name == "conv_in.bias").unwrap();
                *bias = NamedTensor::from_f32("conv_in.bias", &[2], &[0.0, 0.0]);
            },
            "tensor \"conv_in.bias\": expected shape [8], found [2]",
        ),
        (
            &|tensors| {
                let bias = tensors.iter_mut().find(|t| t.name == "conv_in.bias").unwrap();
                *bias = NamedTensor::from_f32("conv_in.bias", &[8], &[f32::NAN; 8]);
            },
            "tensor `conv_in.bias`: expected finite numbers, found NaN at index 0",
        ),
    ];
    for (change, expected) in cases {
        let said = refusal(copy(|folder| weights(folder, change)).path());
        assert!(said.contains(expected), "{said}");
    }
    let gone = copy(|folder| std::fs::remove_file(Model::weights_path(folder)).unwrap());
    assert!(refusal(gone.path()).contains("the network's weights, here or in"));
}

/// A run folder says in `best` and `latest` which of its checkpoints is meant.
#[test]
fn best_and_latest_lead_to_the_checkpoint_that_they_name() {
    let run = tempfile::tempdir().unwrap();
    let (old, new) = (run.path().join("checkpoint-0000001"), run.path().join("checkpoint-0000002"));
    for folder in [&old, &new] {
        std::fs::rename(copy(|_| {}).keep(), folder).unwrap();
    }
    let (best, latest) = (run.path().join("best"), run.path().join("latest"));
    std::fs::write(&best, "checkpoint-0000001\n").unwrap();
    std::fs::write(&latest, "checkpoint-0000002\n").unwrap();
    assert_eq!(sumi_model::resolve(&best).unwrap(), old);
    assert_eq!(sumi_model::resolve(&latest).unwrap(), new);
    assert_eq!(sumi_model::resolve(run.path()).unwrap(), new);
    assert_eq!(refusal(&best), "none");
    for name in ["checkpoint-0000003\n", "../checkpoint-0000002", "", "unet", "checkpoint-x"] {
        std::fs::write(&best, name).unwrap();
        let said = refusal(&best);
        let expected = format!(
            "{}: expected the name of a checkpoint beside it, found {:?}",
            best.display(),
            name.trim()
        );
        assert_eq!(said, expected);
    }
    std::fs::write(&best, [0xff; 1000]).unwrap();
    assert!(refusal(&best).contains("cannot read the file as text"), "{}", refusal(&best));
    // Any other file is no name.
    let other = run.path().join("worst");
    std::fs::write(&other, "checkpoint-0000001\n").unwrap();
    assert!(refusal(&other).contains("found a file"), "{}", refusal(&other));
}
