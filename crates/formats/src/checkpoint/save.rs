//! Writing checkpoints, either way and without holding more than a chunk of them.

use super::{Checkpoint, Layout, Part, to_single_file};
use crate::limits::MAX_TOKENIZER_BYTES;
use crate::{Dtype, FormatError, Result, StateDict, atomic, json, safetensors, source};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The version of diffusers whose layout is written.
const DIFFUSERS_VERSION: &str = "0.42.0";

/// What a tokenizer's files end in; a folder of one may hold more, but nothing else is read.
const TOKENIZER_ENDINGS: [&str; 3] = ["json", "txt", "model"];

/// The most bytes of all of a tokenizer's files that a single file takes along, well below what its
/// configurations may take together. BERT's Chinese vocabulary has 110,000.
const MAX_SMALL_TOKENIZER_BYTES: u64 = 150_000;

/// Names and bytes of the files of a component that is a tokenizer.
pub type TokenizerFiles = dyn Fn(&str, &Part) -> Vec<(String, Vec<u8>)>;

/// How a checkpoint is to be written.
pub struct Target<'a> {
    /// The layout.
    pub layout: Layout,
    /// The type of all floating-point numbers; as they are, where none is given.
    pub dtype: Option<Dtype>,
    /// The files of a tokenizer that lies in no folder, by the name of its component: none of them
    /// is in a single file.
    pub tokenizer: &'a TokenizerFiles,
}

impl Checkpoint {
    /// How many bytes of tensors [`Self::save`] writes.
    pub fn bytes(&self, dtype: Option<Dtype>) -> u64 {
        let states = self.parts.values().filter_map(|part| part.weights.as_ref());
        states.flat_map(StateDict::iter).map(|(name, entry)| entry.info(name, dtype).bytes).sum()
    }

    /// Writes the checkpoint to `out`, which does not exist yet, whole or not at all.
    ///
    /// `progress` is told of every few bytes that were written, and may stop the writing.
    ///
    /// # Errors
    /// An `out` that exists or cannot be written; a pipeline that the layout has no form for; a
    /// number that is not finite in the wanted type.
    pub fn save(
        &self,
        out: &Path,
        target: &Target,
        mut progress: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        // A link to nowhere is something too.
        if fs::symlink_metadata(out).is_ok() {
            let expected = "a path where nothing is yet";
            return Err(FormatError::incomplete(
                out,
                expected,
                "something: name another, or remove it",
            ));
        }
        match target.layout {
            Layout::SingleFile => {
                let (state, metadata) = to_single_file(self)?;
                safetensors::write_state(out, &state, target.dtype, &metadata, progress)
            }
            Layout::Diffusers => {
                atomic::write_folder(out, |folder| self.fill(folder, target, &mut progress))
            }
        }
    }

    /// Writes the files of a diffusers folder.
    fn fill(
        &self,
        folder: &Path,
        target: &Target,
        progress: &mut impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut index = Map::new();
        index.insert("_class_name".into(), self.class.clone().into());
        for (name, part) in &self.parts {
            index.insert(name.clone(), json!([part.library, part.class]));
            let inside = folder.join(name);
            fs::create_dir(&inside)
                .map_err(|error| FormatError::io(&inside, "create the folder", error))?;
            write_part(&inside, name, part, target, progress)?;
            atomic::sync_folder(&inside)?;
        }
        if !self.class.contains("XL") {
            for absent in ["safety_checker", "feature_extractor"] {
                index.insert(absent.into(), json!([null, null]));
            }
        }
        index.extend(self.index.clone());
        index.insert("_diffusers_version".into(), DIFFUSERS_VERSION.into());
        write_json(&folder.join("model_index.json"), &index.into())
    }
}

fn write_part(
    folder: &Path,
    name: &str,
    part: &Part,
    target: &Target,
    progress: &mut impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let Some(state) = &part.weights else {
        return match part.class.ends_with("Scheduler") {
            true => write_json(&folder.join("scheduler_config.json"), &part.config),
            false => write_tokenizer(folder, name, part, target),
        };
    };
    write_json(&folder.join("config.json"), &part.config)?;
    let file = match part.library.as_str() {
        "transformers" => "model.safetensors",
        _ => "diffusion_pytorch_model.safetensors",
    };
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::write_state(folder.join(file), state, target.dtype, &metadata, progress)
}

/// Copies a tokenizer's files, or writes those that the file or the caller has for one in a single
/// file.
fn write_tokenizer(folder: &Path, name: &str, part: &Part, target: &Target) -> Result<()> {
    if let Some(from) = &part.folder {
        for path in tokenizer_files(from)? {
            let bytes = read_tokenizer(&path)?;
            atomic::write_bytes(&folder.join(json::file_name(&path)), &bytes)?;
        }
        return Ok(());
    }
    let own = part.files.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes()));
    let mut files: Vec<(String, Vec<u8>)> = own.collect();
    if files.is_empty() {
        files = (target.tokenizer)(name, part);
        if part.config.is_object() {
            let mut config = part.config.clone();
            config["tokenizer_class"] = part.class.clone().into();
            files.push(("tokenizer_config.json".into(), format!("{config:#}\n").into_bytes()));
        }
    }
    for (name, bytes) in files {
        // The names may come from a file.
        if !json::is_plain_name(&name) || !is_tokenizer_file(Path::new(&name)) {
            let expected = "the name of a tokenizer's file";
            return Err(FormatError::malformed(folder, "the tokenizer", None, expected, name));
        }
        atomic::write_bytes(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn is_tokenizer_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| TOKENIZER_ENDINGS.contains(&ending))
}

/// The files of a tokenizer's folder, in order.
fn tokenizer_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| FormatError::io(folder, "list the folder", error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && is_tokenizer_file(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_tokenizer(path: &Path) -> Result<Vec<u8>> {
    let (mut reader, length) = source::open(path)?;
    if length > MAX_TOKENIZER_BYTES {
        let field = "the file's length";
        return Err(FormatError::too_large(path, field, MAX_TOKENIZER_BYTES, length));
    }
    source::read_exact(path, &mut reader, length)
}

/// The files of a tokenizer that are small enough for a single file's metadata, or none: CLIP's own
/// vocabulary is larger, and every single file means it.
pub(super) fn small_tokenizer(part: &Part) -> Result<BTreeMap<String, String>> {
    let Some(folder) = part.folder.as_ref().filter(|_| part.class.contains("Tokenizer")) else {
        return Ok(part.files.clone());
    };
    let mut files = BTreeMap::new();
    let mut total = 0;
    for path in tokenizer_files(folder)? {
        let length = fs::metadata(&path).map_or(u64::MAX, |metadata| metadata.len());
        total = length.saturating_add(total);
        if total > MAX_SMALL_TOKENIZER_BYTES {
            return Ok(BTreeMap::new());
        }
        let Ok(text) = String::from_utf8(read_tokenizer(&path)?) else {
            return Ok(BTreeMap::new());
        };
        files.insert(json::file_name(&path), text);
    }
    Ok(files)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    atomic::write_bytes(path, format!("{value:#}\n").as_bytes())
}
