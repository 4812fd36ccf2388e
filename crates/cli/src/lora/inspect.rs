//! `sumi lora inspect`.

use super::{resolved, targets};
use crate::args::LoraInspectArgs;
use crate::error::CliError;
use crate::output::data;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use sumi_formats::lora::{self, Adapter, LoraFile, Part, Unmatched};
use sumi_formats::{Checkpoint, NamedTensor};

pub fn run(args: &LoraInspectArgs) -> Result<(), CliError> {
    let file = lora::read(&args.lora)?;
    let mut found = describe(&file);
    if let Some(model) = &args.model {
        let (_, resolved) = resolved(&args.lora, &targets(&Checkpoint::open(model)?))?;
        found["model"] = json!({
            "path": model,
            "matched_layers": resolved.matched.len(),
            "matched_tensors": resolved.matched_keys,
            "unmatched": reasons(&resolved.unmatched),
        });
    }
    match args.json {
        true => data(format_args!("{found}")),
        false => print(&found),
    }
}

fn reasons(unmatched: &[Unmatched]) -> Vec<Value> {
    let describe = |u: &Unmatched| json!({"name": u.key, "reason": u.reason.to_string()});
    unmatched.iter().map(describe).collect()
}

fn describe(file: &LoraFile) -> Value {
    let training: Map<String, Value> = file
        .metadata
        .iter()
        .filter(|(key, _)| key.starts_with("ss_"))
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    let parts: Map<String, Value> = Part::ALL
        .into_iter()
        .filter_map(|part| Some((part.folder().to_owned(), of_part(file, part)?)))
        .collect();
    json!({
        "kind": "lora file",
        "path": file.path,
        "layout": file.layout.name(),
        "family": file.family().map(|family| family.to_string()),
        "cross_attention_dim": file.cross_width(),
        "parameters": file.adapters.iter().map(parameters).sum::<usize>(),
        "parts": parts,
        "adapters": file.adapters.iter().map(of_adapter).collect::<Vec<_>>(),
        "unread": reasons(&file.unread),
        "training": training,
        "metadata": file.metadata,
    })
}

fn parameters(adapter: &Adapter) -> usize {
    adapter.tensors().map(NamedTensor::elements).sum()
}

fn of_part(file: &LoraFile, part: Part) -> Option<Value> {
    let adapters: Vec<&Adapter> = file.adapters.iter().filter(|a| a.part == part).collect();
    let mut ranks = BTreeMap::<usize, usize>::new();
    let mut scales = BTreeMap::<String, usize>::new();
    for adapter in &adapters {
        *ranks.entry(adapter.rank()).or_default() += 1;
        *scales.entry(adapter.scale().to_string()).or_default() += 1;
    }
    let count = |what: fn(&Adapter) -> bool| adapters.iter().filter(|a| what(a)).count();
    (!adapters.is_empty()).then(|| {
        json!({
            "layers": adapters.len(),
            "parameters": adapters.iter().map(|a| parameters(a)).sum::<usize>(),
            "convolutions": count(|a| a.down.shape.get(2).is_some_and(|&size| size > 1) || a.mid.is_some()),
            "with_magnitude": count(|a| a.magnitude.is_some()),
            "ranks": ranks,
            "scales": scales,
        })
    })
}

fn of_adapter(adapter: &Adapter) -> Value {
    json!({
        "part": adapter.part.folder(),
        "name": adapter.name.to_string(),
        "module": adapter.module(),
        "rank": adapter.rank(),
        "alpha": adapter.alpha,
        "scale": adapter.scale(),
        "down": adapter.down.shape,
        "up": adapter.up.shape,
        "dtype": adapter.down.dtype.name(),
        "tucker": adapter.mid.is_some(),
        "magnitude": adapter.magnitude.is_some(),
    })
}

fn print(found: &Value) -> Result<(), CliError> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for field in ["path", "layout", "family", "parameters"] {
        if !found[field].is_null() {
            data(format_args!("{field}: {}", text(&found[field])))?;
        }
    }
    for (part, of) in found["parts"].as_object().into_iter().flatten() {
        data(format_args!("{part}: {} layers, {} parameters", of["layers"], of["parameters"]))?;
        for (what, counts) in [("rank", &of["ranks"]), ("scale", &of["scales"])] {
            for (value, count) in counts.as_object().into_iter().flatten() {
                data(format_args!("  {what} {value}: {count} layers"))?;
            }
        }
        for what in ["convolutions", "with_magnitude"] {
            if of[what] != 0 {
                data(format_args!("  {}: {}", what.replace('_', " "), of[what]))?;
            }
        }
    }
    for (key, value) in found["training"].as_object().into_iter().flatten() {
        // Some, such as the counts of all tags, go on for pages.
        let value: String = text(value).chars().take(100).collect();
        data(format_args!("{key}: {value}"))?;
    }
    if let Some(model) = found.get("model") {
        let (layers, tensors) = (&model["matched_layers"], &model["matched_tensors"]);
        data(format_args!("model: {layers} layers, {tensors} tensors match"))?;
    }
    let unmatched = found.pointer("/model/unmatched").unwrap_or(&found["unread"]);
    for item in unmatched.as_array().into_iter().flatten() {
        data(format_args!("not used: {}: {}", text(&item["name"]), text(&item["reason"])))?;
    }
    for item in found["adapters"].as_array().into_iter().flatten() {
        let (part, module) = (text(&item["part"]), text(&item["module"]));
        data(format_args!("  {part}.{module} rank {} scale {}", item["rank"], item["scale"]))?;
    }
    Ok(())
}
