//! The command as a user meets it: help, errors, exit codes, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sumi(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Holds text against a committed file; `SUMI_BLESS=1` writes the file instead.
fn snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{name} differs; SUMI_BLESS=1 takes it over. Found:\n{found}");
}

const TINY: &str = "[data]\nkind = \"digits\"\n[network]\nkind = \"unet\"\nchannels = [8, 16]\n\
    blocks = 1\nattention = [false, true]\nnorm_groups = 4\n[train]\nsteps = 3\nbatch_size = 4\n\
    checkpoint_every = 3\n[sample]\nevery = 3\ncount = 10\nsteps = 2\n";

/// A folder with a tiny trained run in `run`.
fn trained() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let output = sumi(folder.path(), &["train", "tiny.toml", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let run = folder.path().join("run");
    (folder, run)
}

#[test]
fn help_is_as_committed() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "",
        "demo",
        "train",
        "sample",
        "generate",
        "interpolate",
        "film",
        "schedule",
        "inspect",
        "lora",
        "lora inspect",
        "lora merge",
        "lora convert",
        "convert",
        "eval",
        "eval bpd",
        "eval all",
        "eval stats",
        "bench",
    ];
    for name in names {
        let mut arguments: Vec<&str> = name.split_whitespace().collect();
        arguments.push("--help");
        let output = Command::new(env!("CARGO_BIN_EXE_sumi"))
            .args(&arguments)
            .env("COLUMNS", "100")
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success());
        snapshot(
            &format!(
                "help-{}.txt",
                if name.is_empty() { "sumi".into() } else { name.replace(' ', "-") }
            ),
            &stdout(&output),
        );
    }
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let (folder, _) = trained();
    let path = folder.path();
    std::fs::write(path.join("typo.toml"), TINY.replace("batch_size", "batchsize")).unwrap();
    std::fs::create_dir(path.join("empty")).unwrap();
    let folder_config =
        TINY.replace("kind = \"digits\"", "kind = \"folder\"\npath = \"empty\"\nimage_size_px = 8");
    std::fs::write(path.join("empty.toml"), folder_config).unwrap();
    std::fs::copy(path.join("run/checkpoint-0000003/unet/config.json"), path.join("config.json"))
        .unwrap();
    let weights = "run/checkpoint-0000003/unet/diffusion_pytorch_model.safetensors";
    let bytes = std::fs::read(path.join(weights)).unwrap();
    std::fs::write(path.join("cut.safetensors"), &bytes[..bytes.len() - 10]).unwrap();

    let mut text = String::new();
    let cases: &[(&[&str], i32)] = &[
        (&["sample", "run", "--steps", "0"], 2),
        (&["sample", "run", "--steps", "1001"], 2),
        (&["sample", "run", "--class", "10"], 2),
        (&["sample", "run", "--class", "seven"], 2),
        (&["sample", "run", "--count", "0"], 2),
        (&["sample", "run", "--batch", "0"], 2),
        (&["sample", "run", "--sampler", "dimd"], 2),
        (&["sample", "run", "--sampler", "ddim", "--eta", "1.5"], 2),
        (&["sample", "run", "--sampler", "ddpm", "--eta", "0.5"], 2),
        (&["sample", "nowhere"], 1),
        (&["sample", "empty"], 1),
        (&["sample", "run", "--noise", weights, "--count", "1"], 1),
        (&["sample", "run", "--count", "1", "--steps", "1", "--grid", "missing/grid.png"], 1),
        (&["sample", "run", "--device", "vulkan"], if cfg!(feature = "vulkan") { 1 } else { 2 }),
        (&["train", "typo.toml", "--out", "x"], 2),
        (&["train", "missing.toml", "--out", "x"], 1),
        (&["train", "empty.toml", "--out", "x"], 1),
        (&["train", "tiny.toml", "--out", "run"], 1),
        (&["train", "tiny.toml", "--out", "tiny.toml"], 1),
        (
            &[
                "train",
                "tiny.toml",
                "--out",
                "x",
                "--set",
                "network.channels=[8,16,16,16,16]",
                "--set",
                "network.attention=[false,false,false,false,true]",
            ],
            2,
        ),
        (&["train", "tiny.toml", "--out", "x", "--set", "train.ema=0.5"], 2),
        (&["schedule", "--steps", "0"], 2),
        (&["schedule", "--beta-end", "1.5"], 2),
        (&["schedule", "--kind", "cosine", "--beta-end", "0.5"], 2),
        (&["inspect", "cut.safetensors"], 1),
        (&["inspect", "tiny.toml"], 1),
        (&["inspect", "nothing.json"], 1),
        (&["sample", "run", "--dtype", "int8"], 2),
        (&["bench", "--network", "digit"], 2),
        (&["bench", "--network", "empty"], 1),
        (&["bench", "--network", "tiny.toml"], 2),
        (&["bench", "--network", "digits", "--weights", weights], 1),
        (&["bench", "--network", "digits", "--batch", "0"], 2),
        (&["bench", "--network", "digits", "--reps", "0"], 2),
        (&["bench", "--network", "digits", "--what", "train", "--dtype", "bf16"], 2),
        (&["bench", "--network", "digits", "--what", "sample", "--output", "x.safetensors"], 2),
        (&["bench", "--device", "vulkan"], if cfg!(feature = "vulkan") { 1 } else { 2 }),
    ];
    for (arguments, code) in cases {
        let output = sumi(path, arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("bug"), "{arguments:?}: {said}");
        assert!(stdout(&output).is_empty(), "{arguments:?} wrote to stdout");
        text += &format!("$ sumi {}\n{said}[{code}]\n\n", arguments.join(" "));
    }
    if !cfg!(feature = "vulkan") {
        snapshot("mistakes.txt", &text);
    }
}

#[test]
fn a_run_leaves_what_it_promises() {
    let (folder, run) = trained();
    for file in [
        "config.toml",
        "log.jsonl",
        "latest",
        "samples/step-0000003.png",
        "checkpoint-0000003/model_index.json",
        "checkpoint-0000003/unet/config.json",
        "checkpoint-0000003/unet/diffusion_pytorch_model.safetensors",
        "checkpoint-0000003/scheduler/scheduler_config.json",
        "checkpoint-0000003/trainer/weights.safetensors",
        "checkpoint-0000003/trainer/optimizer.safetensors",
        "checkpoint-0000003/trainer/state.json",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let events = std::fs::read_dir(&run).unwrap().flatten();
    assert!(events.map(|e| e.file_name()).any(|n| n.to_string_lossy().contains("tfevents")));

    // The resolved configuration trains the same run again.
    let arguments = ["train", "run/config.toml", "--out", "again", "--json"];
    let output = sumi(folder.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    for line in stdout(&output).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let weights = "checkpoint-0000003/unet/diffusion_pytorch_model.safetensors";
    let again = std::fs::read(folder.path().join("again").join(weights)).unwrap();
    assert!(again == std::fs::read(run.join(weights)).unwrap());
}

#[test]
fn sampling_writes_every_kind_of_file_and_takes_its_noise_back() {
    let (folder, _) = trained();
    let path = folder.path();
    let arguments = [
        "sample",
        "run",
        "--count",
        "20",
        "--batch",
        "7",
        "--sampler",
        "ddim",
        "--steps",
        "3",
        "--out",
        "pngs",
        "--grid",
        "grid.png",
        "--gif",
        "film.gif",
        "--npz",
        "all.npz",
        "--tensors",
        "all.safetensors",
        "--json",
    ];
    let output = sumi(path, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(said["count"], 20);
    assert_eq!(std::fs::read_dir(path.join("pngs")).unwrap().count(), 20);
    let npz = sumi_formats::npz::read(path.join("all.npz")).unwrap();
    assert_eq!(npz.get("arr_0").unwrap().shape, [20, 8, 8, 1]);
    let labels = npz.get("arr_1").unwrap().to_i64().unwrap();
    assert_eq!(labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let tensors = sumi_formats::safetensors::read(path.join("all.safetensors")).unwrap();
    assert_eq!(tensors.get("noise").unwrap().shape, [20, 1, 8, 8]);

    // The same from its own noise, under another seed, batch and number of threads.
    let arguments = [
        "sample",
        "run",
        "--count",
        "20",
        "--batch",
        "64",
        "--sampler",
        "ddim",
        "--steps",
        "3",
        "--seed",
        "9",
        "--threads",
        "1",
        "--noise",
        "all.safetensors",
        "--tensors",
        "b.safetensors",
    ];
    let output = sumi(path, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let again = sumi_formats::safetensors::read(path.join("b.safetensors")).unwrap();
    assert!(again.get("samples") == tensors.get("samples"), "the samples differ");
}

#[test]
fn a_schedule_prints_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let output = sumi(folder.path(), &["schedule", "--json", "--plot", "schedule.png"]);
    let tables: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    for key in [
        "betas",
        "alphas_cumprod",
        "log_snr",
        "posterior_variance",
        "posterior_mean_coef_x0",
        "posterior_mean_coef_xt",
    ] {
        assert_eq!(tables[key].as_array().unwrap().len(), 1000, "{key}");
    }
    assert!(
        (tables["alphas_cumprod"][999].as_f64().unwrap() / 4.03582976538e-5 - 1.0).abs() < 1e-9
    );
    assert!(folder.path().join("schedule.png").is_file());
}

#[test]
fn a_config_alone_is_enough_to_count() {
    let folder = tempfile::tempdir().unwrap();
    let config = |channels: &str, attention: usize, levels: usize| {
        let block = |i: usize, way: &str| match i == attention {
            true => format!("\"Attn{way}Block2D\""),
            false => format!("\"{way}Block2D\""),
        };
        let downs: Vec<String> = (0..levels).map(|i| block(i, "Down")).collect();
        let ups: Vec<String> = (0..levels).rev().map(|i| block(i, "Up")).collect();
        format!(
            "{{\"_class_name\": \"UNet2DModel\", \"block_out_channels\": {channels}, \
             \"attention_head_dim\": null, \"down_block_types\": [{}], \"up_block_types\": [{}]}}",
            downs.join(","),
            ups.join(",")
        )
    };
    for (text, parameters) in [
        (config("[128,256,256,256]", 1, 4), 35_746_307),
        (config("[128,128,256,256,512,512]", 4, 6), 113_673_219),
    ] {
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let output = sumi(folder.path(), &["inspect", "config.json", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(found["components"]["unet"]["class"], "UNet2DModel");
        assert_eq!(found["components"]["unet"]["parameters"], parameters);
    }
}

/// SIGTERM leaves a checkpoint, SIGKILL leaves what there was, and both go on to the same end.
#[cfg(unix)]
#[test]
fn signals_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = TINY
        .replace("steps = 3\nbatch", "steps = 120\nbatch")
        .replace("every = 3\n[", "every = 20\n[");
    let text = text.replace("every = 3\ncount", "every = 0\ncount");
    std::fs::write(folder.path().join("tiny.toml"), &text).unwrap();
    let start = |out: &str, resume: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
        command.args(["train", "tiny.toml", "--out", out]).current_dir(&folder);
        if resume {
            command.arg("--resume");
        }
        command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    assert!(start("straight", false).wait().unwrap().success());
    for (out, signal) in [("terminated", "-TERM"), ("killed", "-KILL")] {
        let mut child = start(out, false);
        let latest = folder.path().join(out).join("latest");
        let patience = std::time::Instant::now();
        while !latest.is_file() && patience.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let asked = std::time::Instant::now();
        let status = child.wait().unwrap();
        assert!(asked.elapsed().as_secs() < 10);
        assert_eq!(status.success(), signal == "-TERM");
        assert!(start(out, true).wait().unwrap().success());
        for file in ["unet/diffusion_pytorch_model.safetensors", "trainer/optimizer.safetensors"] {
            let file = Path::new("checkpoint-0000120").join(file);
            let read = |run: &str| std::fs::read(folder.path().join(run).join(&file)).unwrap();
            assert!(read(out) == read("straight"), "{out}: {} differs", file.display());
        }
    }
}
