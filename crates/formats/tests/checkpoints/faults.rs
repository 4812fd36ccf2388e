//! Pipelines that are not whole.

use crate::pipeline::{golden, single, write_folder};
use std::fs;
use std::path::Path;
use sumi_formats::checkpoint::Checkpoint;
use sumi_formats::{StateDict, TensorMap, safetensors};

fn says(path: &Path, expected: &str) {
    let text = match Checkpoint::open(path) {
        Ok(_) => panic!("was opened; expected: {expected}"),
        Err(error) => error.to_string(),
    };
    assert!(text.contains(expected), "{text}\nexpected: {expected}");
}

#[test]
fn a_missing_piece_of_a_folder_is_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_folder("sd1", place.path());
    let aside = place.path().join("aside");
    for (piece, expected) in [
        ("vae", "sd1/vae: expected the component vae (AutoencoderKL), found no such folder"),
        ("tokenizer", "expected the component tokenizer (CLIPTokenizer)"),
        ("unet/config.json", "config.json: expected the configuration of a UNet2DConditionModel"),
        (
            "unet/diffusion_pytorch_model.safetensors",
            "sd1/unet: expected the weights of a UNet2DConditionModel, such as \
             diffusion_pytorch_model.safetensors, found none",
        ),
        (
            "text_encoder/model.safetensors",
            "expected the weights of a CLIPTextModel, such as model.safetensors",
        ),
        ("scheduler/scheduler_config.json", "expected the configuration of a PNDMScheduler"),
        ("model_index.json", "sd1: expected a pipeline: a folder with model_index.json"),
    ] {
        fs::rename(folder.join(piece), &aside).unwrap();
        says(&folder, expected);
        fs::rename(&aside, folder.join(piece)).unwrap();
    }
    Checkpoint::open(&folder).unwrap();
    says(
        &folder.join("unet"),
        "found one component, a UNet2DConditionModel: give the folder above",
    );
    says(&folder.join("text_encoder"), "found one component, a CLIPTextModel");
    says(&place.path().join("absent"), "absent: expected a pipeline");
}

#[test]
fn half_a_file_is_found_by_its_length() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_folder("sd1", place.path());
    let file = folder.join("unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    says(&folder, "the file is damaged or cut short: fetch or write it again");
    fs::write(&file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    says(&folder, "a Git LFS pointer is not supported, expected the tensors themselves");
}

#[test]
fn what_model_index_json_must_not_say() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_folder("sd1", place.path());
    let index = folder.join("model_index.json");
    for (text, expected) in [
        ("", "EOF while parsing"),
        ("[]", "invalid type: sequence"),
        ("{}", "_class_name: expected the name of a pipeline, found none"),
        (
            r#"{"_class_name":"P","../unet":["diffusers","UNet2DModel"]}"#,
            "../unet: expected a comp",
        ),
        (r#"{"_class_name":"P","unet":["diffusers"]}"#, "unet: expected a component's name"),
        (r#"{"_class_name":"P","unet":["diffusers",null]}"#, "unet: expected a component's name"),
        (r#"{"_class_name":"P","a":["diffusers","X"]}"#, "expected the component a (X)"),
    ] {
        fs::write(&index, text).unwrap();
        says(&folder, expected);
    }
    fs::write(&index, "{\"a\":".repeat(50_000)).unwrap();
    says(&folder, "recursion limit exceeded");
    fs::write(&index, " ".repeat(400_003)).unwrap();
    says(&folder, "400003 is over the limit of 262144");
}

#[test]
fn a_single_file_without_a_part_names_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.safetensors");
    let whole = single(&golden("sd1"));
    let without = |prefix: &str| {
        let kept = whole.tensors.iter().filter(|tensor| !tensor.name.starts_with(prefix));
        safetensors::write(&path, &TensorMap::new(kept.cloned().collect())).unwrap();
    };
    for (prefix, expected) in [
        ("first_stage_model.", "expected the component vae, in first_stage_model.*"),
        ("cond_stage_model.", "expected the component text_encoder, in cond_stage_model.*"),
        ("model.", "none of them in model.diffusion_model.*"),
        ("model.diffusion_model.middle_block", "expected the unet, with the tensor middle_block.1"),
        ("model.diffusion_model.out.2", "expected the unet, with the tensor out.2.weight"),
        ("first_stage_model.decoder.conv_in", "expected the vae, with the tensor decoder.conv_in"),
    ] {
        without(prefix);
        says(&path, expected);
    }
}

#[test]
fn an_index_that_does_not_fit_its_shards() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.safetensors.index.json");
    let tensor = sumi_formats::NamedTensor::from_f32("x", &[1], &[1.0]);
    safetensors::write(place.path().join("a"), &TensorMap::new(vec![tensor])).unwrap();
    for (text, expected) in [
        (r#"{"weight_map":{"x":"b"}}"#.to_owned(), "b: expected 1 tensors, as model.safetensors"),
        (r#"{"weight_map":{"y":"a"}}"#.to_owned(), "a: expected tensor `y`, as model.safetensors"),
        (
            r#"{"weight_map":{"x":"../a"}}"#.to_owned(),
            "expected the name of a file beside the index",
        ),
        (
            r#"{"weight_map":{"x":"/etc/passwd"}}"#.to_owned(),
            "weight_map of `x`: expected the name",
        ),
        (
            r#"{"weight_map":{}}"#.to_owned(),
            "weight_map: expected files by tensor, found no tensor",
        ),
        (r#"{"weight_map":[]}"#.to_owned(), "invalid type"),
        (r#"{"weight_map":{"x":1}}"#.to_owned(), "invalid type: integer"),
        ("{}".to_owned(), "missing field `weight_map`"),
        (" ".repeat((2 << 20) + 1), "2097153 is over the limit of 2097152"),
    ] {
        fs::write(&path, text).unwrap();
        let text = StateDict::open(&path).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}\nexpected: {expected}");
    }
    fs::write(&path, r#"{"weight_map":{"x":"a"},"metadata":{"total_size":4}}"#).unwrap();
    assert_eq!(StateDict::open(&path).unwrap().len(), 1);
}
