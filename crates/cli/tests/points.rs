//! Models of points of the plane as a user meets them.

use std::path::Path;
use std::process::{Command, Output};

fn sumi(folder: &Path, arguments: &str) -> Output {
    let arguments = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs what has to succeed and returns what it wrote to stdout.
fn does(folder: &Path, arguments: &str) -> String {
    let output = sumi(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a tiny run of two moons in `run`.
fn trained(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[data]\nkind = \"two-moons\"\ncount = 200\n[process]\ntimesteps = 40\nbeta_end = 0.3\n\
         clip_sample = false\n[network]\nkind = \"unet\"\nchannels = [8]\nblocks = 1\n\
         attention = [false]\nnorm_groups = 4\n{more}\n[train]\nsteps = 3\nbatch_size = 16\n\
         checkpoint_every = 3\n[sample]\nevery = 3\ncount = 20\nsteps = 4\n"
    );
    std::fs::write(folder.path().join("tiny.toml"), config).unwrap();
    does(folder.path(), "train tiny.toml --out run");
    folder
}

/// The width and height of a picture, in pixels, and how many of its pixels are not white.
fn seen(path: &Path) -> ([usize; 2], usize) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[1..4], b"PNG");
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let [w, h] = [side(16), side(20)];
    let picture = sumi_data::read_picture(path, [h, w], 3, sumi_data::Fit::Exact).unwrap().0;
    ([w, h], picture.pixels.chunks_exact(3).filter(|&pixel| pixel != [255; 3]).count())
}

#[test]
fn samples_and_films_leave_their_files() {
    let folder = trained("class_conditional = true");
    let path = folder.path();
    let sample = "sample run --count 12 --sampler ddim --steps 4";
    assert_eq!(does(path, sample), "samples.png\n");
    let files = "--grid a.png --gif a.gif --npz a.npz --tensors a.safetensors";
    let written = does(path, &format!("{sample} --batch 5 {files}"));
    assert_eq!(written, "a.png\na.gif\na.npz\na.safetensors\n");
    let bytes = |name: &str| std::fs::read(path.join(name)).unwrap();
    assert_eq!(bytes("a.png"), bytes("samples.png"), "on the batch nothing depends");
    let npz = sumi_formats::npz::read(path.join("a.npz")).unwrap();
    assert_eq!(npz.get("arr_0").unwrap().shape, [12, 1, 1, 2]);
    assert_eq!(npz.get("arr_1").unwrap().to_i64().unwrap()[..3], [0, 1, 0]);

    let film = "film run --sampler ddim --steps 4";
    let all = does(path, &format!("{film} --out film.png --out film.gif"));
    assert_eq!(all, "film.png\nfilm.gif\n");
    does(path, &format!("{film} --class 1 --out one.png"));
    let ([width, height], points) = seen(&path.join("film.png"));
    assert!(width > height && height > 300, "{width} x {height}");
    // Only of one class there is one field: its arrows are hundreds of pixels in each of four panels.
    let (_, with_arrows) = seen(&path.join("one.png"));
    assert!(with_arrows > points + 1000, "{with_arrows} {points}");
    let (size, ink) = seen(&path.join("run/samples/step-0000003.png"));
    assert!(size[0] == 480 && ink > 1000, "{size:?} {ink}: the data behind fills two moons");
}

#[test]
fn points_without_classes_have_a_field_and_a_likelihood() {
    let folder = trained("class_conditional = false");
    let path = folder.path();
    does(path, "film run --sampler ode --steps 2 --out film.gif");
    assert!(std::fs::read(path.join("film.gif")).unwrap().starts_with(b"GIF89a"));
    let measured = does(path, "eval bpd run two-moons --count 20 --json");
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    assert_eq!((&measured["dims"], &measured["count"]), (&2.into(), &20.into()));
    assert!(measured["bits_per_dim"].as_f64().unwrap().is_finite());
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = trained("class_conditional = false");
    let path = folder.path();
    does(path, "sample run --count 2 --steps 2");
    let mut text = String::new();
    for (arguments, code) in [
        ("sample run --out points", 2),
        ("sample run --out points --grid a.png", 2),
        ("sample run --init samples.png --strength 0.5", 1),
        ("sample run --init samples.png --mask samples.png", 1),
        ("sample run --class 1", 2),
        ("interpolate run samples.png samples.png --steps 4", 1),
        ("film run --class 1", 2),
        ("film run --out film.webp", 2),
        ("eval bpd run digits", 1),
        ("eval bpd run three-moons", 1),
    ] {
        let output = sumi(path, arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(!said.contains("panicked") && !said.contains("bug"), "{arguments}: {said}");
        assert!(output.stdout.is_empty(), "{arguments} wrote to stdout");
        text += &format!("$ sumi {arguments}\n{said}[{code}]\n\n");
    }
    let snapshot =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/mistakes-points.txt");
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::write(&snapshot, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(expected == text, "SUMI_BLESS=1 takes it over. Found:\n{text}");
}
