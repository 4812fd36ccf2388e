//! `sumi lora merge`.

use super::{resolved, targets, warn};
use crate::args::{Dtype, LoraMergeArgs};
use crate::convert;
use crate::error::CliError;
use crate::output::{data, talk};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use sumi_formats::lora::{Matched, Part};
use sumi_formats::{Checkpoint, Edit, FormatError};
use sumi_nn::{Adapter, folded};

/// The adapters of one layer, each with the weight of its LoRA, in the order in which they act.
type Stack = Vec<(Matched, f64)>;

pub fn run(args: &LoraMergeArgs) -> Result<(), CliError> {
    let layout = convert::layout(None, &args.out)?;
    let mut checkpoint = Checkpoint::open(&args.model)?;
    convert::warn(&checkpoint);
    let targets = targets(&checkpoint);
    let mut stacks: BTreeMap<(Part, String), Stack> = BTreeMap::new();
    let mut used = Vec::new();
    for choice in &args.loras {
        let (file, resolved) = resolved(&choice.path, &targets)?;
        warn(&choice.path, &resolved.unmatched);
        used.push(json!({
            "path": file.path,
            "weight": choice.weight,
            "layout": file.layout.name(),
            "matched_layers": resolved.matched.len(),
            "matched_tensors": resolved.matched_keys,
            "unmatched": resolved.unmatched.iter().map(|u| u.key.as_str()).collect::<Vec<_>>(),
        }));
        for matched in resolved.matched {
            let name = format!("{}.weight", matched.module);
            stacks.entry((matched.part, name)).or_default().push((matched, choice.weight));
        }
    }
    let layers = stacks.len();
    let dtype = args.dtype.map(Dtype::stored);
    fold(&mut checkpoint, stacks, dtype);
    convert::write(&checkpoint, &args.out, layout, dtype)?;
    report(args, layers, used)
}

fn report(args: &LoraMergeArgs, layers: usize, used: Vec<Value>) -> Result<(), CliError> {
    match args.json {
        true => data(json!({"out": args.out, "changed_layers": layers, "loras": used})),
        false => {
            talk(format_args!("{}: {layers} layers changed", args.out.display()));
            Ok(())
        }
    }
}

/// Puts a change in the place of every weight that has adapters. Nothing is computed before it is
/// written, one tensor at a time.
fn fold(
    checkpoint: &mut Checkpoint,
    mut stacks: BTreeMap<(Part, String), Stack>,
    dtype: Option<sumi_formats::Dtype>,
) {
    for part in Part::ALL {
        let Some(component) = checkpoint.parts.get_mut(part.folder()) else { continue };
        let Some(weights) = component.weights.take() else { continue };
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        let edits: BTreeMap<String, Edit> = names
            .into_iter()
            .filter_map(|name| {
                let stack = stacks.remove(&(part, name.clone()))?;
                let edit: Edit = Arc::new(move |weight| changed(weight, &stack));
                Some((name, edit))
            })
            .collect();
        component.weights = Some(weights.mapped(|name, entry| match edits.get(name) {
            Some(edit) => entry.edited(name, dtype.unwrap_or(entry.dtype()), edit.clone()),
            None => entry.clone(),
        }));
    }
}

/// A weight with the adapters folded in.
fn changed(weight: Vec<f32>, stack: &Stack) -> Result<Vec<f32>, FormatError> {
    let device = Device::flex();
    let mut adapters = Vec::with_capacity(stack.len());
    let mut shape = Vec::new();
    for (matched, weight) in stack {
        shape.clone_from(&matched.shape);
        let values = sumi_model::adapter_values(matched, *weight)?;
        // It was held against this very shape when it was resolved.
        adapters.push(Adapter::new(values, &shape, &device).map_err(|error| internal(&error))?);
    }
    let outputs = shape.first().copied().unwrap_or(0);
    let inputs = shape.iter().skip(1).product();
    let weight = Tensor::<2>::from_data(TensorData::new(weight, [outputs, inputs]), &device);
    folded(weight, &adapters).try_into_vec_as::<f32>().map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> FormatError {
    FormatError::Io {
        path: Default::default(),
        action: "fold an adapter in",
        source: std::io::Error::other(error.to_string()),
    }
}
