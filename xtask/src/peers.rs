//! A Python environment with the programs that Sumi is compared with.

use crate::tools::run;
use crate::{Result, root};
use std::process::Command;

/// Makes `.peers` and installs what `bench/peers/requirements.txt` pins.
pub fn make() -> Result<()> {
    let folder = root().join(".peers");
    if !folder.join("pyvenv.cfg").is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let bin = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let requirements = root().join("bench/peers/requirements.txt");
    run(Command::new(bin.join("python"))
        .args(["-m", "pip", "install", "--disable-pip-version-check", "-r"])
        .arg(requirements))?;
    println!("the scripts in bench/peers run with {}", bin.join("python").display());
    Ok(())
}
