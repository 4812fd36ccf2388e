//! Writing checkpoints, either way and without holding more than a chunk of them.

use super::{Checkpoint, Layout, Part, to_single_file};
use crate::limits::MAX_TOKENIZER_BYTES;
use crate::{Dtype, FormatError, Result, StateDict, atomic, json, safetensors, source};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The version of diffusers whose layout is written.
const DIFFUSERS_VERSION: &str = "0.42.0";

/// What a tokenizer's files end in; a folder of one may hold more, but nothing else is read.
const TOKENIZER_ENDINGS: [&str; 3] = ["json", "txt", "model"];

/// How a checkpoint is to be written.
pub struct Target<'a> {
    /// The layout.
    pub layout: Layout,
    /// The type of all floating-point numbers; as they are, where none is given.
    pub dtype: Option<Dtype>,
    /// The files of a tokenizer that lies in no folder, by the name of its component: none of them
    /// is in a single file.
    pub tokenizer: &'a dyn Fn(&str, &Part) -> Vec<(String, Vec<u8>)>,
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

/// Copies a tokenizer's files, or writes those that the caller has for one that has none.
fn write_tokenizer(folder: &Path, name: &str, part: &Part, target: &Target) -> Result<()> {
    let Some(from) = &part.folder else {
        for (file, bytes) in (target.tokenizer)(name, part) {
            atomic::write_bytes(&folder.join(file), &bytes)?;
        }
        return match &part.config {
            Value::Null => Ok(()),
            config => {
                let mut config = config.clone();
                config["tokenizer_class"] = part.class.clone().into();
                write_json(&folder.join("tokenizer_config.json"), &config)
            }
        };
    };
    let failed = |error| FormatError::io(from, "list the folder", error);
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let known = |ending: &&str| path.extension().is_some_and(|found| found == *ending);
        if !path.is_file() || !TOKENIZER_ENDINGS.iter().any(|ending| known(&ending)) {
            continue;
        }
        let (mut reader, length) = source::open(&path)?;
        if length > MAX_TOKENIZER_BYTES {
            let field = "the file's length";
            return Err(FormatError::too_large(&path, field, MAX_TOKENIZER_BYTES, length));
        }
        let bytes = source::read_exact(&path, &mut reader, length)?;
        atomic::write_bytes(&folder.join(json::file_name(&path)), &bytes)?;
    }
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    atomic::write_bytes(path, format!("{value:#}\n").as_bytes())
}
