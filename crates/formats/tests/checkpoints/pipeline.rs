//! Tiny pipelines of each family, from the names that `testdata/make_checkpoints.py` has proved.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use sumi_formats::checkpoint::{Checkpoint, Layout, Target};
use sumi_formats::{NamedTensor, TensorMap, safetensors};

pub const FAMILIES: [&str; 3] = ["sd1", "sd2", "sdxl"];

/// A tensor of the single file, what becomes of it, and the shape that it then has.
pub type Source = (String, String, Vec<usize>);

pub struct Golden {
    pub class: String,
    /// The tensors of the single file: names and shapes.
    pub single: BTreeMap<String, Vec<usize>>,
    /// Where each component's tensors come from.
    pub folder: BTreeMap<String, BTreeMap<String, Source>>,
}

pub fn golden(family: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/checkpoints.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let json = &json[family];
    let shape = |value: &serde_json::Value| -> Vec<usize> {
        value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
    };
    let single: BTreeMap<String, Vec<usize>> = json["single"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), shape(value)))
        .collect();
    let pair = |value: &serde_json::Value| {
        let its = value[0].as_str().unwrap().to_owned();
        let change = value[1].as_str().unwrap_or("same").to_owned();
        let dims = value.get(2).map_or_else(|| single[&its].clone(), shape);
        (its, change, dims)
    };
    let folder = json["folder"].as_object().unwrap().iter().map(|(part, tensors)| {
        let tensors = tensors.as_object().unwrap().iter();
        (part.clone(), tensors.map(|(name, value)| (name.clone(), pair(value))).collect())
    });
    let folder = folder.collect();
    Golden { class: json["class"].as_str().unwrap().to_owned(), single, folder }
}

/// Values that no two tensors share.
pub fn single(golden: &Golden) -> TensorMap {
    let mut next = 0_u32;
    let tensors = golden.single.iter().map(|(name, shape)| {
        let count = shape.iter().product::<usize>() as u32;
        let values: Vec<f32> = (next..next + count).map(|i| i as f32 * 0.25).collect();
        next += count;
        NamedTensor::from_f32(name, shape, &values)
    });
    TensorMap::new(tensors.collect())
}

/// What the component's tensor should hold, row by row.
pub fn expected(single: &TensorMap, (its, change, _): &Source) -> Vec<f32> {
    let tensor = single.get(its).unwrap();
    let values = tensor.to_f32().unwrap();
    match change.as_str() {
        "same" => values,
        "transposed" => {
            let [rows, columns] = tensor.shape[..] else { panic!("{its}: no matrix") };
            (0..columns * rows).map(|i| values[i % rows * columns + i / rows]).collect()
        }
        third => {
            let third: usize = third.strip_prefix("third ").unwrap().parse().unwrap();
            let length = values.len() / 3;
            values[third * length..(third + 1) * length].to_vec()
        }
    }
}

/// The single file of a family in `place`.
pub fn write_single(family: &str, place: &Path) -> std::path::PathBuf {
    let path = place.join(format!("{family}.safetensors"));
    safetensors::write(&path, &single(&golden(family))).unwrap();
    path
}

pub fn save(from: &Path, to: &Path, layout: Layout) {
    let tokenizer = |_: &str, _: &_| vec![("vocab.json".to_owned(), b"{\"a\":0}".to_vec())];
    let target = Target { layout, dtype: None, tokenizer: &tokenizer };
    Checkpoint::open(from).unwrap().save(to, &target, |_| Ok(())).unwrap();
}

/// The diffusers folder of a family in `place`.
pub fn write_folder(family: &str, place: &Path) -> std::path::PathBuf {
    let (single, folder) = (write_single(family, place), place.join(family));
    save(&single, &folder, Layout::Diffusers);
    folder
}
