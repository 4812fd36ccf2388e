//! `sumi convert`.

use crate::args::Dtype;
use crate::error::CliError;
use crate::output::{data, talk};
use crate::progress;
use crate::signals::Stop;
use clap::ValueEnum;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use sumi_formats::FormatError;
use sumi_formats::checkpoint::{Checkpoint, Layout, Part, Prediction, Preferences, Target};

/// How a checkpoint lies on disk.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutName {
    /// A folder with model_index.json and a folder for each component
    Diffusers,
    /// One .safetensors with the names of CompVis and SGM
    SingleFile,
}

/// What a network predicts.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionName {
    /// The noise
    Epsilon,
    /// alpha eps - sigma x0
    V,
}

impl PredictionName {
    /// The same for checkpoints.
    pub fn prediction(self) -> Prediction {
        match self {
            Self::Epsilon => Prediction::Epsilon,
            Self::V => Prediction::V,
        }
    }
}

#[derive(clap::Args, Debug)]
pub struct ConvertArgs {
    /// A diffusers folder, or a single .safetensors or .ckpt
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The folder or the .safetensors to write, where nothing is yet
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// The layout of OUT; single-file where it ends in .safetensors, else diffusers
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub layout: Option<LayoutName>,
    /// The type of all weights; as they are where nothing is said
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// The variant of a folder's weights to read, such as fp16
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// What the network predicts, where a single file does not say
    #[arg(long, value_enum)]
    pub prediction: Option<PredictionName>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &ConvertArgs) -> Result<(), CliError> {
    let layout = layout(args.layout, &args.out)?;
    let start = Instant::now();
    let preferences = Preferences {
        variant: args.variant.clone(),
        prediction: args.prediction.map(PredictionName::prediction),
    };
    let checkpoint = Checkpoint::open_with(&args.input, &preferences)?;
    warn(&checkpoint);
    let dtype = args.dtype.map(Dtype::stored);
    let bytes = checkpoint.bytes(dtype);
    write(&checkpoint, &args.out, layout, dtype)?;
    report(args, &checkpoint, layout, bytes, start)
}

/// Writes a checkpoint whole or not at all, and shows how far it is.
pub fn write(
    checkpoint: &Checkpoint,
    out: &Path,
    layout: Layout,
    dtype: Option<sumi_formats::Dtype>,
) -> Result<(), CliError> {
    let stop = Stop::listen()?;
    let bar = progress::bar("writing", checkpoint.bytes(dtype) >> 20).with_message("MiB");
    let mut written = 0_u64;
    let target = Target { layout, dtype, tokenizer: &tokenizer_files };
    let outcome = checkpoint.save(out, &target, |more| {
        written += more;
        bar.set_position(written >> 20);
        match stop.requested() {
            true => Err(stopped(out)),
            false => Ok(()),
        }
    });
    bar.finish_and_clear();
    outcome.map_err(|error| match stop.requested() {
        true => CliError::Failed("stopped; nothing was written".into()),
        false => error.into(),
    })
}

/// The layout that was asked for, or that the name of OUT speaks of.
pub fn layout(asked: Option<LayoutName>, out: &Path) -> Result<Layout, CliError> {
    let is_file = out.extension().is_some_and(|ending| ending == "safetensors");
    match (asked, is_file) {
        (Some(LayoutName::SingleFile), false) => Err(CliError::Usage(format!(
            "OUT: expected a name that ends in .safetensors for --layout single-file, found {}",
            out.display()
        ))),
        (Some(LayoutName::Diffusers), true) => Err(CliError::Usage(format!(
            "OUT: expected the name of a folder for --layout diffusers, found {}",
            out.display()
        ))),
        (_, true) => Ok(Layout::SingleFile),
        (_, false) => Ok(Layout::Diffusers),
    }
}

/// What a reader of the file should know.
pub fn warn(checkpoint: &Checkpoint) {
    for assumed in &checkpoint.assumed {
        talk(format_args!("warning: assumed {assumed}; --prediction decides"));
    }
    if !checkpoint.left_out.is_empty() {
        talk(format_args!("left out: {}", checkpoint.left_out.join(", ")));
    }
}

/// CLIP's own vocabulary, which single files do not hold and every one of them means.
fn tokenizer_files(_: &str, part: &Part) -> Vec<(String, Vec<u8>)> {
    match (part.class.as_str(), sumi_text::clip_files()) {
        ("CLIPTokenizer", Ok(files)) => {
            files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
        }
        _ => Vec::new(),
    }
}

fn stopped(path: &Path) -> FormatError {
    FormatError::Io {
        path: path.to_owned(),
        action: "go on",
        source: std::io::ErrorKind::Interrupted.into(),
    }
}

fn report(
    args: &ConvertArgs,
    checkpoint: &Checkpoint,
    layout: Layout,
    bytes: u64,
    start: Instant,
) -> Result<(), CliError> {
    let secs = start.elapsed().as_secs_f64();
    if !args.json {
        talk(format_args!(
            "{}: {} as {}, {} MiB of tensors in {secs:.1} s",
            args.out.display(),
            checkpoint.family().name(),
            layout.name(),
            bytes >> 20,
        ));
        return Ok(());
    }
    let weights = checkpoint.parts.iter().filter_map(|(name, part)| {
        let state = part.weights.as_ref()?;
        Some((name.clone(), json!({"class": part.class, "parameters": state.parameters()})))
    });
    data(json!({
        "path": args.out,
        "layout": layout.name(),
        "family": checkpoint.family().name(),
        "class": checkpoint.class,
        "dtype": args.dtype.map(|dtype| dtype.stored().name()),
        "bytes": bytes,
        "components": weights.collect::<serde_json::Map<_, _>>(),
        "assumed": checkpoint.assumed,
        "left_out": checkpoint.left_out,
        "secs": secs,
    }))
}
