//! The index of a checkpoint in several files: `{"metadata": {}, "weight_map": {tensor: file}}`.

use super::StateDict;
use crate::limits::{MAX_INDEX_BYTES, MAX_SHARDS};
use crate::{FormatError, Result, json};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The fields of the index; sizes and the like beside them are not needed.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens every file that the index names, and takes from each what the index promises of it.
pub(super) fn open(path: &Path) -> Result<StateDict> {
    let index: Index = json::read(path, MAX_INDEX_BYTES)?;
    let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in index.weight_map {
        if !json::is_plain_name(&file) {
            let field = format!("weight_map of `{tensor}`");
            let expected = "the name of a file beside the index";
            return Err(FormatError::malformed(path, &field, None, expected, file));
        }
        by_file.entry(file).or_default().push(tensor);
        if by_file.len() > MAX_SHARDS {
            let field = "the number of files";
            let (limit, found) = (MAX_SHARDS as u64, by_file.len() as u64);
            return Err(FormatError::too_large(path, field, limit, found));
        }
    }
    if by_file.is_empty() {
        let (field, found) = ("weight_map", "no tensor");
        return Err(FormatError::malformed(path, field, None, "files by tensor", found));
    }
    let mut state = StateDict::default();
    for (file, tensors) in by_file {
        let shard = path.with_file_name(&file);
        if !shard.exists() {
            return Err(FormatError::incomplete(
                &shard,
                format!("{} tensors, as {} says", tensors.len(), json::file_name(path)),
                "no such file: fetch it, or the whole checkpoint again",
            ));
        }
        let mut held = StateDict::open(&shard)?;
        for tensor in tensors {
            let Some(entry) = held.remove(&tensor) else {
                return Err(FormatError::incomplete(
                    &shard,
                    format!("tensor `{tensor}`, as {} says", json::file_name(path)),
                    "no such tensor",
                ));
            };
            state.insert(path, tensor, entry)?;
        }
    }
    Ok(state)
}
