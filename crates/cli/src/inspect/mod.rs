//! `sumi inspect`.

mod pipeline;

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::output::data;
use serde_json::{Value, json};
use std::path::Path;
use sumi_formats::infotext::{self, Infotext};
use sumi_formats::{StateDict, TensorInfo, png_text};
use sumi_model::{
    CLASSIFIER_CLASS, Card, SchedulerConfig, classifier_config, resolve, unet_config,
};
use sumi_networks::classifier::Classifier;
use sumi_networks::unet::{SampleSize, UNet, UNetConfigError};
use sumi_nn::{Init, parameter_shapes};
use sumi_process::Process;

pub fn run(args: &InspectArgs) -> Result<(), CliError> {
    let found = inspect(&args.path)?;
    match args.json {
        true => data(format_args!("{found}"))?,
        false => print(&found, 0)?,
    }
    Ok(())
}

fn inspect(path: &Path) -> Result<Value, CliError> {
    if path.is_dir() {
        if pipeline::is_pipeline(path) {
            return pipeline::pipeline(path);
        }
        // A network over pixels has its config.json one folder further in.
        let config = path.join("config.json");
        if config.is_file()
            && let Some(found) = pipeline::component_folder(path, &read_json(&config)?)?
        {
            return Ok(found);
        }
        return folder(path);
    }
    if sumi_model::names_a_checkpoint(path) {
        return folder(path);
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match extension {
        "json" => {
            let name = if is_classifier(path) { "classifier" } else { "unet" };
            Ok(json!({
                "kind": "component config",
                "path": path,
                "components": {name: network(path)?},
            }))
        }
        "safetensors" | "bin" | "pt" | "pth" | "ckpt" => {
            let state = StateDict::open(path)?;
            if pipeline::is_single_file(&state) {
                return pipeline::pipeline(path);
            }
            let kind = if extension == "safetensors" { extension } else { "torch" };
            Ok(tensors(kind, path, &state))
        }
        "png" if path.is_file() => image(path),
        _ if !path.exists() => Err(CliError::Failed(format!(
            "{}: expected a folder or a file, found nothing",
            path.display()
        ))),
        _ => Err(CliError::Failed(format!(
            "{}: expected a model folder, a config.json, a .safetensors, a torch file (.bin, .pt, \
             .pth, .ckpt) or a PNG, found a file with the ending \"{extension}\"",
            path.display()
        ))),
    }
}

/// What an image says that it was made from: Sumi's recipe, and what the WebUI's users know.
fn image(path: &Path) -> Result<Value, CliError> {
    let mut found = json!({"kind": "image", "path": path});
    for (keyword, text) in png_text::read(path)? {
        found[&keyword] = match keyword.as_str() {
            infotext::KEYWORD => {
                let text = Infotext::parse(&text);
                let fields =
                    text.fields.into_iter().map(|(name, value)| (name, Value::from(value)));
                let mut all = serde_json::Map::from_iter([("prompt".into(), text.prompt.into())]);
                all.insert("negative prompt".into(), text.negative.into());
                all.extend(fields);
                Value::Object(all)
            }
            _ => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
    }
    Ok(found)
}

fn folder(path: &Path) -> Result<Value, CliError> {
    let folder = resolve(path)?;
    let name = sumi_model::component(&folder).unwrap_or("unet");
    let mut network = network(&folder.join(name).join("config.json"))?;
    for file_name in ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"] {
        let weights = folder.join(name).join(file_name);
        if weights.is_file() {
            let file = inspect(&weights)?;
            check_weights(&weights, &network["parameters"], &file["parameters"])?;
            network["weights"] = json!({
                "file": file_name, "bytes": file["bytes"], "dtypes": file["dtypes"],
            });
            break;
        }
    }
    let kind = if name == "classifier" { "classifier folder" } else { "model folder" };
    let mut found = json!({"kind": kind, "path": folder, "components": {name: network}});
    let read = |name: &str| -> Result<Option<Value>, CliError> {
        let path = folder.join(name);
        match std::fs::metadata(&path) {
            Err(_) => Ok(None),
            Ok(_) => read_json(&path).map(Some),
        }
    };
    if let Some(scheduler) = read("scheduler/scheduler_config.json")? {
        found["process"] = process(scheduler)?;
    }
    if let Some(card) = read("sumi.json")? {
        let card: Card = serde_json::from_value(card)
            .map_err(|error| CliError::Failed(format!("sumi.json: {error}")))?;
        found["trained"] = json!({
            "steps": card.step,
            "sumi_version": card.sumi_version,
            "class_names": card.class_names,
            "null_class": card.null_class,
            "config": card.config,
        });
    }
    Ok(found)
}

fn read_json(path: &Path) -> Result<Value, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::Failed(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

/// A file with more or fewer numbers than its config asks for does not belong to it.
fn check_weights(path: &Path, expected: &Value, found: &Value) -> Result<(), CliError> {
    match expected == found {
        true => Ok(()),
        false => Err(CliError::Failed(format!(
            "{}: expected {expected} numbers, as config.json asks for, found {found}",
            path.display()
        ))),
    }
}

fn process(scheduler: Value) -> Result<Value, CliError> {
    let config: SchedulerConfig = serde_json::from_value(scheduler)
        .map_err(|error| CliError::Failed(format!("scheduler_config.json: {error}")))?;
    let mut found = json!({
        "scheduler": config.class_name,
        "prediction": format!("{:?}", config.prediction_type).to_lowercase(),
    });
    match config.process() {
        // A table, or what cannot be read as one.
        Ok(Process::Discrete(_)) | Err(_) => {
            found["timesteps"] = config.num_train_timesteps.into();
            found["beta_schedule"] = config.beta_schedule.into();
            found["beta_start"] = config.beta_start.into();
            found["beta_end"] = config.beta_end.into();
        }
        Ok(_) => config.other.iter().for_each(|(key, value)| found[key] = value.clone()),
    }
    Ok(found)
}

/// Whether a config.json is a classifier's, by its class.
fn is_classifier(path: &Path) -> bool {
    let json = std::fs::read(path).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
    json.is_some_and(|json| json["_class_name"] == CLASSIFIER_CLASS)
}

/// Counts from the config.json alone: no weight is made.
fn network(path: &Path) -> Result<Value, CliError> {
    let mut init = Init::new(&burn::tensor::Device::flex(), 0);
    let failed = |error: UNetConfigError| CliError::Failed(error.to_string());
    if is_classifier(path) {
        let config = classifier_config(path)?;
        let shapes = parameter_shapes(&Classifier::new(&config, &mut init).map_err(failed)?);
        let (size, channels) = (Some(config.sample_size), &config.block_out_channels);
        return Ok(component(CLASSIFIER_CLASS, size, channels, Some(config.num_classes), &shapes));
    }
    let config = unet_config(path)?;
    let shapes = parameter_shapes(&UNet::new(&config, &mut init).map_err(failed)?);
    let (size, channels) = (config.sample_size, &config.block_out_channels);
    Ok(component("UNet2DModel", size, channels, config.num_class_embeds, &shapes))
}

fn component(
    class: &str,
    sample_size: Option<SampleSize>,
    channels: &[usize],
    classes: Option<usize>,
    shapes: &[(String, Vec<usize>)],
) -> Value {
    let parameters: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    json!({
        "class": class,
        "parameters": parameters,
        "bytes_f32": 4 * parameters,
        "sample_size_px": sample_size,
        "channels": channels,
        "classes": classes,
        "tensors": shapes
            .iter()
            .map(|(name, shape)| json!({"name": name, "shape": shape}))
            .collect::<Vec<_>>(),
    })
}

fn tensors(kind: &str, path: &Path, state: &StateDict) -> Value {
    let infos: Vec<TensorInfo> = state.iter().map(|(name, entry)| entry.info(name, None)).collect();
    let list: Vec<Value> = infos
        .iter()
        .map(|info| {
            json!({"name": info.name, "dtype": info.dtype.name(), "shape": info.shape, "bytes": info.bytes})
        })
        .collect();
    json!({
        "kind": format!("{kind} file"),
        "path": path,
        "holds": pipeline::guess(state),
        "parameters": state.parameters(),
        "bytes": infos.iter().map(|info| info.bytes).sum::<u64>(),
        "dtypes": pipeline::dtypes(state),
        "metadata": state.metadata(),
        "tensors": list,
    })
}

/// Nested fields as indented lines; a list of tensors as one line each.
fn print(value: &Value, depth: usize) -> Result<(), CliError> {
    let Some(fields) = value.as_object() else { return Ok(()) };
    let indent = "  ".repeat(depth);
    for (key, value) in fields {
        match value {
            Value::Object(inner) if inner.is_empty() => {}
            Value::Object(_) => {
                data(format_args!("{indent}{key}"))?;
                print(value, depth + 1)?;
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                data(format_args!("{indent}{key}"))?;
                for item in items {
                    let (name, dtype) = (&item["name"], &item["dtype"]);
                    data(format_args!(
                        "{indent}  {} {} {}",
                        dtype.as_str().unwrap_or_default(),
                        name.as_str().unwrap_or_default(),
                        item["shape"]
                    ))?;
                }
            }
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => data(format_args!("{indent}{key}: {text}"))?,
            Value::Null => {}
            other => data(format_args!("{indent}{key}: {other}"))?,
        }
    }
    Ok(())
}
