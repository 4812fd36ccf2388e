//! Diffusers folders.

use super::{Checkpoint, Layout, Part, Preferences, names, weights};
use crate::limits::MAX_CONFIG_BYTES;
use crate::{FormatError, Result, json};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The file that makes a folder a pipeline.
const INDEX: &str = "model_index.json";

/// Components that have no part in drawing a picture from text.
const NOT_NEEDED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

/// Opens the folder of a pipeline.
pub(super) fn open(folder: &Path, preferences: &Preferences) -> Result<Checkpoint> {
    let index_path = folder.join(INDEX);
    if !index_path.is_file() {
        return Err(not_a_pipeline(folder));
    }
    let index: Map<String, Value> = json::read(&index_path, MAX_CONFIG_BYTES)?;
    let mut checkpoint = Checkpoint {
        path: folder.to_owned(),
        layout: Layout::Diffusers,
        class: String::new(),
        parts: BTreeMap::new(),
        index: Map::new(),
        left_out: Vec::new(),
        assumed: Vec::new(),
    };
    for (name, value) in index {
        match component(&index_path, &name, &value)? {
            Component::Class { library, class } if NOT_NEEDED.contains(&name.as_str()) => {
                checkpoint.left_out.push(format!("{name} ({library} {class})"));
            }
            Component::Class { library, class } => {
                let part = open_part(&folder.join(&name), library, class, preferences)?;
                checkpoint.parts.insert(name, part);
            }
            Component::Absent => {}
            Component::Value if name == "_class_name" => {
                checkpoint.class = value.as_str().unwrap_or_default().to_owned();
            }
            Component::Value => {
                checkpoint.index.insert(name, value);
            }
        }
    }
    if checkpoint.class.is_empty() {
        let (field, expected) = ("_class_name", "the name of a pipeline");
        return Err(FormatError::malformed(&index_path, field, None, expected, "none"));
    }
    check_variant(&checkpoint, preferences)?;
    Ok(checkpoint)
}

/// What an entry of `model_index.json` stands for.
enum Component {
    Class { library: String, class: String },
    Absent,
    Value,
}

/// A component is a pair of a library and a class, or of nulls where the pipeline does without.
fn component(path: &Path, name: &str, value: &Value) -> Result<Component> {
    let Some(pair) = value.as_array() else { return Ok(Component::Value) };
    match &pair[..] {
        [Value::String(library), Value::String(class)] if json::is_plain_name(name) => {
            Ok(Component::Class { library: library.clone(), class: class.clone() })
        }
        [Value::Null, Value::Null] => Ok(Component::Absent),
        _ => {
            let expected = "a component's name with its library and its class";
            Err(FormatError::malformed(path, name, None, expected, value.to_string()))
        }
    }
}

/// Opens one component.
fn open_part(
    folder: &Path,
    library: String,
    class: String,
    preferences: &Preferences,
) -> Result<Part> {
    if !folder.is_dir() {
        let expected = format!("the component {} ({class})", json::file_name(folder));
        let found = "no such folder: fetch it, or the whole pipeline again";
        return Err(FormatError::incomplete(folder, expected, found));
    }
    let (config_name, has_weights) = match &class {
        class if class.contains("Tokenizer") => ("tokenizer_config.json", false),
        class if class.ends_with("Scheduler") => ("scheduler_config.json", false),
        _ => ("config.json", true),
    };
    let path = folder.join(config_name);
    let config = match path.is_file() {
        true => {
            let config: Map<String, Value> = json::read(&path, MAX_CONFIG_BYTES)?;
            Value::Object(config)
        }
        // Tokenizers are whole without one.
        false if config_name.starts_with("tokenizer") => Value::Null,
        false => {
            let expected = format!("the configuration of a {class}");
            let found = "no such file: fetch it, or the whole pipeline again";
            return Err(FormatError::incomplete(&path, expected, found));
        }
    };
    let weights = match has_weights {
        true => Some(names::present(weights::open(folder, &class, preferences)?, &class)?),
        false => None,
    };
    let folder = Some(folder.to_owned());
    Ok(Part { library, class, config, weights, folder, files: BTreeMap::new() })
}

/// A variant that was asked for has to be there for one component at least; others may have been
/// published without.
fn check_variant(checkpoint: &Checkpoint, preferences: &Preferences) -> Result<()> {
    let Some(variant) = &preferences.variant else { return Ok(()) };
    let mut folders = checkpoint.parts.values().filter(|part| part.weights.is_some());
    let has = |part: &Part| {
        part.folder.as_ref().is_some_and(|folder| weights::has_variant(folder, variant))
    };
    match folders.any(has) {
        true => Ok(()),
        false => {
            let expected = format!("weights of the variant {variant}");
            let found = format!("none for any of {}", checkpoint.parts_with_weights().join(", "));
            Err(FormatError::incomplete(&checkpoint.path, expected, found))
        }
    }
}

impl Checkpoint {
    /// The names of the components that have tensors.
    pub fn parts_with_weights(&self) -> Vec<&str> {
        self.parts
            .iter()
            .filter(|(_, part)| part.weights.is_some())
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// Says what a folder without `model_index.json` is instead.
fn not_a_pipeline(folder: &Path) -> FormatError {
    let expected = "a pipeline: a folder with model_index.json, or a single file";
    let config: Option<Map<String, Value>> =
        json::read(&folder.join("config.json"), MAX_CONFIG_BYTES).ok();
    let class = config.as_ref().and_then(|config| {
        let architectures = config.get("architectures").and_then(|list| list.get(0));
        config.get("_class_name").or(architectures)?.as_str()
    });
    let found = match (class, folder) {
        (Some(class), _) => format!(
            "one component, a {class}: give the folder above it, with the other components and \
             model_index.json"
        ),
        (None, folder) if !folder.exists() => "nothing".to_owned(),
        (None, folder) if folder.is_dir() => "a folder without it".to_owned(),
        _ => "a file of another kind".to_owned(),
    };
    FormatError::incomplete(folder, expected, found)
}
