//! `kill -9`, again and again, many times inside a save: the run ends in the same bits.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const CONFIG: &str = "[data]\nkind = \"digits\"\n[network]\nkind = \"unet\"\nchannels = [8, 16]\n\
    blocks = 1\nattention = [false, true]\nnorm_groups = 4\n[train]\nsteps = 150\nbatch_size = 4\n\
    checkpoint_every = 2\nlog_every = 1\nkeep_checkpoints = 1\neval_every = 7\n[eval]\n\
    metric = \"loss\"\ncount = 16\n[sample]\nevery = 0\n";

fn start(folder: &Path, out: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
    command.args(["train", "run.toml", "--out", out]).current_dir(folder);
    if folder.join(out).join("config.toml").exists() {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Step and loss, or score, of every line of the log.
fn losses(run: &Path) -> Vec<(u64, f64)> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let number = |l: &serde_json::Value| l["loss"].as_f64().or(l["score"].as_f64()).unwrap();
    lines.map(|l| (l["step"].as_u64().unwrap(), number(&l))).collect()
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_in_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("run.toml"), CONFIG).unwrap();
    assert!(start(path, "straight").wait().unwrap().success());

    // Delays that do not repeat, from 20 to 270 ms: some die starting, some in a step, some in a
    // save. Every start takes the run further, so it ends.
    let mut kills = 0_u64;
    loop {
        let mut child = start(path, "killed");
        std::thread::sleep(Duration::from_millis(20 + (kills * 97) % 251 + kills));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 500, "the run does not get on");
    }
    assert!(kills > 0);
    let (straight, killed) = (path.join("straight"), path.join("killed"));
    for file in [
        "unet/diffusion_pytorch_model.safetensors",
        "trainer/weights.safetensors",
        "trainer/optimizer.safetensors",
    ] {
        let read = |run: &Path| std::fs::read(run.join("checkpoint-0000150").join(file)).unwrap();
        assert!(read(&straight) == read(&killed), "{file} differs after {kills} kills");
    }
    assert_eq!(losses(&straight), losses(&killed));
    assert_eq!(losses(&straight).len(), 150 + 22);
    let best = |run: &Path| {
        let name = std::fs::read_to_string(run.join("best")).unwrap();
        let weights = run.join(name.trim()).join("unet/diffusion_pytorch_model.safetensors");
        (name, std::fs::read(run.join("best.json")).unwrap(), std::fs::read(weights).unwrap())
    };
    assert!(best(&straight) == best(&killed), "the best differs after {kills} kills");
}
