//! What CI runs.

use crate::tools::{cargo, run};
use crate::{Result, files};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// All tests of the workspace, documentation's examples included. `rest` goes to `cargo test`.
pub fn test(rest: &[&str]) -> Result<()> {
    run(cargo(&["test", "--workspace"]).args(rest))
}

/// The tests of the only crate with unsafe code, under valgrind, which sees every read and write
/// outside of what was allocated and every decision on what was never written. It knows no AVX-512,
/// so what runs there are the AVX2 and the portable kernels, from the same source.
pub fn memcheck() -> Result<()> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    // All of the workspace is chosen, because dependencies are built with the features that all
    // that is chosen wants, and these are built already. Cargo hands each test to this program.
    let mut test = cargo(&["test", "--workspace", "--lib", "--", "--test-threads=1"]);
    let runner = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";
    run(test.env(runner, format!("{} memcheck-one", own.display())))
}

/// Runs one test program under valgrind if it is the kernels'.
pub fn memcheck_one(program: &str, rest: &[&str]) -> Result<()> {
    let name = Path::new(program).file_name().unwrap_or_default();
    if !name.to_string_lossy().starts_with("sumi_kernels-") {
        return Ok(());
    }
    let mut valgrind = Command::new("valgrind");
    run(valgrind.args(["--quiet", "--error-exitcode=9", program]).args(rest))
}

/// One step of CI.
struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// From quick to slow.
const STAGES: [Stage; 8] = [
    Stage { name: "format", run: || run(&mut cargo(&["fmt", "--all", "--check"])) },
    Stage { name: "files", run: files::check },
    Stage { name: "lints", run: lints },
    Stage { name: "docs", run: docs },
    Stage {
        name: "vulkan",
        run: || run(&mut check_only(&["check", "-p", "sumi", "--features", "vulkan"])),
    },
    // What a test holds itself against and no commit holds.
    Stage {
        name: "data",
        run: || {
            ["bert-vocab", "efficientnet-lite0", "skimage"]
                .into_iter()
                .try_for_each(crate::data::fetch)
        },
    },
    // Compiles the examples too.
    Stage { name: "tests", run: || run(&mut cargo(&["xtask", "test"])) },
    Stage { name: "memory", run: memcheck },
];

fn lints() -> Result<()> {
    let mut clippy = check_only(&["clippy", "--workspace", "--all-targets"]);
    run(clippy.args(["--", "-D", "warnings"]))
}

fn docs() -> Result<()> {
    run(check_only(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Cargo for a stage that runs no code of ours. The profile's optimisation would be spent on
/// macros and build scripts, which more than doubles the time of such a stage; so only the tests
/// compile with it.
fn check_only(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.args(["--config", "profile.dev.opt-level=0"]);
    command.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    command
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
