//! Running other programs.

use crate::{Result, root};
use std::process::{Command, Stdio};

/// Runs a program in the repository's root and lets it print.
pub fn run(command: &mut Command) -> Result<()> {
    let status = prepared(command).status().map_err(|error| missing(command, &error))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{} ended with {status}", line(command))),
    }
}

/// Runs a program in the repository's root, unless the command names another folder, and returns
/// what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = prepared(command)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| missing(command, &error))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{} ended with {}", line(command), output.status)),
    }
}

/// Cargo, as this program was started by it.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

fn prepared(command: &mut Command) -> &mut Command {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    command.stdin(Stdio::null())
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn missing(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{program} is needed but not installed: install it and try again")
        }
        _ => format!("cannot run {program}: {error}"),
    }
}
