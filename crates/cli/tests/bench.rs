//! `sumi bench` runs and says what it promises; what it measures is no matter for a test.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn bench(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
    command.args(["bench", "--batch", "2", "--reps", "1", "--json"]).args(arguments);
    let output = command.current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(said.is_empty(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_kind_of_work_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    for what in ["forward", "train", "sample"] {
        let arguments = ["--network", "digits", "--what", what, "--profile", "--threads", "1"];
        let found = bench(folder.path(), &arguments);
        for (key, expected) in [("network", "digits"), ("what", what), ("dtype", "f32")] {
            assert_eq!(found[key], expected, "{what}: {key}");
        }
        assert_eq!(found["device"], "cpu");
        for (key, expected) in [("batch", 2), ("threads", 1), ("reps", 1)] {
            assert_eq!(found[key], expected, "{what}: {key}");
        }
        for key in [
            "median_secs",
            "min_secs",
            "max_secs",
            "flops",
            "gflops_per_sec",
            "gemm_peak_gflops_per_sec",
            "share_of_peak",
        ] {
            assert!(found[key].as_f64().unwrap() > 0.0, "{what}: {key}");
        }
        assert_eq!(found["times_secs"].as_array().unwrap().len(), 1);
        assert_eq!(found["peak_memory_bytes"].is_u64(), cfg!(target_os = "linux"));
        assert_eq!(found["secs_per_picture"].is_f64(), what == "sample");
        assert_eq!(found["includes"].is_array(), what == "train");
        let kinds = found["profile"].as_array().unwrap().iter();
        let kinds: Vec<&str> = kinds.map(|row| row["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"convolution") && kinds.contains(&"everything else"), "{kinds:?}");
        assert_eq!(kinds.contains(&"optimizer"), what == "train");
    }
}

/// Flops are those of the network, whatever runs them: three times as many in training, but for
/// the pictures' own gradient.
#[test]
fn flops_depend_on_the_network_alone() {
    let folder = tempfile::tempdir().unwrap();
    let flops = |what: &str, batch: &str| {
        let arguments = ["--network", "digits", "--what", what];
        let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
        command.args(["bench", "--json", "--reps", "1", "--batch", batch]).args(arguments);
        let output = command.current_dir(&folder).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["flops"].as_u64().unwrap()
    };
    let forward = flops("forward", "1");
    assert_eq!(flops("forward", "3"), 3 * forward);
    let first_layer = 2 * 32 * 9 * 64;
    // Nor has the sinusoid of the timestep a gradient.
    let first_linear = 2 * 32 * 128;
    assert_eq!(flops("train", "1"), 3 * forward - first_layer - first_linear);
    assert_eq!(flops("sample", "1"), 10 * forward);
}

/// A saved network is the same network, also in another program's hands.
#[test]
fn a_saved_network_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let read = |name: &str| sumi_formats::safetensors::read(path.join(name)).unwrap();
    bench(path, &["--network", "digits", "--save", "model", "--output", "a.safetensors"]);
    bench(path, &["--network", "model", "--output", "b.safetensors"]);
    let weights = "model/unet/diffusion_pytorch_model.safetensors";
    let config = ["--network", "model/unet/config.json", "--weights", weights];
    bench(path, &[&config[..], &["--output", "c.safetensors"]].concat());
    let a = read("a.safetensors");
    assert_eq!(a.get("x").unwrap().shape, [2, 1, 8, 8]);
    assert_eq!(a.get("timesteps").unwrap().to_f32().unwrap(), [0.0, 37.0]);
    assert_eq!(a.get("classes").unwrap().to_i64().unwrap(), [0, 1]);
    let output = a.get("output").unwrap().to_f32().unwrap();
    assert!(output.iter().all(|x| x.is_finite() && *x != 0.0));
    assert!(read("b.safetensors") == a, "another output from the saved folder");
    assert!(read("c.safetensors") == a, "another output from its parts");

    // In 16 bits it is close, and not the same.
    let half = [&config[..], &["--dtype", "bf16", "--output", "d.safetensors"]].concat();
    assert_eq!(bench(path, &half)["dtype"], "bf16");
    let half = read("d.safetensors").get("output").unwrap().to_f32().unwrap();
    let square = |x: f32| f64::from(x).powi(2);
    let error: f64 = half.iter().zip(&output).map(|(a, b)| square(a - b)).sum();
    let error = (error / output.iter().map(|&x| square(x)).sum::<f64>()).sqrt();
    assert!(error > 0.0 && error <= 0.02, "bf16: relative L2 error {error:e}");
}

/// A network whose config does not say how large its pictures are cannot be measured.
#[test]
fn a_config_has_to_say_how_large_its_pictures_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = "{\"_class_name\": \"UNet2DModel\", \"block_out_channels\": [32, 32, 32, 32]}";
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
    command.args(["bench", "--network", "config.json"]).current_dir(&folder);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("sample_size: expected height and width in pixels"), "{said}");
}
