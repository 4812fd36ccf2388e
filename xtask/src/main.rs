//! The project's own chores. `cargo xtask` lists them.

mod ci;
mod data;
mod files;
mod peers;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
The project's own chores:

  cargo xtask test         run all tests
  cargo xtask ci           formatting, files, lints, docs, tests, the Vulkan build: what CI runs
  cargo xtask memcheck     run the kernels' tests under valgrind
  cargo xtask data NAME    fetch a data set into data/NAME
  cargo xtask peers        make .peers, a Python environment for the scripts in bench/peers
";

/// What went wrong, in one sentence.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}\n{}", data::list());
            Ok(())
        }
        ["test", rest @ ..] => ci::test(rest),
        ["ci"] => ci::ci(),
        ["memcheck"] => ci::memcheck(),
        ["memcheck-one", program, rest @ ..] => ci::memcheck_one(program, rest),
        ["data", name] => data::fetch(name),
        ["data"] => Err(format!("which data set?\n\n{}", data::list())),
        ["peers"] => peers::make(),
        other => Err(format!("there is no chore \"{}\"\n\n{HELP}", other.join(" "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
