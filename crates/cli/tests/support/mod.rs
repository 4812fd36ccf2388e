//! What the tests of the command share.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output};
use sumi_formats::{NamedTensor, npz};

/// Runs the program in `folder`.
pub fn sumi(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the program with `--json` and reads what it says; it must succeed.
pub fn json(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = sumi(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Holds text against a committed file; `SUMI_BLESS=1` writes the file instead.
pub fn snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{name} differs; SUMI_BLESS=1 takes it over. Found:\n{found}");
}

/// Runs commands that must fail, with their exit codes, each with a sentence and without data, and returns what they said.
pub fn mistakes(folder: &Path, cases: &[(&[&str], i32)]) -> String {
    let mut found = String::new();
    for (arguments, code) in cases {
        let output = sumi(folder, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("bug"), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
        found += &format!("$ sumi {}\n{said}[{code}]\n\n", arguments.join(" "));
    }
    found
}

const TINY: &str = "[data]\nkind = \"digits\"\n[process]\ntimesteps = 40\nbeta_end = 0.3\n\
    [network]\nkind = \"unet\"\nchannels = [8, 16]\nblocks = 1\nattention = [false, true]\n\
    norm_groups = 4\n[train]\nsteps = 30\nbatch_size = 16\ncheckpoint_every = 30\n\
    [sample]\nevery = 0\n";

/// A folder with a tiny trained run in `run`.
pub fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let output = sumi(folder.path(), &["train", "tiny.toml", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}

/// Pictures as bytes of some pattern, with classes where they are given.
pub fn write_npz(path: &Path, shape: &[usize], classes: Option<&[i64]>) {
    let pixels: Vec<u8> = (0..shape.iter().product()).map(|i| (i * 5 % 256) as u8).collect();
    let mut arrays = vec![NamedTensor::from_u8("arr_0", shape, &pixels)];
    arrays.extend(classes.map(|c| NamedTensor::from_i64("arr_1", &[c.len()], c)));
    npz::write(path, &arrays).unwrap();
}
