//! Pictures from words as a user meets them, with the tiny pipelines that `sumi-pipelines` holds against diffusers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use sumi_formats::{infotext, png_text, safetensors};

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/testdata").canonicalize().unwrap()
}

/// Runs the command; `@` stands for the folder of the tiny pipelines.
fn sumi(folder: &Path, arguments: &str) -> Output {
    let at = pipelines().display().to_string();
    let arguments = arguments.split_whitespace().map(|word| word.replace('@', &at));
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn does(folder: &Path, arguments: &str) -> String {
    let output = sumi(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Holds text against a committed file; `SUMI_BLESS=1` writes the file instead.
fn snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{name} differs; SUMI_BLESS=1 takes it over. Found:\n{found}");
}

#[test]
fn an_image_is_drawn_again_from_what_it_says_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let common = "--prompt fox --negative snow --seed 5 --steps 4 --sampler euler_a --guidance 3";
    does(path, &format!("generate --model @/sd1 {common} --count 2 --out a.png"));
    does(path, "generate --from a-1.png --out again.png");
    let bytes = |name: &str| std::fs::read(path.join(name)).unwrap();
    assert_eq!(bytes("a-1.png"), bytes("again.png"));
    // Image 1 of seed 5 is image 0 of seed 6.
    does(
        path,
        &format!("generate --model @/sd1 {common} --out alone.png").replace("--seed 5", "--seed 6"),
    );
    assert_eq!(bytes("a-1.png"), bytes("alone.png"));
    does(path, "generate --from a-1.png --guidance 5 --out other.png");
    assert_ne!(bytes("a-1.png"), bytes("other.png"));

    let said = does(path, "inspect a-1.png --json");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["parameters"]["Sampler"], "Euler a");
    assert_eq!(said["sumi"]["seed"], 6);

    let texts = png_text::read(&path.join("a-1.png")).unwrap();
    let (_, parameters) = texts.iter().find(|(keyword, _)| keyword == "parameters").unwrap();
    let parameters = infotext::Infotext::parse(parameters);
    assert_eq!((parameters.prompt.as_str(), parameters.negative.as_str()), ("fox", "snow"));
    for (field, value) in [
        ("Steps", "4"),
        ("Sampler", "Euler a"),
        ("CFG scale", "3"),
        ("Seed", "6"),
        ("Size", "32x32"),
    ] {
        assert_eq!(parameters.field(field), Some(value), "{field}");
    }
}

#[test]
fn tensors_are_those_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let run = "--prompt fox --seed 5 --steps 3 --count 2 --tensors t.safetensors --json";
    let json = does(path, &format!("generate --model @/sdxl {run}"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["seed"], &json["steps"]), (&5.into(), &3.into()));
    let map = safetensors::read(path.join("t.safetensors")).unwrap();
    let shapes: Vec<_> =
        map.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 5] = [
        ("prompt_embeds", &[1, 77, 64]),
        ("negative_prompt_embeds", &[1, 77, 64]),
        ("initial_latents", &[2, 4, 16, 16]),
        ("latents", &[2, 4, 16, 16]),
        ("image", &[2, 3, 32, 32]),
    ];
    assert_eq!(shapes, expected);
    assert!(!path.join("sumi.png").exists(), "nothing is drawn that was not asked for");
}

#[test]
fn precisions_films_previews_and_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let run = "generate --model @/sd2 --prompt fox --seed 1 --steps 6";
    for dtype in ["f32", "bf16", "f16"] {
        does(path, &format!("{run} --dtype {dtype} --out {dtype}.png --vae-tiling"));
    }
    does(path, &format!("{run} --gif film.gif --preview now.png --preview-every 2 --out last.png"));
    for name in ["film.gif", "now.png", "last.png"] {
        assert!(path.join(name).is_file(), "{name}");
    }
    // The checkpoint is in bf16, which f32 holds exactly.
    let bytes = |name: &str| std::fs::read(path.join(name)).unwrap();
    assert_ne!(bytes("f16.png"), bytes("bf16.png"));
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let wide = sumi_pictures::Picture::new(16, 24, 1, vec![255; 16 * 24]).unwrap();
    wide.write_png(path.join("wide.png")).unwrap();
    let mut found = String::new();
    for arguments in [
        "--model @/sd1",
        "--model nothing --prompt fox",
        "--model @/sd1/unet --prompt fox",
        "--model @/sd1 --prompt fox --width 30",
        "--model @/sd1 --prompt fox --height 0",
        "--model @/sd1 --prompt fox --steps 0",
        "--model @/sd1 --prompt fox --guidance nan",
        "--model @/sd1 --prompt fox --strength 0.5",
        "--model @/sd1 --prompt fox --init @/init.png --strength 0",
        "--model @/sd1 --prompt fox --init @/init.png --strength 2",
        "--model @/sd1 --prompt fox --init @/init.png --mask wide.png",
        "--model @/sd1 --prompt fox --init nothing.png",
        "--model @/inpaint --prompt fox",
        "--model @/inpaint --prompt fox --init @/init.png",
        "--model @/sd1 --prompt fox --clip-skip 9",
        "--model @/taiyi --prompt fox --clip-skip 1",
        "--model @/sd1 --prompt fox --lora @/sd1/unet/diffusion_pytorch_model.safetensors",
        "--model @/sdxl --prompt fox --lora @/taiyi/attn_procs.safetensors",
        "--model @/sd1 --prompt fox --sampler flow_euler",
        "--model @/sd1 --prompt fox --out fox.jpg",
        "--model @/sd1 --prompt fox --out nowhere/fox.png",
        "--from @/init.png",
    ] {
        let output = sumi(path, &format!("generate {arguments}"));
        assert!(!output.status.success(), "{arguments}");
        let said = said(&output).replace(&pipelines().display().to_string(), "@");
        found.push_str(&format!("$ sumi generate {arguments}\n{said}\n"));
    }
    snapshot("mistakes-generate.txt", &found);
}

/// Python writes numbers that JSON does not have, and null for what was never set.
#[test]
fn a_folder_with_pythons_json_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    let sd1 = pipelines().join("sd1");
    copy(&sd1, &path.join("dpm"));
    for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
        copy(&sd1.join(part), &path.join("dpm").join(part));
    }
    let index = std::fs::read_to_string(sd1.join("model_index.json")).unwrap();
    let index = index.replace("PNDMScheduler", "DPMSolverMultistepScheduler");
    std::fs::write(path.join("dpm/model_index.json"), index).unwrap();
    let scheduler = r#"{"_class_name": "DPMSolverMultistepScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "lambda_min_clipped": -Infinity, "variance_type": null, "trained_betas": null,
        "steps_offset": 1, "timestep_spacing": "leading", "solver_order": 2, "algorithm_type": "dpmsolver++", "use_karras_sigmas": null}"#;
    std::fs::write(path.join("dpm/scheduler/scheduler_config.json"), scheduler).unwrap();
    let run = "--prompt fox --seed 5 --steps 4 --tensors";
    does(path, &format!("generate --model dpm {run} own.safetensors"));
    does(path, &format!("generate --model @/sd1 {run} named.safetensors --sampler dpmpp_2m"));
    let latents = |name: &str| {
        let map = safetensors::read(path.join(name)).unwrap();
        map.get("latents").unwrap().to_f32().unwrap()
    };
    assert!(latents("own.safetensors") == latents("named.safetensors"), "another picture");

    std::fs::write(
        path.join("dpm/model_index.json"),
        r#"{"_class_name": "FluxPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}"#,
    )
    .unwrap();
    let output = sumi(path, "generate --model dpm --prompt fox");
    assert!(
        !output.status.success() && said(&output).contains("FluxPipeline"),
        "{}",
        said(&output)
    );
}
