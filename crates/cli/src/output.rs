//! stdout is data, stderr is talk.

use crate::error::CliError;
use std::io::{ErrorKind, Write};

/// Writes a line of data to stdout. A reader that has had enough, such as `head`, is no failure.
///
/// # Errors
/// A stdout that cannot be written, such as a full disk.
pub fn data(line: impl std::fmt::Display) -> Result<(), CliError> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something to whoever watches. If nobody can be told, the work still goes on.
pub fn talk(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
