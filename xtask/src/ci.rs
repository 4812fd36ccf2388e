//! What CI runs.

use crate::tools::{cargo, run};
use crate::{Result, files};
use std::time::{Duration, Instant};

/// All tests of the workspace, documentation's examples included. `rest` goes to `cargo test`.
pub fn test(rest: &[&str]) -> Result<()> {
    run(cargo(&["test", "--workspace"]).args(rest))
}

/// One step of CI.
struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// From quick to slow. The lints, the docs and the Vulkan build only check their dependencies and
/// share what they found out; the tests compile them once, with optimisation, and compile the
/// examples too.
const STAGES: [Stage; 6] = [
    Stage { name: "format", run: || run(&mut cargo(&["fmt", "--all", "--check"])) },
    Stage { name: "files", run: files::check },
    Stage { name: "lints", run: lints },
    Stage { name: "docs", run: docs },
    Stage { name: "tests", run: || run(&mut cargo(&["xtask", "test"])) },
    Stage {
        name: "vulkan",
        run: || run(&mut cargo(&["check", "-p", "sumi", "--features", "vulkan"])),
    },
];

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn docs() -> Result<()> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs every stage, also after one has failed, and prints how each went and how long it took.
pub fn ci() -> Result<()> {
    let started = Instant::now();
    let mut table = String::new();
    let mut failed = Vec::new();
    for stage in &STAGES {
        println!("\n== {} ==", stage.name);
        let stage_started = Instant::now();
        let result = (stage.run)();
        if let Err(message) = &result {
            eprintln!("error: {message}");
            failed.push(stage.name);
        }
        let outcome = if result.is_ok() { "passed" } else { "FAILED" };
        let time = minutes(stage_started.elapsed());
        table += &format!("{:<8} {outcome} {time:>7}\n", stage.name);
    }
    println!("\n== summary ==\n{table}{:<15} {:>7}", "all", minutes(started.elapsed()));
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("failed: {}", names.join(", "))),
    }
}

/// Minutes and seconds, as in 4:07.
fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
