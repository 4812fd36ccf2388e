//! How well pictures fit their captions.

use super::super::args::CompareArgs;
use super::sets::{Look, Set, Side};
use crate::error::CliError;
use crate::progress;
use crate::signals::Stop;
use burn::tensor::Device;
use std::path::PathBuf;
use sumi_features::{Captions, Extractor, Kind};
use sumi_metrics::{ClipScore, Features};

/// Captions at a time.
const BATCH: usize = 64;

/// What CLIP says, and which CLIP.
pub struct Captioned {
    /// The score of every pair.
    pub score: ClipScore,
    /// The model's folder.
    pub clip: PathBuf,
    /// The SHA-256 of its weights.
    pub sha256: String,
    /// Captions of more tokens than the model reads.
    pub cut: usize,
}

/// Scores the pictures of `set`, which `seen_by` made the features of `side`, against their captions.
///
/// # Errors
/// No CLIP, no pictures, pictures without captions.
pub fn captioned(
    args: &CompareArgs,
    seen_by: Option<&Extractor>,
    (set, side): (&mut Set, &Side),
    device: &Device,
    stop: &Stop,
) -> Result<Captioned, CliError> {
    let failed = |what: String| CliError::Failed(format!("{}: {what}", side.path.display()));
    let Some(folder) = &args.clip else {
        return Err(CliError::Failed(
            "the CLIP score needs --clip with the folder of a CLIPModel, found none".into(),
        ));
    };
    let Some(seen) = &side.seen else {
        return Err(failed("the CLIP score needs pictures, found none".into()));
    };
    let captions = captions(args, &seen.paths).map_err(failed)?;
    // Where CLIP has looked already, it need not look again.
    let clip = match seen_by.filter(|extractor| extractor.kind() == Kind::Clip) {
        Some(_) => None,
        None => Some(Extractor::clip(folder, device)?),
    };
    let again = match &clip {
        Some(clip) => {
            let look = ("matching", args.seen.batch, Look::default());
            set.see(Some(clip), look, stop)?.map(|collected| collected.features)
        }
        None => None,
    };
    let (Some(extractor), Some(images)) =
        (clip.as_ref().or(seen_by), again.as_ref().or(side.features.as_ref()))
    else {
        return Err(failed("the CLIP score needs pictures, found none".into()));
    };
    let bar = progress::bar("reading", captions.len() as u64);
    let mut texts = Vec::with_capacity(images.data().len());
    let mut cut = 0;
    for batch in captions.chunks(BATCH) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let (embeds, too_long) = extractor.texts(&batch)?;
        texts.extend(embeds);
        cut += too_long;
        bar.inc(batch.len() as u64);
        if stop.requested() {
            return Err(CliError::Failed("stopped; nothing was written".into()));
        }
    }
    bar.finish_and_clear();
    let texts = Features::from_f32(captions.len(), images.columns(), &texts)?;
    let score = ClipScore::new(images, &texts)?;
    let sha256 = extractor.info().sha256.clone().unwrap_or_default();
    Ok(Captioned { score, clip: folder.clone(), sha256, cut })
}

/// The caption of every picture.
fn captions(args: &CompareArgs, paths: &[Option<PathBuf>]) -> Result<Vec<String>, String> {
    if let Some(file) = &args.prompts {
        let lines = Captions::lines(file).map_err(|error| error.to_string())?;
        if lines.len() != paths.len() {
            return Err(format!(
                "expected as many lines in {} as pictures, {}, found {}",
                file.display(),
                paths.len(),
                lines.len()
            ));
        }
        return Ok(lines);
    }
    let mut captions = Captions::default();
    let mut of = |path: &Option<PathBuf>| -> Result<String, String> {
        let found = match path {
            Some(path) => captions.of(path).map_err(|error| error.to_string())?,
            None => None,
        };
        found.ok_or_else(|| {
            let picture = path.as_ref().map_or("a picture".into(), |path| path.display().to_string());
            format!(
                "expected a caption for every picture (--prompts, metadata.jsonl, a .txt beside it, or the prompt \
                 in a PNG), found none for {picture}"
            )
        })
    };
    paths.iter().map(&mut of).collect()
}
