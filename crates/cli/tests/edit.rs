//! Guidance, editing, interpolation and films as a user meets them.

use std::path::Path;
use std::process::{Command, Output};
use sumi_pictures::Picture;

fn sumi(folder: &Path, arguments: &str) -> Output {
    let arguments = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn data(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs what has to succeed.
fn does(folder: &Path, arguments: &str) -> Output {
    let output = sumi(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", said(&output));
    output
}

const TINY: &str = "[data]\nkind = \"digits\"\n[network]\nkind = \"unet\"\nchannels = [8, 16]\n\
    blocks = 1\nattention = [false, true]\nnorm_groups = 4\n[train]\nsteps = 3\nbatch_size = 4\n\
    checkpoint_every = 3\n[sample]\nevery = 0\n";

/// A folder with a tiny trained run in `run`, a picture of its size and one of another, and masks.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("tiny.toml"), TINY).unwrap();
    does(path, "train tiny.toml --out run");
    let write = |name: &str, side: usize, of: &dyn Fn(usize, usize) -> u8| {
        let pixels = (0..side * side).map(|at| of(at / side, at % side)).collect();
        Picture::new(side, side, 1, pixels).unwrap().write_png(path.join(name)).unwrap();
    };
    write("small.png", 8, &|y, x| (y * 30 + x * 3) as u8);
    write("other.png", 8, &|y, x| (x * 30 + y * 3) as u8);
    write("large.png", 24, &|y, x| (y * 10 + x) as u8);
    write("lower.png", 8, &|y, _| if y < 4 { 127 } else { 128 });
    write("large-lower.png", 24, &|y, _| if y < 12 { 0 } else { 255 });
    folder
}

fn grey(path: &Path) -> Vec<u8> {
    let size = [8, 8];
    sumi_data::read_picture(path, size, 1, sumi_data::Fit::CentreCrop).unwrap().0.pixels
}

#[test]
fn what_a_mask_keeps_stays_to_the_pixel() {
    let folder = prepared();
    let path = folder.path();
    for how in ["", " --resample 2", " --resample 2 --jump 1", " --strength 0.5"] {
        let arguments = format!(
            "sample run --init small.png --mask lower.png --count 2 --sampler ddim --steps 4 --out \
             drawn{how}"
        );
        does(path, &arguments);
        let init = grey(&path.join("small.png"));
        let drawn = [0, 1].map(|i| grey(&path.join(format!("drawn/{i:05}.png"))));
        for drawn in &drawn {
            assert_eq!(drawn[..32], init[..32], "{how}");
            assert_ne!(drawn[32..], init[32..], "{how}");
        }
        assert_ne!(drawn[0], drawn[1], "{how}");
    }
    let large =
        "sample run --init large.png --mask large-lower.png --count 1 --steps 2 --out large";
    let output = does(path, large);
    let expected =
        "large.png: scaled from 24 x 24 to cover the model's 8 x 8 px, the rest cut off\n";
    assert_eq!(said(&output), expected);
    assert_eq!(grey(&path.join("large/00000.png"))[..32], grey(&path.join("large.png"))[..32]);
}

#[test]
fn strength_0_gives_the_picture_back() {
    let folder = prepared();
    let path = folder.path();
    let sample =
        "sample run --init small.png --count 2 --sampler ddim --steps 10 --json --out drawn";
    let steps = |strength| -> serde_json::Value {
        let output = does(path, &format!("{sample} --strength {strength}"));
        serde_json::from_str::<serde_json::Value>(&data(&output)).unwrap()["steps"].clone()
    };
    assert_eq!(steps("0"), 0);
    for i in 0..2 {
        assert_eq!(grey(&path.join(format!("drawn/{i:05}.png"))), grey(&path.join("small.png")));
    }
    assert_eq!(steps("0.35"), 3);
    assert_eq!(steps("1"), 10);
}

#[test]
fn interpolation_and_films_leave_their_files() {
    let folder = prepared();
    let path = folder.path();
    let interpolate = "interpolate run small.png other.png --class 3,8 --count 5 --steps 4";
    let output = does(path, &format!("{interpolate} --out way --grid way.png --gif way.gif"));
    assert_eq!(data(&output), "way\nway.png\nway.gif\n");
    assert!(said(&output).contains("other.png: comes back to within"));
    assert_eq!(std::fs::read_dir(path.join("way")).unwrap().count(), 5);

    let film = "film run --sampler ddim --steps 5 --class 3 --seed 2";
    let output = does(path, &format!("{film} --out film.png --out film.gif"));
    assert_eq!(data(&output), "film.png\nfilm.gif\n");
    for file in ["way.png", "way.gif", "film.png", "film.gif"] {
        assert!(path.join(file).is_file(), "{file}");
    }
}

#[test]
fn the_grid_of_a_sampler_is_printed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ddim = "schedule --sampler ddim --sampling-steps 5";
    let output = does(path, &format!("{ddim} --json --plot grid.png"));
    let grid: serde_json::Value = serde_json::from_str(&data(&output)).unwrap();
    assert_eq!(grid["sampler"], "ddim");
    let steps = grid["steps"].as_array().unwrap();
    let times: Vec<f64> = steps.iter().map(|s| s["timestep"].as_f64().unwrap()).collect();
    assert_eq!(times, [800.0, 600.0, 400.0, 200.0, 0.0]);
    for row in steps {
        let [alpha, sigma, ratio] =
            ["alpha", "sigma", "ratio"].map(|key| row[key].as_f64().unwrap());
        assert!((sigma / alpha / ratio - 1.0).abs() < 1e-12);
        assert!((alpha * alpha + sigma * sigma - 1.0).abs() < 1e-12);
    }
    assert_eq!(grid["end"]["sigma"], 0.0);
    assert!(path.join("grid.png").is_file());
    assert_eq!(data(&does(path, ddim)).lines().count(), 7);
    assert_eq!(data(&does(path, "schedule --sampler ddpm --kind sqrt")).lines().count(), 1002);
}

/// The run's model with a scheduler that there is not.
fn strange(path: &Path) {
    let from = path.join("run/checkpoint-0000003");
    for part in ["unet", "scheduler"] {
        std::fs::create_dir_all(path.join("strange").join(part)).unwrap();
    }
    for file in [
        "model_index.json",
        "sumi.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ] {
        std::fs::copy(from.join(file), path.join("strange").join(file)).unwrap();
    }
    let file = "scheduler/scheduler_config.json";
    let text = std::fs::read_to_string(from.join(file)).unwrap();
    let text = text.replace("DDPMScheduler", "SCMScheduler");
    std::fs::write(path.join("strange").join(file), text).unwrap();
}

/// One step of a leading grid starts at timestep 0, as in diffusers: that is said, once.
#[test]
fn a_start_without_noise_is_told() {
    let folder = prepared();
    let path = folder.path();
    let sample = "sample run --count 1 --sampler ddim --out drawn";
    let film = "film run --sampler ddim --out film.png";
    for command in [sample, film] {
        let told = said(&does(path, &format!("{command} --steps 1")));
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("next to no noise"), "{told}");
        assert!(told.contains("--grid-kind trailing"), "{told}");
        for enough in ["--steps 2", "--steps 1 --grid-kind trailing"] {
            assert_eq!(said(&does(path, &format!("{command} {enough}"))), "", "{command} {enough}");
        }
    }
}

/// What a trained classifier is for is said in a command that works.
#[test]
fn a_classifier_is_told_how_to_be_used() {
    let folder = prepared();
    let path = folder.path();
    let text = TINY.replace("\"unet\"", "\"classifier\"");
    std::fs::write(path.join("classifier.toml"), text).unwrap();
    let told = said(&does(path, "train classifier.toml --out judge"));
    assert!(told.ends_with("guide a model: sumi sample MODEL --classifier judge\n"), "{told}");
    does(path, "sample run --classifier judge --count 1 --sampler ddim --steps 2 --out led");
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = prepared();
    let path = folder.path();
    std::fs::write(path.join("text.png"), "no picture").unwrap();
    strange(path);
    let mut text = String::new();
    for (arguments, code) in [
        ("sample run --init small.png", 2),
        ("sample run --init small.png --strength 1.5", 2),
        ("sample run --strength 0.5", 2),
        ("sample run --init missing.png --strength 0.5", 1),
        ("sample run --init text.png --strength 0.5", 1),
        ("sample run --init small.png --mask large-lower.png", 2),
        ("sample run --init small.png --strength 0.5 --resample 3", 2),
        ("sample run --init small.png --mask lower.png --steps 4 --resample 0", 2),
        ("sample run --init small.png --mask lower.png --steps 4 --resample 2 --jump 4", 2),
        ("sample run --init small.png --mask lower.png --steps 1 --resample 2", 2),
        ("sample run --guidance 3", 2),
        ("sample run --guidance-rescale 0.7", 2),
        ("sample run --guidance 3 --guidance-interval 5", 2),
        ("sample run --guidance 3 --guidance-interval 5,1", 2),
        ("sample run --guidance 3 --autoguidance run --guidance-rescale 2", 2),
        ("sample run --guidance nan --autoguidance run", 2),
        ("sample run --classifier run", 1),
        ("sample run --classifier-scale 2", 2),
        ("interpolate run small.png other.png", 2),
        ("interpolate run small.png other.png --class 3,12", 2),
        ("interpolate run small.png other.png --class 1,2,3", 2),
        ("interpolate run small.png other.png --class 3 --count 1", 2),
        ("interpolate run small.png other.png --class 3 --grid missing/way.png", 1),
        ("film run --out film.jpg", 2),
        ("sample run --grid grid.jpg", 2),
        ("sample strange", 2),
        ("sample run --sampler heun --churn 40", 2),
        ("sample run --sampler edm --churn -1", 2),
        ("sample run --sampler edm --tolerance 1e-3", 2),
        ("sample run --sampler ode --tolerance 0", 2),
        ("film run --class 10 --out film.png", 2),
        ("schedule --sampling-steps 10", 2),
        ("schedule --sampler ddim --sampling-steps 2000", 2),
        ("schedule --sampler ddim --sampling-steps 10 --grid-kind align-your-steps", 2),
    ] {
        let output = sumi(path, arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(!said.contains("panicked") && !said.contains("bug"), "{arguments}: {said}");
        assert!(output.stdout.is_empty(), "{arguments} wrote to stdout");
        text += &format!("$ sumi {arguments}\n{said}[{code}]\n\n");
    }
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/mistakes-edit.txt");
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::write(&snapshot, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(expected == text, "SUMI_BLESS=1 takes it over. Found:\n{text}");
}
