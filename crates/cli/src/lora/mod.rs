//! `sumi lora`.

mod inspect;
mod merge;

use crate::args::{LoraArgs, LoraCommand, LoraConvertArgs};
use crate::error::CliError;
use crate::output::talk;
use std::path::Path;
use sumi_formats::lora::{self, LoraError, LoraFile, Part, Resolved, Targets, Unmatched};
use sumi_formats::{Checkpoint, safetensors};

/// A warning names at most so many tensors.
const NAMED_IN_WARNING: usize = 10;

pub fn run(args: &LoraArgs) -> Result<(), CliError> {
    match &args.command {
        LoraCommand::Inspect(args) => inspect::run(args),
        LoraCommand::Merge(args) => merge::run(args),
        LoraCommand::Convert(args) => convert(args),
    }
}

impl From<LoraError> for CliError {
    fn from(error: LoraError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn convert(args: &LoraConvertArgs) -> Result<(), CliError> {
    if args.out.exists() {
        let out = args.out.display();
        let message = format!("{out}: expected a path where nothing is yet, found a file");
        return Err(CliError::Usage(message));
    }
    let file = lora::read(&args.lora)?;
    warn(&args.lora, &file.unread);
    let map = lora::convert(&file, args.layout.layout())?;
    safetensors::write(&args.out, &map)?;
    talk(format_args!("{}: {} tensors", args.out.display(), map.tensors.len()));
    Ok(())
}

/// Says which tensors are not used.
fn warn(path: &Path, unmatched: &[Unmatched]) {
    if unmatched.is_empty() {
        return;
    }
    let count = unmatched.len();
    talk(format_args!("warning: {}: {count} tensors are not used:", path.display()));
    for unmatched in unmatched.iter().take(NAMED_IN_WARNING) {
        talk(format_args!("  {unmatched}"));
    }
    if count > NAMED_IN_WARNING {
        talk(format_args!("  and {} more; sumi lora inspect lists them", count - NAMED_IN_WARNING));
    }
}

/// The layers of a checkpoint's parts, by the tensors that it holds.
fn targets(checkpoint: &Checkpoint) -> Targets {
    let mut targets = Targets::new();
    for part in Part::ALL {
        let weights = checkpoint.parts.get(part.folder()).and_then(|part| part.weights.as_ref());
        if let Some(weights) = weights {
            targets.add_tensors(part, weights.iter().map(|(name, entry)| (name, entry.shape())));
        }
    }
    targets
}

/// A LoRA held against a checkpoint.
fn resolved(path: &Path, targets: &Targets) -> Result<(LoraFile, Resolved), CliError> {
    let file = lora::read(path)?;
    let resolved = lora::resolve(&file, targets)?;
    Ok((file, resolved))
}
