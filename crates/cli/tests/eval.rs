//! `sumi eval` as a user meets it.

mod support;

use std::path::Path;
use std::process::Command;
use support::{mistakes, snapshot, sumi, text, trained, write_npz};

fn measured(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let all = [&["eval", "bpd", "run"], arguments, &["--json"]].concat();
    let output = sumi(folder, &all);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn both_methods_say_what_they_found() {
    let folder = trained();
    let path = folder.path();
    let bound = measured(path, &["digits", "--count", "6", "--plot", "terms.png"]);
    assert_eq!((&bound["method"], &bound["count"]), (&"vlb".into(), &6.into()));
    assert_eq!((&bound["dims"], &bound["levels"]), (&64.into(), &17.into()));
    assert_eq!((&bound["nfe"], &bound["tolerance"]), (&40.0.into(), &serde_json::Value::Null));
    let number = |name: &str| bound[name].as_f64().unwrap();
    let terms = bound["terms"].as_array().unwrap();
    assert_eq!((terms.len(), bound["x0_mse"].as_array().unwrap().len()), (39, 40));
    let sum: f64 = terms.iter().map(|t| t.as_f64().unwrap()).sum();
    let total = number("prior") + sum + number("l0");
    assert!((total - number("bits_per_dim")).abs() < 1e-9, "{total}");
    assert!(number("standard_error") > 0.0 && total > 0.0);
    assert!(path.join("terms.png").is_file());

    // The same under another batch and number of threads; another under another seed.
    let again = ["digits", "--count", "6", "--batch", "4", "--threads", "1"];
    assert_eq!(measured(path, &again), bound);
    let other = measured(path, &["digits", "--count", "6", "--seed", "1"]);
    assert_ne!(other["bits_per_dim"], bound["bits_per_dim"]);
    let free = measured(path, &["digits", "--count", "6", "--clip", "false"]);
    assert_ne!(free["bits_per_dim"], bound["bits_per_dim"]);

    let ode = measured(path, &["digits", "--count", "6", "--method", "ode", "--tolerance", "1e-3"]);
    assert_eq!((&ode["method"], &ode["tolerance"]), (&"ode".into(), &1e-3.into()));
    assert!(ode["bits_per_dim"].as_f64().unwrap().is_finite());
    assert!(ode["nfe"].as_f64().unwrap() > 10.0 && ode["terms"].is_null());
}

#[test]
fn pictures_come_from_an_npz_and_from_folders() {
    let folder = trained();
    let path = folder.path();
    write_npz(&path.join("two.npz"), &[2, 8, 8, 1], Some(&[3, 9]));
    let found = measured(path, &["two.npz"]);
    assert_eq!((&found["count"], &found["levels"]), (&2.into(), &256.into()));
    let sampled = ["sample", "run", "--count", "2", "--steps", "2", "--out", "drawn/7"];
    assert!(sumi(path, &sampled).status.success());
    std::fs::create_dir(path.join("drawn/8")).unwrap();
    std::fs::rename(path.join("drawn/7/00001.png"), path.join("drawn/8/1.png")).unwrap();
    assert_eq!(measured(path, &["drawn"])["count"], 2);

    let output = sumi(path, &["eval", "bpd", "run", "two.npz", "--count", "1"]);
    let said = text(&output.stdout);
    assert!(said.contains("L_39 + .. + L_1") && said.contains("levels: 256"), "{said}");
    assert!(said.lines().all(|line| !line.contains("NaN")), "{said}");
}

#[test]
fn mistakes_are_one_clear_sentence() {
    let folder = trained();
    let path = folder.path();
    std::fs::create_dir(path.join("empty")).unwrap();
    write_npz(&path.join("wide.npz"), &[2, 8, 16, 1], Some(&[0, 1]));
    write_npz(&path.join("colour.npz"), &[2, 8, 8, 3], Some(&[0, 1]));
    write_npz(&path.join("none.npz"), &[0, 8, 8, 1], None);
    write_npz(&path.join("unnamed.npz"), &[2, 8, 8, 1], None);
    write_npz(&path.join("many.npz"), &[2, 8, 8, 1], Some(&[0, 10]));
    write_npz(&path.join("flat.npz"), &[2, 64], None);
    // A process that has no timesteps.
    let run = path.join("run/checkpoint-0000030");
    for part in ["unet", "scheduler"] {
        std::fs::create_dir_all(path.join("flow").join(part)).unwrap();
    }
    for file in ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"] {
        std::fs::copy(run.join(file), path.join("flow").join(file)).unwrap();
    }
    let config = std::fs::read_to_string(run.join("scheduler/scheduler_config.json")).unwrap();
    let config = config.replace("DDPMScheduler", "FlowMatchEulerDiscreteScheduler");
    std::fs::write(path.join("flow/scheduler/scheduler_config.json"), config).unwrap();
    let ode = ["eval", "bpd", "flow", "digits", "--method", "ode", "--count", "1"];
    let output = sumi(path, &[&ode[..], &["--tolerance", "1e-2"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("total"), "{}", text(&output.stdout));

    let found = mistakes(
        path,
        &[
            (&["eval", "bpd", "flow", "digits"], 2),
            (&["eval", "bpd", "run", "nowhere"], 1),
            (&["eval", "bpd", "run", "tiny.toml"], 1),
            (&["eval", "bpd", "run", "empty"], 1),
            (&["eval", "bpd", "run", "none.npz"], 1),
            (&["eval", "bpd", "run", "flat.npz"], 1),
            (&["eval", "bpd", "run", "wide.npz", "--method", "ode"], 1),
            (&["eval", "bpd", "run", "colour.npz"], 1),
            (&["eval", "bpd", "run", "unnamed.npz"], 1),
            (&["eval", "bpd", "run", "many.npz"], 1),
            (&["eval", "bpd", "run", "digits", "--plot", "missing/x.png"], 1),
            (&["eval", "bpd", "run", "digits", "--count", "0"], 2),
            (&["eval", "bpd", "run", "digits", "--count", "100000"], 2),
            (&["eval", "bpd", "run", "digits", "--batch", "0"], 2),
            (&["eval", "bpd", "run", "digits", "--tolerance", "1e-3"], 2),
            (&["eval", "bpd", "run", "digits", "--method", "ode", "--tolerance", "0"], 2),
            (&["eval", "bpd", "run", "digits", "--method", "ode", "--plot", "x.png"], 2),
            (&["eval", "bpd", "run", "digits", "--method", "ode", "--clip", "true"], 2),
            (&["eval", "bpd", "run", "digits", "--method", "elbo"], 2),
        ],
    );
    snapshot("eval-mistakes.txt", &found);
}

#[cfg(unix)]
#[test]
fn a_signal_stops_it_cleanly() {
    let folder = trained();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sumi"));
    let child = command
        .args(["eval", "bpd", "run", "digits", "--batch", "1", "--plot", "terms.png"])
        .current_dir(&folder)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("error: stopped after "), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty() && !folder.path().join("terms.png").exists());
}
