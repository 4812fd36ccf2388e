//! Mutated LoRAs: names, shapes and settings that were never meant, in files that are sound.

use crate::files::assert_memory;
use std::time::{Duration, Instant};
use sumi_formats::lora::{self, Layout, LoraFile, Part, Targets};
use sumi_formats::{NamedTensor, TensorMap, safetensors};
use sumi_testkit::hostile::{Dice, mutate, mutations, peak_of};

/// What names are made of, good and bad.
const STEPS: [&str; 40] = [
    "lora_unet_",
    "lora_te_",
    "lora_te2_",
    "unet",
    "text_encoder",
    "base_model.model",
    "diffusion_model",
    "down_blocks",
    "down_blocks_0_attentions_0_proj_in",
    "input_blocks_1_1_proj_in",
    "input_blocks_18446744073709551615_1",
    "999999999999999999999",
    "0",
    "1",
    "attentions",
    "proj_in",
    "attn2",
    "to_k",
    "to_out",
    "to_q_lora",
    "_lora",
    "processor",
    "self_attn",
    "text_model",
    "lora_A",
    "lora_B",
    "lora_down",
    "lora_up",
    "lora_mid",
    "lora",
    "lora_linear_layer",
    "down",
    "up",
    "weight",
    "default",
    "alpha",
    "dora_scale",
    "lora_magnitude_vector",
    "hada_w1_a",
    "\u{1f98b}",
];

const SETTINGS: &str = r#"{"unet.r": 2, "unet.lora_alpha": 8.5, "unet.alpha_pattern": {"proj_in": 3, "^conv_in$": 1e9},
    "unet.use_rslora": true, "text_encoder.lora_alpha": null, "unet.target_modules": [["a", {"b": []}]]}"#;

fn targets() -> Targets {
    let mut targets = Targets::new();
    let path = |rest: &str| format!("down_blocks.0.attentions.0.{rest}");
    targets.add(
        Part::Unet,
        [
            (path("proj_in"), vec![4, 4, 1, 1]),
            (path("transformer_blocks.0.attn2.to_k"), vec![4, 6]),
            ("down_blocks.0.resnets.0.conv1".to_owned(), vec![4, 4, 3, 3]),
            ("conv_in".to_owned(), vec![4, 4]),
        ],
    );
    let q_proj = "text_model.encoder.layers.0.self_attn.q_proj".to_owned();
    targets.add(Part::TextEncoder, [(q_proj, vec![4, 4])]);
    targets
}

/// A sound file with a convolution, a decomposed one, magnitudes and settings.
fn valid() -> TensorMap {
    let tensor = |name: &str, shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        NamedTensor::from_f32(name, shape, &values)
    };
    let mut map = TensorMap::new(vec![
        tensor("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", &[2, 4, 1, 1]),
        tensor("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", &[4, 2, 1, 1]),
        tensor("lora_unet_down_blocks_0_attentions_0_proj_in.alpha", &[]),
        tensor("lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight", &[2, 4, 1, 1]),
        tensor("lora_unet_input_blocks_1_0_in_layers_2.lora_mid.weight", &[2, 2, 3, 3]),
        tensor("lora_unet_input_blocks_1_0_in_layers_2.lora_up.weight", &[4, 2, 1, 1]),
        tensor("lora_unet_input_blocks_1_0_in_layers_2.dora_scale", &[4, 1, 1, 1]),
        tensor("unet.conv_in.lora_A.weight", &[2, 4]),
        tensor("unet.conv_in.lora_B.weight", &[4, 2]),
        tensor("unet.conv_in.lora_magnitude_vector", &[4]),
        tensor("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight", &[1, 4]),
        tensor("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up.weight", &[4, 1]),
    ]);
    map.metadata.insert("lora_adapter_metadata".into(), SETTINGS.into());
    map.metadata.insert("ss_base_model_version".into(), "sd_v1".into());
    map
}

/// Everything that is done with a file. Whether it is a LoRA, and whether anything of it fits.
fn use_all(map: TensorMap) -> (bool, bool) {
    let keys = map.tensors.len();
    let Ok(file) = lora::from_map(map) else { return (false, false) };
    assert!(!file.adapters.is_empty());
    file.family();
    let layouts =
        [Layout::Peft, Layout::Diffusers, Layout::AttnProcs, Layout::Kohya, Layout::KohyaSgm];
    for layout in layouts {
        if let Ok(written) = lora::convert(&file, layout) {
            written.tensors.iter().for_each(|tensor| tensor.check().unwrap());
        }
    }
    (true, fits(&file, keys))
}

fn fits(file: &LoraFile, keys: usize) -> bool {
    let resolved = match lora::resolve(file, &targets()) {
        Ok(resolved) => resolved,
        Err(error) => {
            assert!(error.to_string().len() < 2_000);
            return false;
        }
    };
    // Not one tensor is dropped without a word.
    assert_eq!(resolved.matched_keys + resolved.unmatched.len(), keys);
    for unmatched in &resolved.unmatched {
        assert!(unmatched.to_string().len() < 2_000);
    }
    for matched in &resolved.matched {
        if let Ok(values) = matched.values() {
            let outputs = matched.shape[0];
            let inputs: usize = matched.shape[1..].iter().product();
            assert_eq!(values.down.len(), values.rank * inputs);
            assert_eq!(values.up.len(), outputs * values.rank);
            assert!(values.magnitude.is_none_or(|magnitude| magnitude.len() == outputs));
        }
    }
    true
}

fn changed(dice: &mut Dice) -> TensorMap {
    let mut map = valid();
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(map.tensors.len());
        let tensor = &mut map.tensors[at];
        match dice.roll(6) {
            0 => {
                let steps = (0..1 + dice.roll(8)).map(|_| STEPS[dice.roll(STEPS.len())]);
                tensor.name =
                    steps.collect::<Vec<_>>().join(if dice.roll(2) == 0 { "." } else { "_" });
            }
            1 => {
                let mut steps: Vec<&str> = tensor.name.split('.').collect();
                let place = dice.roll(steps.len());
                steps[place] = STEPS[dice.roll(STEPS.len())];
                tensor.name = steps.join(".");
            }
            2 => {
                let shape = (0..dice.roll(5)).map(|_| [0, 1, 2, 3, 4, 6][dice.roll(6)]);
                let shape: Vec<usize> = shape.collect();
                let values =
                    vec![f32::from_bits(dice.roll(1 << 32) as u32); shape.iter().product()];
                *tensor = NamedTensor::from_f32(tensor.name.clone(), &shape, &values);
            }
            3 => drop(map.tensors.remove(at)),
            4 => {
                let json = mutate(SETTINGS.as_bytes(), dice);
                let json = String::from_utf8_lossy(&json).into_owned();
                map.metadata.insert("lora_adapter_metadata".into(), json);
            }
            _ => {
                let other = dice.roll(map.tensors.len());
                map.tensors[at].shape = map.tensors[other].shape.clone();
                map.tensors[at].data = map.tensors[other].data.clone();
            }
        }
        if map.tensors.is_empty() {
            break;
        }
    }
    let mut names = std::collections::BTreeSet::new();
    map.tensors.retain(|tensor| names.insert(tensor.name.clone()));
    map
}

#[test]
fn mutated_loras() {
    let mut dice = Dice::new(8);
    let (mut read, mut fitting) = (0, 0);
    for _ in 0..mutations() {
        let map = changed(&mut dice);
        let bytes = safetensors::to_bytes(&map).unwrap();
        drop(map);
        let start = Instant::now();
        let ((is_lora, fits), peak) = peak_of(|| use_all(safetensors::from_bytes(&bytes).unwrap()));
        assert!(start.elapsed() < Duration::from_secs(1), "{bytes:?}");
        assert_memory("lora", peak, bytes.len());
        read += usize::from(is_lora);
        fitting += usize::from(fits);
    }
    // If all or none were read, the mutations would test nothing.
    assert!(read > mutations() / 10 && read < mutations(), "{read} of {}", mutations());
    assert!(fitting > mutations() / 10 && fitting < read, "{fitting} of {read}");
}

/// Bytes of the file itself: whatever the safetensors reader lets through.
#[test]
fn mutated_lora_bytes() {
    let valid = safetensors::to_bytes(&valid()).unwrap();
    let mut dice = Dice::new(9);
    for _ in 0..mutations() {
        let bytes = mutate(&valid, &mut dice);
        let (_, peak) = peak_of(|| safetensors::from_bytes(&bytes).map(use_all).ok());
        assert_memory("lora", peak, bytes.len());
    }
}

#[test]
fn a_lora_cut_at_any_byte_is_an_error() {
    let bytes = safetensors::to_bytes(&valid()).unwrap();
    assert_eq!(use_all(safetensors::from_bytes(&bytes).unwrap()), (true, true));
    for length in 0..bytes.len() {
        assert!(safetensors::from_bytes(&bytes[..length]).is_err(), "cut to {length}");
    }
    for length in 0..SETTINGS.len() {
        let mut map = valid();
        map.metadata.insert("lora_adapter_metadata".into(), SETTINGS[..length].into());
        assert!(lora::from_map(map).is_err(), "settings cut to {length}");
    }
}

#[test]
fn settings_that_ask_for_much_are_refused_or_ignored() {
    let many: Vec<String> = (0..70_000).map(|i| format!("\"a{i}\": 1")).collect();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (json, refused) in [
        (format!("{{\"unet.alpha_pattern\": {{{}}}}}", many.join(",")), true),
        (format!("{{\"unet.alpha_pattern\": {deep}}}"), true),
        (format!("{{\"unet.target_modules\": {deep}}}"), false),
        ("{\"unet.lora_alpha\": 1e999}".to_owned(), true),
        ("{\"unet.lora_alpha\": NaN}".to_owned(), true),
        ("{\"unet.alpha_pattern\": {\"(a*)*b\": 1}}".to_owned(), true),
        ("{\"unet.lora_alpha\": 1, \"unet.lora_alpha\": 2}".to_owned(), false),
        ("{}".to_owned(), false),
        (String::new(), true),
    ] {
        let mut map = valid();
        map.metadata.insert("lora_adapter_metadata".into(), json.clone());
        let length = json.len();
        let (result, peak) = peak_of(|| lora::from_map(map).map_err(|error| error.to_string()));
        assert_memory("settings", peak, length);
        match result {
            Ok(_) => assert!(!refused, "{}", &json[..json.len().min(80)]),
            Err(text) => {
                assert!(refused && text.contains("lora_adapter_metadata"), "{text}");
                assert!(text.len() < 2_000);
            }
        }
    }
}
