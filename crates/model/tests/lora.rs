//! LoRAs of every layout against diffusers and PEFT (`testdata/lora/make_lora.py`).

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use std::path::{Path, PathBuf};
use sumi_formats::lora::{self, Layout, LoraFile, Part, Resolved, Targets, resolve};
use sumi_formats::{NamedTensor, StateDict, TensorMap, safetensors};
use sumi_model::{attach_lora, fill, lora_targets};
use sumi_networks::clip::{ClipTextConfig, ClipTextModel};
use sumi_networks::unet_condition::{Extra, UNetCondition};
use sumi_nn::{Init, Precision, detach, layer_shapes, merge, unmerge};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lora").join(name)
}

/// The tiny model that the LoRAs are for.
#[derive(Clone)]
struct Model {
    unet: UNetCondition,
    text_encoder: ClipTextModel,
}

struct Golden(TensorMap);

impl Golden {
    fn read() -> Self {
        Self(safetensors::read(testdata("goldens.safetensors")).unwrap())
    }

    fn values(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.0.get(name)?.to_f32().unwrap())
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = self.0.get(name).unwrap();
        let data = TensorData::new(tensor.to_f32().unwrap(), tensor.shape.clone());
        Tensor::from_data(data, &Device::flex())
    }
}

impl Model {
    fn open() -> Self {
        let json = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(testdata(name)).unwrap()).unwrap()
        };
        let mut init = Init::new(&Device::flex(), 0);
        let mut config = json("text_encoder.json");
        for bookkeeping in ["bos_token_id", "pad_token_id"] {
            config.as_object_mut().unwrap().remove(bookkeeping);
        }
        let config: ClipTextConfig = serde_json::from_value(config).unwrap();
        let text_encoder = ClipTextModel::new(&config, &mut init).unwrap();
        let config = serde_json::from_value(json("unet.json")).unwrap();
        let unet = UNetCondition::new(&config, &mut init).unwrap();
        let weights = |name: &str| StateDict::open(testdata(name)).unwrap();
        let (path, precision) = (testdata(""), Precision::F32);
        Self {
            unet: fill(unet, weights("unet.safetensors"), &path, precision).unwrap(),
            text_encoder: fill(text_encoder, weights("text_encoder.safetensors"), &path, precision)
                .unwrap(),
        }
    }

    fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        lora_targets(&mut targets, Part::Unet, &self.unet);
        lora_targets(&mut targets, Part::TextEncoder, &self.text_encoder);
        targets
    }

    fn attach(&mut self, lora: &Resolved, weight: f64) {
        let unet = attach_lora(&mut self.unet, Part::Unet, lora, weight).unwrap();
        let text = attach_lora(&mut self.text_encoder, Part::TextEncoder, lora, weight).unwrap();
        assert_eq!(unet + text, lora.matched.len());
    }

    fn unet(&self, golden: &Golden) -> Vec<f32> {
        let (x, text) = (golden.tensor("x"), golden.tensor("text"));
        let y = self.unet.forward(x, &[321.0], text, &Extra::default()).unwrap();
        y.try_into_vec_as().unwrap()
    }

    fn text(&self) -> Vec<f32> {
        let output = self.text_encoder.forward(&[vec![38, 3, 17, 5, 39]], None).unwrap();
        output.last_hidden_state.try_into_vec_as().unwrap()
    }
}

fn error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn read(model: &Model, name: &str) -> (LoraFile, Resolved) {
    let file = lora::read(testdata(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let resolved = resolve(&file, &model.targets()).unwrap();
    assert_eq!(resolved.unmatched, [], "{name}");
    (file, resolved)
}

/// What stands in the golden file under `name` is computed with these LoRAs, beside the weights and
/// in them.
#[track_caller]
fn check(frozen: &Model, golden: &Golden, name: &str, loras: &[(&str, f64)]) {
    // f32 sums of up to 144 products in another order, through some thirty layers; outputs are
    // about 1, LoRAs change them by at least 1e-2.
    const TOLERANCE: f32 = 2e-5;
    let mut model = frozen.clone();
    for (file, weight) in loras {
        model.attach(&read(frozen, file).1, *weight);
    }
    let holds = |model: &Model, how: &str| {
        let expected = golden.values(&format!("{name}.unet")).unwrap();
        let off = error(&model.unet(golden), &expected);
        assert!(off < TOLERANCE, "{name}, U-Net, {how}: {off}");
        if let Some(expected) = golden.values(&format!("{name}.text")) {
            let off = error(&model.text(), &expected);
            assert!(off < TOLERANCE, "{name}, text, {how}: {off}");
        }
    };
    holds(&model, "beside");
    let beside = model.unet(golden);
    let (unet, text) = (merge(&mut model.unet), merge(&mut model.text_encoder));
    holds(&model, "merged");
    unmerge(&mut model.unet, unet);
    unmerge(&mut model.text_encoder, text);
    assert!(model.unet(golden) == beside, "{name}: not the same after unmerging");
    detach(&mut model.unet);
    detach(&mut model.text_encoder);
    assert!(model.unet(golden) == frozen.unet(golden), "{name}: the weights have changed");
    assert!(model.text() == frozen.text(), "{name}: the weights have changed");
}

#[test]
fn every_layout_gives_what_diffusers_gives() {
    let (model, golden) = (Model::open(), Golden::read());
    for (name, file, weight) in [
        ("peft", "peft.safetensors", 1.0),
        ("peft_weighted", "peft.safetensors", 0.6),
        ("patterns", "patterns.safetensors", 1.0),
        ("rslora", "rslora.safetensors", 1.0),
        ("dora", "dora.safetensors", 1.0),
        ("dora_weighted", "dora.safetensors", 0.5),
        ("kohya", "kohya.safetensors", 1.0),
        ("kohya", "kohya_sgm.safetensors", 1.0),
        ("locon", "locon.safetensors", 1.0),
        ("locon", "locon_sgm.safetensors", 1.0),
        ("attn_procs", "attn_procs.bin", 0.8),
        ("diffusers", "diffusers.safetensors", 1.0),
        ("peft_folder", "peft_folder", 1.0),
    ] {
        check(&model, &golden, name, &[(file, weight)]);
    }
    check(&model, &golden, "none", &[]);
}

#[test]
fn several_at_once_act_in_their_order() {
    let (model, golden) = (Model::open(), Golden::read());
    let (plain, dora) = (("locon.safetensors", 0.9), ("dora.safetensors", 0.8));
    check(&model, &golden, "plain_then_dora", &[plain, dora]);
    check(&model, &golden, "dora_then_plain", &[dora, plain]);
    let pair = [("peft.safetensors", 0.7), ("kohya.safetensors", -0.4)];
    check(&model, &golden, "two", &pair);
}

#[test]
fn files_say_what_they_are() {
    let model = Model::open();
    for (name, layout, adapters) in [
        ("peft.safetensors", Layout::Peft, 60),
        ("kohya.safetensors", Layout::Kohya, 72),
        ("kohya_sgm.safetensors", Layout::KohyaSgm, 72),
        ("attn_procs.bin", Layout::AttnProcs, 48),
        ("diffusers.safetensors", Layout::Diffusers, 60),
        ("peft_folder", Layout::Peft, 48),
    ] {
        let (file, resolved) = read(&model, name);
        assert_eq!((file.layout, resolved.matched.len()), (layout, adapters), "{name}");
        assert_eq!(file.cross_width(), Some(12), "{name}");
    }
}

/// Every layer of the published networks is found again by its name in every layout.
#[test]
fn names_of_published_networks_are_unambiguous() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../networks/testdata/configs");
    let config = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let mut init = Init::new(&Device::flex(), 0);
    for (unet, texts) in [
        ("unet-sd-1.5.json", ["clip-l.json"].as_slice()),
        ("unet-sd-2.1.json", &["openclip-h.json"]),
        ("unet-sdxl.json", &["clip-l.json", "openclip-bigg.json"]),
    ] {
        let unet = serde_json::from_value(config(unet)).unwrap();
        let unet = UNetCondition::new(&unet, &mut init).unwrap();
        let mut parts = vec![(Part::Unet, layer_shapes(&unet))];
        for (part, text) in [Part::TextEncoder, Part::TextEncoder2].into_iter().zip(texts) {
            let text: ClipTextConfig = serde_json::from_value(config(text)).unwrap();
            parts.push((part, layer_shapes(&ClipTextModel::new(&text, &mut init).unwrap())));
        }
        let (mut targets, mut tensors) = (Targets::new(), Vec::new());
        for (part, layers) in parts {
            for (path, _) in &layers {
                let name = format!("{}.{path}", part.folder());
                let tensor =
                    |end: &str| NamedTensor::from_f32(format!("{name}.{end}"), &[1, 1], &[1.0]);
                tensors.extend([tensor("lora_A.weight"), tensor("lora_B.weight")]);
            }
            // The names are the published ones, the weights are not.
            targets.add(part, layers.into_iter().map(|(path, _)| (path, vec![1, 1])));
        }
        let file = lora::from_map(TensorMap::new(tensors)).unwrap();
        let names = |file: &LoraFile| -> Vec<(Part, String)> {
            let resolved = resolve(file, &targets).unwrap();
            assert_eq!(resolved.unmatched, []);
            resolved.matched.into_iter().map(|m| (m.part, m.module)).collect()
        };
        let expected = names(&file);
        for layout in
            [Layout::Diffusers, Layout::AttnProcs, Layout::Kohya, Layout::KohyaSgm, Layout::Peft]
        {
            let written = lora::from_map(lora::convert(&file, layout).unwrap()).unwrap();
            assert!(names(&written) == expected, "{layout:?}");
            let back = lora::from_map(lora::convert(&written, Layout::Peft).unwrap()).unwrap();
            assert!(names(&back) == expected, "{layout:?} and back");
        }
    }
}

/// What is written in another layout computes the same.
#[test]
fn converted_files_give_what_their_originals_give() {
    let (frozen, golden) = (Model::open(), Golden::read());
    for name in ["patterns", "locon_sgm", "dora", "rslora"] {
        let (file, _) = read(&frozen, &format!("{name}.safetensors"));
        let golden_name = name.trim_end_matches("_sgm");
        for layout in [Layout::Peft, Layout::Diffusers, Layout::AttnProcs, Layout::Kohya] {
            let written = lora::from_map(lora::convert(&file, layout).unwrap()).unwrap();
            let resolved = resolve(&written, &frozen.targets()).unwrap();
            assert_eq!(resolved.unmatched, []);
            let mut model = frozen.clone();
            model.attach(&resolved, 1.0);
            let expected = golden.values(&format!("{golden_name}.unet")).unwrap();
            let off = error(&model.unet(&golden), &expected);
            // As above, and the scale is rounded into `up`.
            assert!(off < 2e-5, "{name} as {layout:?}: {off}");
        }
    }
}
