//! `sumi lora` on a tiny checkpoint and the LoRAs that diffusers made for it
//! (`crates/model/testdata/lora/make_lora.py`).

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use sumi_formats::{Checkpoint, safetensors};
use sumi_model::fill;
use sumi_networks::unet_condition::{Extra, UNetCondition};
use sumi_nn::{Init, Precision};

fn sumi(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = sumi(folder, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = sumi(folder, arguments);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/testdata/lora").join(name)
}

fn lora(name: &str) -> String {
    testdata(name).canonicalize().unwrap().display().to_string()
}

/// A folder with a diffusers checkpoint of the U-Net and the text encoder in `model`.
fn checkpoint() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let write = |name: &str, value: &Value| {
        let path = model.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(testdata(name)).unwrap()).unwrap()
    };
    write(
        "model_index.json",
        &json!({
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        }),
    );
    write("unet/config.json", &read("unet.json"));
    write("text_encoder/config.json", &read("text_encoder.json"));
    write("scheduler/scheduler_config.json", &json!({"_class_name": "DDIMScheduler"}));
    let copy = |from: &str, to: &str| std::fs::copy(testdata(from), model.join(to)).unwrap();
    copy("unet.safetensors", "unet/diffusion_pytorch_model.safetensors");
    copy("text_encoder.safetensors", "text_encoder/model.safetensors");
    folder
}

/// What the U-Net of a checkpoint makes of the golden input.
fn unet(path: &Path) -> Vec<f32> {
    let mut part = Checkpoint::open(path).unwrap().parts.remove("unet").unwrap();
    let config = serde_json::from_value(part.config).unwrap();
    let unet = UNetCondition::new(&config, &mut Init::new(&Device::flex(), 0)).unwrap();
    let weights = part.weights.take().unwrap();
    let unet = fill(unet, weights, path, Precision::F32).unwrap();
    let inputs = safetensors::read(testdata("goldens.safetensors")).unwrap();
    let data = |name: &str| {
        let tensor = inputs.get(name).unwrap();
        TensorData::new(tensor.to_f32().unwrap(), tensor.shape.clone())
    };
    let x = Tensor::<4>::from_data(data("x"), &Device::flex());
    let text = Tensor::<3>::from_data(data("text"), &Device::flex());
    let y = unet.forward(x, &[321.0], text, &Extra::default()).unwrap();
    y.try_into_vec_as().unwrap()
}

fn golden(name: &str) -> Vec<f32> {
    let goldens = safetensors::read(testdata("goldens.safetensors")).unwrap();
    goldens.get(&format!("{name}.unet")).unwrap().to_f32().unwrap()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < tolerance, "{off}");
}

#[test]
fn a_merged_checkpoint_computes_what_diffusers_computes_beside() {
    let folder = checkpoint();
    let path = folder.path();
    let (plain, dora) = (lora("locon.safetensors"), lora("dora.safetensors"));
    let first = format!("{plain}:0.9");
    let second = format!("{dora}:0.8");
    let said =
        succeeds(path, &["lora", "merge", "model", &first, &second, "--out", "out", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["loras"][0]["layout"], "kohya");
    assert_eq!(said["loras"][1]["unmatched"], json!([]));
    // f32 sums of up to 144 products in another order, through some thirty layers.
    close(&unet(&path.join("out")), &golden("plain_then_dora"), 2e-5);

    // The originals are as they were, and so are tensors without an adapter.
    close(&unet(&path.join("model")), &golden("none"), 2e-5);
    let file = "unet/diffusion_pytorch_model.safetensors";
    let [before, after] =
        ["model", "out"].map(|m| safetensors::read(path.join(m).join(file)).unwrap());
    assert_eq!(before.tensors.len(), after.tensors.len());
    let mut changed = 0;
    for tensor in &before.tensors {
        let same = after.get(&tensor.name).unwrap() == tensor;
        assert!(same || tensor.name.ends_with(".weight"), "{}", tensor.name);
        changed += usize::from(!same);
    }
    let expected = said["changed_layers"].as_u64().unwrap() as usize;
    // Twelve of the layers are the text encoder's.
    assert_eq!(changed, expected - 12);

    let error = fails(path, &["lora", "merge", "model", &plain, "--out", "out"]);
    assert!(error.contains("a path where nothing is yet"), "{error}");
}

#[test]
fn merging_rounds_to_the_wanted_type() {
    let folder = checkpoint();
    let path = folder.path();
    let peft = lora("peft.safetensors");
    succeeds(path, &["lora", "merge", "model", &peft, "--out", "out", "--dtype", "bf16"]);
    let file = path.join("out/unet/diffusion_pytorch_model.safetensors");
    let header = safetensors::read_header(file).unwrap();
    assert!(header.tensors.iter().all(|tensor| tensor.dtype.name() == "BF16"));
    // Eight significant bits in every weight.
    close(&unet(&path.join("out")), &golden("peft"), 5e-2);
}

#[test]
fn a_lora_says_what_it_is() {
    let folder = checkpoint();
    let path = folder.path();
    let kohya = lora("kohya_sgm.safetensors");
    let said = succeeds(path, &["lora", "inspect", &kohya, "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["layout"], "kohya-sgm");
    assert_eq!(said["cross_attention_dim"], 12);
    assert_eq!(said["parts"]["unet"]["ranks"], json!({"4": 60}));
    assert_eq!(said["parts"]["text_encoder"]["scales"], json!({"0.25": 12}));
    let said = succeeds(path, &["lora", "inspect", &lora("dora.safetensors"), "--model", "model"]);
    for line in ["layout: peft", "text_encoder: 12 layers", "399 tensors match", "  scale 2: "] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
}

#[test]
fn converted_loras_merge_to_the_same() {
    let folder = checkpoint();
    let path = folder.path();
    let from = lora("patterns.safetensors");
    for layout in ["peft", "diffusers", "attn-procs", "kohya", "kohya-sgm"] {
        let (file, out) = (format!("{layout}.safetensors"), format!("merged-{layout}"));
        succeeds(path, &["lora", "convert", &from, &file, "--layout", layout]);
        let said = succeeds(path, &["lora", "inspect", &file, "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["unread"], json!([]));
        succeeds(path, &["lora", "merge", "model", &file, "--out", &out]);
        close(&unet(&path.join(out)), &golden("patterns"), 2e-5);
    }
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = checkpoint();
    let path = folder.path();
    let peft = lora("peft.safetensors");
    let error = fails(path, &["lora", "merge", "model", "model/unet", "--out", "x"]);
    assert!(error.contains("cannot") || error.contains("a regular file"), "{error}");
    let error = fails(path, &["lora", "merge", "model", &format!("{peft}:lots"), "--out", "x"]);
    assert!(error.contains("with a finite number, found lots"), "{error}");
    let weights = "model/unet/diffusion_pytorch_model.safetensors";
    let error = fails(path, &["lora", "inspect", weights]);
    assert!(error.contains("without one adapter that can be used"), "{error}");
    std::fs::write(path.join("taken.safetensors"), "").unwrap();
    let error = fails(path, &["lora", "convert", &peft, "taken.safetensors", "--layout", "kohya"]);
    assert!(error.contains("a path where nothing is yet"), "{error}");
}
