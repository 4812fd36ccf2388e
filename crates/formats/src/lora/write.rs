//! Writing a LoRA in another layout.

use super::names::{Sgm, joined};
use super::{Adapter, Layout, LoraError, LoraFile, Part, metadata};
use crate::{Dtype, NamedTensor, TensorMap};
use half::{bf16, f16};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The same LoRA in another layout. Kohya's layouts have an `alpha` for every adapter, PEFT's has its
/// scales in the metadata, and where the layout has no place for a scale it is in `up`.
///
/// # Errors
/// [`LoraError::Layout`] for a Tucker decomposition, which only kohya's layouts have, and for
/// [`Layout::Mixed`].
pub fn convert(file: &LoraFile, layout: Layout) -> Result<TensorMap, LoraError> {
    let refuse = |what: &str| LoraError::Layout {
        path: file.path.clone(),
        layout: layout.name(),
        what: what.to_owned(),
    };
    let kohya = matches!(layout, Layout::Kohya | Layout::KohyaSgm);
    if layout == Layout::Mixed {
        return Err(refuse("it is no layout to write; choose one of the others"));
    }
    if !kohya && file.adapters.iter().any(|adapter| adapter.mid.is_some()) {
        return Err(refuse("it has `lora_mid` tensors, which only kohya's layouts have"));
    }
    let two = file.adapters.iter().any(|adapter| adapter.part == Part::TextEncoder2);
    let mut map = TensorMap::default();
    for adapter in &file.adapters {
        match layout {
            Layout::Peft => peft(adapter, &mut map.tensors),
            _ if kohya => to_kohya(adapter, layout == Layout::KohyaSgm, two, &mut map.tensors),
            _ => diffusers(adapter, layout == Layout::AttnProcs, &mut map.tensors)?,
        }
    }
    let bookkeeping = |key: &str| key == metadata::FIELD;
    map.metadata = file.metadata.clone();
    map.metadata.retain(|key, _| !bookkeeping(key));
    map.metadata.insert("format".into(), "pt".into());
    if layout == Layout::Peft
        && let Some(settings) = peft_settings(file)
    {
        map.metadata.insert(metadata::FIELD.into(), settings);
    }
    Ok(map)
}

fn named(tensor: &NamedTensor, name: String) -> NamedTensor {
    NamedTensor { name, ..tensor.clone() }
}

fn reshaped(tensor: &NamedTensor, name: String, shape: Vec<usize>) -> NamedTensor {
    NamedTensor { shape, ..named(tensor, name) }
}

/// Whether the layer is a convolution with a window.
fn is_conv(adapter: &Adapter) -> bool {
    adapter.down.shape.len() == 4
}

fn peft(adapter: &Adapter, tensors: &mut Vec<NamedTensor>) {
    let path = format!("{}.{}", adapter.part.folder(), adapter.module());
    tensors.push(named(&adapter.down, format!("{path}.lora_A.weight")));
    tensors.push(named(&adapter.up, format!("{path}.lora_B.weight")));
    tensors.extend(magnitude(adapter, &path));
}

/// PEFT's magnitude: `[out]`, or `[1, out, 1, 1]` for a convolution.
fn magnitude(adapter: &Adapter, path: &str) -> Option<NamedTensor> {
    let magnitude = adapter.magnitude.as_ref()?;
    let outputs = magnitude.elements();
    let shape = if is_conv(adapter) { vec![1, outputs, 1, 1] } else { vec![outputs] };
    Some(reshaped(magnitude, format!("{path}.lora_magnitude_vector"), shape))
}

fn to_kohya(adapter: &Adapter, sgm: bool, two: bool, tensors: &mut Vec<NamedTensor>) {
    let prefix = match adapter.part {
        Part::Unet => "lora_unet",
        Part::TextEncoder if two => "lora_te1",
        Part::TextEncoder => "lora_te",
        Part::TextEncoder2 => "lora_te2",
    };
    let mut module = adapter.module();
    if sgm && adapter.part == Part::Unet {
        // Of an upsampler's two places, the one behind an attention is the published one.
        module = Sgm::published().theirs(&module).pop().unwrap_or(module);
    }
    let path = format!("{prefix}_{}", joined(&module));
    tensors.push(named(&adapter.down, format!("{path}.lora_down.weight")));
    tensors.push(named(&adapter.up, format!("{path}.lora_up.weight")));
    let mid = adapter.mid.as_ref().map(|mid| named(mid, format!("{path}.lora_mid.weight")));
    tensors.extend(mid);
    if let Some(magnitude) = &adapter.magnitude {
        let mut shape = vec![1; adapter.down.shape.len()];
        shape[0] = magnitude.elements();
        tensors.push(reshaped(magnitude, format!("{path}.dora_scale"), shape));
    }
    let alpha = adapter.scale() * adapter.rank() as f64;
    tensors.push(NamedTensor::from_f32(format!("{path}.alpha"), &[], &[alpha as f32]));
}

/// diffusers' own layouts, old and new, which have no scale.
fn diffusers(
    adapter: &Adapter,
    old: bool,
    tensors: &mut Vec<NamedTensor>,
) -> Result<(), LoraError> {
    let module = adapter.module();
    let path = format!("{}.{module}", adapter.part.folder());
    let stem = match adapter.part {
        Part::Unet => old.then(|| processor(&path)).flatten().unwrap_or(format!("{path}.lora")),
        _ => format!("{path}.lora_linear_layer"),
    };
    let up = scaled(&adapter.up, adapter.scale())?;
    tensors.push(named(&adapter.down, format!("{stem}.down.weight")));
    tensors.push(NamedTensor { name: format!("{stem}.up.weight"), ..up });
    tensors.extend(magnitude(adapter, &path));
    Ok(())
}

/// `attn1.to_out.0` as its processor's: `attn1.processor.to_out_lora`.
fn processor(path: &str) -> Option<String> {
    let (attention, last) = path.strip_suffix(".0").unwrap_or(path).rsplit_once('.')?;
    let known = matches!(last, "to_q" | "to_k" | "to_v" | "to_out");
    let inside = attention.ends_with(".attn1") || attention.ends_with(".attn2");
    (known && inside).then(|| format!("{attention}.processor.{last}_lora"))
}

/// The tensor times a number, in its own type.
fn scaled(tensor: &NamedTensor, scale: f64) -> Result<NamedTensor, LoraError> {
    if scale == 1.0 {
        return Ok(tensor.clone());
    }
    let values = tensor.to_f32()?.into_iter().map(|x| (f64::from(x) * scale) as f32);
    let data = match tensor.dtype {
        Dtype::F16 => values.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
        Dtype::Bf16 => values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
        Dtype::F64 => values.flat_map(|x| f64::from(x).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    };
    Ok(NamedTensor { data, ..tensor.clone() })
}

/// PEFT's `LoraConfig` for each part, where a scale is not 1. A layer without an entry in a pattern
/// has the part's own rank and alpha.
fn peft_settings(file: &LoraFile) -> Option<String> {
    if file.adapters.iter().all(|adapter| adapter.scale() == 1.0) {
        return None;
    }
    let mut settings = Map::new();
    for part in Part::ALL {
        let adapters: Vec<&Adapter> =
            file.adapters.iter().filter(|adapter| adapter.part == part).collect();
        let Some(first) = adapters.first() else { continue };
        let alpha = |adapter: &Adapter| adapter.scale() * adapter.rank() as f64;
        let mut ranks = BTreeMap::new();
        let mut alphas = BTreeMap::new();
        for adapter in &adapters {
            let module = format!("^{}", adapter.module());
            if adapter.rank() != first.rank() {
                ranks.insert(module.clone(), adapter.rank());
            }
            if alpha(adapter) != alpha(first) {
                alphas.insert(module, alpha(adapter));
            }
        }
        let modules: Vec<String> = adapters.iter().map(|adapter| adapter.module()).collect();
        for (field, value) in [
            ("r", json!(first.rank())),
            ("lora_alpha", json!(alpha(first))),
            ("rank_pattern", json!(ranks)),
            ("alpha_pattern", json!(alphas)),
            ("target_modules", json!(modules)),
            ("use_dora", json!(adapters.iter().any(|adapter| adapter.magnitude.is_some()))),
            ("lora_bias", json!(false)),
        ] {
            settings.insert(format!("{}.{field}", part.folder()), value);
        }
    }
    Some(Value::Object(settings).to_string())
}
