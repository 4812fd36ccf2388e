//! `sumi convert` and `sumi inspect` on checkpoints.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use sumi_formats::{NamedTensor, TensorMap, safetensors};

fn sumi(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A single file of Stable Diffusion 1's form with the names that `sumi-formats` has proved.
fn single_file(path: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/testdata/checkpoints.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let tensors = golden["sd1"]["single"].as_object().unwrap().iter().map(|(name, shape)| {
        let shape: Vec<usize> =
            shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let values = vec![1.5; shape.iter().product()];
        NamedTensor::from_f32(name, &shape, &values)
    });
    safetensors::write(path, &TensorMap::new(tensors.collect())).unwrap();
}

#[test]
fn a_single_file_becomes_a_folder_and_a_file_again() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    single_file(&at("a.safetensors"));
    let output = sumi(place.path(), &["convert", "a.safetensors", "folder", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["layout"], &said["class"]),
        (&"diffusers".into(), &"StableDiffusionPipeline".into())
    );
    // CLIP's own vocabulary, as its published folder has it.
    let vocabulary = std::fs::read(at("folder/tokenizer/vocab.json")).unwrap();
    let vocabulary: Value = serde_json::from_slice(&vocabulary).unwrap();
    assert_eq!(vocabulary.as_object().unwrap().len(), 49_408);
    assert_eq!(vocabulary["cat</w>"], 2368);
    let merges = std::fs::read_to_string(at("folder/tokenizer/merges.txt")).unwrap();
    assert_eq!(merges.lines().nth(1), Some("i n"));

    let output = sumi(place.path(), &["convert", "folder", "b.safetensors"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let [a, b] = ["a", "b"].map(|name| {
        let mut map = safetensors::read(at(&format!("{name}.safetensors"))).unwrap();
        map.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        map.tensors
    });
    assert!(a == b);

    for (path, kind) in [("folder", "pipeline folder"), ("b.safetensors", "single-file checkpoint")]
    {
        let output = sumi(place.path(), &["inspect", path, "--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["kind"], kind);
        assert_eq!(said["family"], "Stable Diffusion 1.x");
        assert_eq!(said["prediction"], "epsilon");
        let total: u64 = a.iter().map(|tensor| tensor.elements() as u64).sum();
        assert_eq!(said["parameters"], total);
        assert!(said["components"]["unet"]["dtypes"]["F32"].as_u64().unwrap() > 0);
    }
    let output = sumi(place.path(), &["inspect", "folder/unet"]);
    assert!(text(&output.stdout).contains("UNet2DConditionModel"), "{}", text(&output.stdout));
}

#[test]
fn mistakes_are_one_sentence() {
    let place = tempfile::tempdir().unwrap();
    single_file(&place.path().join("a.safetensors"));
    std::fs::create_dir(place.path().join("there")).unwrap();
    for (arguments, code, says) in [
        (&["convert", "a.safetensors", "there"][..], 1, "expected a path where nothing is yet"),
        (
            &["convert", "a.safetensors", "x", "--layout", "single-file"],
            2,
            "expected a name that ends in .safetensors",
        ),
        (
            &["convert", "a.safetensors", "x.safetensors", "--layout", "diffusers"],
            2,
            "expected the name of a folder",
        ),
        (&["convert", "there", "x"], 1, "expected a pipeline: a folder with model_index.json"),
        (&["convert", "absent", "x"], 1, "absent: expected a pipeline"),
        (&["convert", "a.safetensors", "no/such/folder"], 1, "cannot create the folder"),
    ] {
        let output = sumi(place.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "{said}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2, "something was left behind");
}
