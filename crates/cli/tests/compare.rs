//! `sumi eval fid|kid|is|prdc|clip-score|all|stats` as a user meets it.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use sumi_formats::{NamedTensor, npz};
use sumi_pictures::Picture;
use support::{json, mistakes, snapshot, sumi, text, trained, write_npz};

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"))
}

/// Writes picture `i` of a pattern as a PNG.
fn write_png(path: &Path, side: usize, channels: usize, i: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = (0..side * side * channels).map(|at| ((at * (i + 3) * 7 + i * i) % 256) as u8);
    Picture::new(side, side, channels, pixels.collect()).unwrap().write_png(path).unwrap();
}

#[test]
fn every_score_of_pixels_is_there() {
    let folder = trained();
    let path = folder.path();
    let all = ["eval", "all", "digits", "run", "--features", "pixels", "--split", "train"];
    let options = ["--count", "60", "--steps", "4", "--report", "page.html"];
    let found = json(path, &[&all[..], &options].concat());
    for key in ["fid", "kid", "kid_std", "precision", "recall", "density", "coverage", "copied"] {
        assert!(number(&found, key).is_finite(), "{key}");
    }
    assert_eq!(found["fake"]["count"], 60);
    assert_eq!(found["by_class"]["left_out"].as_array().unwrap().len(), 10, "six of each class");
    assert!(number(&found["floor"], "fid") < number(&found, "fid"), "{found}");
    assert_eq!((&found["floor"]["count"], &found["kid_subset_size"]), (&60.into(), &30.into()));
    assert_eq!(found["features"]["name"], "pixels");
    let left_out: Vec<&str> = found["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["score"].as_str().unwrap())
        .collect();
    assert_eq!(left_out, ["clip_score", "is", "diversity"]);
    let page = std::fs::read_to_string(path.join("page.html")).unwrap();
    for heading in [
        "Scores",
        "What they look like",
        "Is it memorising?",
        "Where they lie",
        "Precision and recall",
    ] {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }

    // What a model draws in a stream is what it draws into a file, and no batch changes it.
    let sample = ["sample", "run", "--count", "60", "--steps", "4", "--npz", "drawn.npz"];
    assert!(sumi(path, &sample).status.success());
    let all = ["eval", "all", "digits", "drawn.npz", "--features", "pixels", "--split", "train"];
    let again = json(path, &[&all[..], &["--batch", "7"]].concat());
    for key in
        ["fid", "kid", "kid_std", "precision", "recall", "density", "coverage", "copied", "floor"]
    {
        assert_eq!(again[key], found[key], "{key}");
    }
}

#[test]
fn statistics_and_features_stand_for_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let pixels = ["--features", "pixels"];
    let stats = ["eval", "stats", "digits", "--out", "real.npz", "--features-out", "real.npy"];
    let written = json(path, &[&stats[..], &pixels, &["--split", "train"]].concat());
    assert_eq!((&written["count"], &written["dims"]), (&1438.into(), &64.into()));
    let fid = |real: &str, fake: &str| {
        let split = ["--split", if fake == "digits" { "held-out" } else { "train" }];
        let arguments = [&["eval", "fid", real, fake][..], &pixels, &split].concat();
        number(&json(path, &arguments), "fid")
    };
    let held_out = ["eval", "stats", "digits", "--out", "held.npz", "--split", "held-out"];
    json(path, &[&held_out[..], &pixels].concat());
    let expected = fid("real.npy", "held.npz");
    assert!((fid("real.npz", "held.npz") - expected).abs() < 1e-12);
    assert!((fid("real.npz", "digits") - expected).abs() < 1e-9);
    assert!(fid("real.npz", "real.npy") < 1e-9, "the same pictures");
    // As docs/results.md has it: 0.085 between the two splits of the digits.
    assert!((expected - 0.085).abs() < 0.001, "{expected}");
    let output = sumi(path, &["eval", "all", "real.npz", "real.npy"]);
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("left out: kid: real.npz: KID needs features"),
        "{said}"
    );
}

#[test]
fn odd_pictures_are_measured_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for i in 0..200 {
        write_png(&path.join(format!("plain/{i:03}.png")), 8, 3, i);
        let side = if i % 20 == 0 { 12 } else { 8 };
        write_png(&path.join(format!("odd/{i:03}.png")), side, if i == 7 { 1 } else { 3 }, i);
    }
    let clear = image::RgbaImage::from_fn(8, 8, |x, y| image::Rgba([9, 9, 9, (x * y * 4) as u8]));
    clear.save(path.join("odd/005.png")).unwrap();
    std::fs::write(path.join("odd/100.png"), b"no picture").unwrap();
    let compare = ["eval", "fid", "plain", "odd", "--features", "pixels"];
    let found = json(path, &compare);
    let odd = &found["fake"];
    assert_eq!((&odd["count"], &odd["unreadable"]), (&199.into(), &1.into()));
    assert_eq!((&odd["grey"], &odd["alpha"], &odd["resized"]), (&1.into(), &1.into(), &9.into()));
    assert!(number(&found, "fid").is_finite());
    let said = text(&sumi(path, &compare).stderr);
    for word in
        ["odd/100.png", "2 sizes", "1 of 199 pictures are grey", "1 of 199 pictures have an alpha"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    // More than one in a hundred is no accident.
    for i in 0..3 {
        std::fs::write(path.join(format!("odd/{i:03}.png")), b"no picture").unwrap();
    }
    let output = sumi(path, &compare);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("of 200 pictures cannot be read"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn captions_come_from_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let clip: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../features/testdata/clip");
    let clip = clip.to_str().unwrap();
    let words = ["a cat", "two dogs on a hill", "ink in water"];
    for (i, word) in words.iter().enumerate() {
        write_png(&path.join(format!("beside/{i}.png")), 30, 3, i);
        std::fs::write(path.join(format!("beside/{i}.txt")), format!("{word}\n")).unwrap();
        write_png(&path.join(format!("listed/{i}.png")), 30, 3, i);
        write_png(&path.join(format!("inside/{i}.png")), 30, 3, i);
        let steps = "Steps: 20, Sampler: Euler, Seed: 1";
        let parameters = format!("{word}\nNegative prompt: bad\n{steps}");
        sumi_formats::png_text::write(
            &path.join(format!("inside/{i}.png")),
            &[("parameters", &parameters)],
        )
        .unwrap();
    }
    let lines = words
        .iter()
        .enumerate()
        .map(|(i, word)| format!("{{\"file_name\": \"{i}.png\", \"text\": \"{word}\"}}\n"));
    std::fs::write(path.join("listed/metadata.jsonl"), lines.collect::<String>()).unwrap();
    std::fs::write(path.join("prompts.txt"), words.join("\n")).unwrap();
    let score = |set: &str, rest: &[&str]| {
        let arguments = ["eval", "clip-score", set, "--clip", clip];
        json(path, &[&arguments[..], rest].concat())
    };
    let expected = score("beside", &[]);
    assert!(
        number(&expected, "clip_score") <= 100.0 && number(&expected, "clip_score_hessel") <= 2.5
    );
    for found in
        [score("listed", &[]), score("inside", &[]), score("listed", &["--prompts", "prompts.txt"])]
    {
        assert_eq!(found["clip_score"], expected["clip_score"]);
    }
    let other = score("beside", &["--prompts", "prompts.txt", "--batch", "2"]);
    assert_eq!(other["clip_score"], expected["clip_score"]);
    let all = ["eval", "all", "listed", "beside", "--clip", clip, "--features", "pixels"];
    let beside_others = json(path, &[&all[..], &["--neighbours", "1"]].concat());
    assert_eq!(beside_others["clip_score"], expected["clip_score"]);
    std::fs::remove_file(path.join("beside/1.txt")).unwrap();
    let output = sumi(path, &["eval", "clip-score", "beside", "--clip", clip]);
    assert!(text(&output.stderr).contains("beside/1.png"), "{}", text(&output.stderr));
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("empty")).unwrap();
    write_npz(&path.join("two.npz"), &[2, 8, 8, 1], None);
    write_npz(&path.join("one.npz"), &[1, 8, 8, 1], None);
    write_npz(&path.join("points.npz"), &[9, 1, 1, 2], None);
    write_npz(&path.join("classes.npz"), &[2, 8, 8, 1], Some(&[0, -1]));
    let array = |name: &str, shape: &[usize], value: f32| {
        NamedTensor::from_f32(name, shape, &vec![value; shape.iter().product()])
    };
    npz::write(path.join("half.npz"), &[array("mu", &[4], 0.5)]).unwrap();
    npz::write(path.join("wrong.npz"), &[array("mu", &[4], 0.5), array("sigma", &[4, 3], 0.5)])
        .unwrap();
    npz::write(path.join("nan.npz"), &[array("mu", &[2], f32::NAN), array("sigma", &[2, 2], 0.5)])
        .unwrap();
    npz::write_npy(path.join("four.npy"), &array("x", &[9, 4], 0.5)).unwrap();
    npz::write_npy(path.join("three.npy"), &array("x", &[9, 3], 0.5)).unwrap();
    npz::write_npy(path.join("flat.npy"), &array("x", &[9], 0.5)).unwrap();
    npz::write_npy(path.join("nan.npy"), &array("x", &[9, 4], f32::NAN)).unwrap();
    std::fs::write(path.join("weights.pth"), b"none").unwrap();
    let pixels = |command: &'static str, rest: [&'static str; 2]| {
        vec!["eval", command, rest[0], rest[1], "--features", "pixels"]
    };
    let plain: [&[&str]; 8] = [
        &["eval", "fid", "digits"],
        &["eval", "fid", "digits", "digits", "--features", "vgg"],
        &["eval", "fid", "digits", "digits", "--features", "clip"],
        &["eval", "fid", "digits", "digits", "--neighbours", "0"],
        &["eval", "kid", "digits", "digits", "--kid-subset-size", "1"],
        &["eval", "fid", "digits", "digits", "--features", "pixels", "--resize", "clean-fid"],
        &["eval", "fid", "digits", "digits", "--features", "weights.pth"],
        &["eval", "clip-score", "digits"],
    ];
    let codes = [2, 2, 2, 2, 2, 2, 1, 2];
    let sets = [
        pixels("fid", ["nowhere", "digits"]),
        pixels("fid", ["empty", "digits"]),
        pixels("fid", ["digits", "points.npz"]),
        pixels("fid", ["digits", "classes.npz"]),
        pixels("fid", ["digits", "one.npz"]),
        pixels("fid", ["digits", "half.npz"]),
        pixels("fid", ["digits", "wrong.npz"]),
        pixels("fid", ["digits", "nan.npz"]),
        pixels("fid", ["four.npy", "three.npy"]),
        pixels("fid", ["four.npy", "flat.npy"]),
        pixels("fid", ["four.npy", "nan.npy"]),
        pixels("prdc", ["digits", "two.npz"]),
        pixels("is", ["digits", "digits"]),
    ];
    let mut cases: Vec<(&[&str], i32)> = plain.into_iter().zip(codes).collect();
    cases.extend(sets.iter().map(|arguments| (arguments.as_slice(), 1)));
    snapshot("compare-mistakes.txt", &mistakes(path, &cases));
    // No variance is legal: only the means differ, or nothing.
    let found = json(path, &["eval", "fid", "four.npy", "four.npy"]);
    assert_eq!(number(&found, "fid"), 0.0);
}
