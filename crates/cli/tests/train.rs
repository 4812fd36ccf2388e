//! `sumi train` that measures along the way, as a user meets it.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const TINY: &str = "[data]\nkind = \"digits\"\n[process]\ntimesteps = 40\nbeta_end = 0.3\n\
    [network]\nkind = \"unet\"\nchannels = [8, 16]\nblocks = 1\nattention = [false, true]\n\
    norm_groups = 4\n[train]\nsteps = 6\nbatch_size = 16\nlog_every = 1\nkeep_checkpoints = 1\n\
    eval_every = 2\n[eval]\ncount = 20\nsteps = 2\n[sample]\nevery = 0\n";

fn sumi(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sumi")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    folder
}

#[test]
fn a_run_says_how_good_it_is_and_where_the_best_is() {
    let folder = folder();
    let path = folder.path();
    let output = sumi(path, &["train", "tiny.toml", "--out", "run"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches(": fid ").count(), 3, "{said}");
    assert!(said.contains("step 2: fid ") && said.contains(", the best so far ("), "{said}");
    assert!(said.contains("best: run/best, step ") && !said.contains("warning"), "{said}");
    let log = std::fs::read_to_string(path.join("run/log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let scores: Vec<&Value> = lines.iter().filter(|line| line["metric"] == "fid").collect();
    assert_eq!(scores.iter().map(|s| s["step"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4, 6]);

    // The same again, as JSON; and on what is trained on.
    let set = ["--set", "data.held_out_fraction=0.0", "--set", "eval.metric=kid"];
    for (out, more) in [("again", &[][..]), ("training", &set)] {
        let arguments = [&["train", "tiny.toml", "--json", "--out", out][..], more].concat();
        let output = sumi(path, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let events: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of = |name: &str| -> Vec<&Value> {
            events.iter().filter(|event| event["event"] == name).collect()
        };
        let found = of("evaluation");
        let end = of("end")[0];
        assert_eq!(end["best"]["path"], format!("{out}/best"));
        let lowest = found.iter().map(|e| e["score"].as_f64().unwrap()).fold(f64::MAX, f64::min);
        assert_eq!(end["best"]["score"], lowest);
        let warned = of("warning");
        match out {
            "again" => {
                let score = |events: &[&Value]| -> Vec<Value> {
                    events.iter().map(|e| e["score"].clone()).collect()
                };
                assert_eq!(score(&found), score(&scores));
                assert!(warned.is_empty());
            }
            _ => {
                assert!(found.iter().all(|e| e["metric"] == "kid"));
                let message = warned[0]["message"].as_str().unwrap();
                assert!(warned.len() == 1 && message.contains("that are trained on"), "{message}");
            }
        }
    }
}

#[test]
fn the_best_is_a_model_to_every_command() {
    let folder = folder();
    let path = folder.path();
    let output = sumi(path, &["train", "tiny.toml", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let best = std::fs::read_to_string(path.join("run/best")).unwrap();
    let named = format!("run/{}", best.trim());
    let drawn = |model: &str, file: &str| {
        let arguments = ["sample", model, "--count", "2", "--steps", "2", "--tensors", file];
        let output = sumi(path, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        sumi_formats::safetensors::read(path.join(file)).unwrap()
    };
    assert!(drawn("run/best", "a.safetensors") == drawn(&named, "b.safetensors"));
    for arguments in [
        &["inspect", "run/best", "--json"][..],
        &[
            "eval",
            "fid",
            "digits",
            "run/best",
            "--features",
            "pixels",
            "--count",
            "8",
            "--steps",
            "2",
            "--floor-splits",
            "0",
        ],
    ] {
        let output = sumi(path, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_measured_is_said_before_training() {
    let folder = folder();
    let path = folder.path();
    for (change, code, expected) in [
        (
            "eval.features=pixel",
            2,
            "error: eval.features: expected inception, efficientnet-lite0, clip, pixels or a file of \
             weights, found pixel\n",
        ),
        (
            "eval.features=clip",
            2,
            "error: eval.features: expected pixels, efficientnet-lite0, inception or a file of weights, \
             found clip\n",
        ),
        (
            "eval.steps=41",
            2,
            "error: tiny.toml: eval.steps: expected from 1 to process.timesteps = 40, found 41\n",
        ),
        (
            "eval.metric=is",
            2,
            "error: --set eval.metric=is: unknown variant `is`, expected one of `fid`, `kid`, `loss`",
        ),
        (
            "eval.features=efficientnet-lite0",
            1,
            "error: expected efficientnet-lite0-57934424.pth in ",
        ),
    ] {
        let output = sumi(path, &["train", "tiny.toml", "--out", "run", "--set", change]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{change}: {said}");
        let error = &said[said.find("error: ").unwrap_or(0)..];
        assert!(error.starts_with(expected) && said.matches('\n').count() <= 2, "{change}: {said}");
        assert!(!path.join("run/config.toml").exists(), "{change}");
    }
}

/// SIGTERM in the middle of an evaluation that would take hours.
#[cfg(unix)]
#[test]
fn an_evaluation_stops_at_once_and_is_made_up_for() {
    let folder = folder();
    let path = folder.path();
    let train = |changes: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
        command.args(["train", "tiny.toml", "--out", "run", "--set"]).args(changes);
        command.current_dir(path).stdout(std::process::Stdio::null());
        command
    };
    let log = || std::fs::read_to_string(path.join("run/log.jsonl")).unwrap_or_default();
    let mut child = train(&["eval.count=1000000"]).stderr(std::process::Stdio::piped()).spawn();
    let child = child.as_mut().unwrap();
    let patience = std::time::Instant::now();
    while log().lines().count() < 2 && patience.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let asked = std::time::Instant::now();
    let status = child.wait().unwrap();
    assert!(status.success() && asked.elapsed().as_secs() < 10);
    let mut said = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(said.contains("stopped after step 2; go on with --resume"), "{said}");
    assert!(!log().contains("fid") && !path.join("run/best").exists());

    let output = train(&["eval.count=20", "--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let steps: Vec<Value> = log()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["metric"] == "fid")
        .map(|line| line["step"].clone())
        .collect();
    assert_eq!(steps, [2, 4, 6]);
}
