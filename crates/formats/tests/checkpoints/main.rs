//! Pipelines in both layouts: names, values, configurations, and what is missing.

mod faults;
mod pipeline;

use pipeline::{FAMILIES, expected, golden, save, single, write_folder, write_single};
use serde_json::{Value, json};
use std::path::Path;
use sumi_formats::checkpoint::{Checkpoint, Family, Layout, Prediction, Preferences};
use sumi_formats::{Dtype, NamedTensor, StateDict, TensorMap, safetensors};

/// Every tensor's name, shape and values.
fn contents(state: &StateDict) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    state
        .iter()
        .map(|(name, entry)| {
            (name.to_owned(), entry.shape().to_vec(), entry.bytes().unwrap().to_vec())
        })
        .collect()
}

#[test]
fn single_files_have_the_tensors_that_diffusers_reads_from_them() {
    for family in FAMILIES {
        let folder = tempfile::tempdir().unwrap();
        let golden = golden(family);
        let checkpoint = Checkpoint::open(write_single(family, folder.path())).unwrap();
        assert_eq!(checkpoint.class, golden.class);
        let values = single(&golden);
        for (part, tensors) in &golden.folder {
            let state = checkpoint.parts[part].weights.as_ref().unwrap();
            assert!(state.names().eq(tensors.keys().map(String::as_str)), "{family} {part}");
            for (name, tensor) in tensors {
                let entry = state.get(name).unwrap();
                assert_eq!(entry.shape(), tensor.2, "{family} {part} {name}");
                let floats = entry.floats(name, Dtype::F32).unwrap();
                let found: Vec<f32> = floats
                    .as_bytes()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect();
                assert_eq!(found, expected(&values, tensor), "{family} {part} {name}");
            }
        }
        assert!(checkpoint.left_out.is_empty(), "{:?}", checkpoint.left_out);
    }
}

#[test]
fn there_and_back_gives_the_same_bits() {
    for family in FAMILIES {
        let place = tempfile::tempdir().unwrap();
        let original = write_single(family, place.path());
        let [folder, again, last] =
            ["folder", "again.safetensors", "last"].map(|name| place.path().join(name));
        save(&original, &folder, Layout::Diffusers);
        save(&folder, &again, Layout::SingleFile);
        save(&again, &last, Layout::Diffusers);
        let [a, b] = [&original, &again].map(|path| contents(&StateDict::open(path).unwrap()));
        assert!(a == b, "{family}: the single file changed");
        let [a, b] = [&folder, &last].map(|path| Checkpoint::open(path).unwrap());
        assert!(a.parts.keys().eq(b.parts.keys()) && a.index == b.index && a.class == b.class);
        for (name, part) in &a.parts {
            let other = &b.parts[name];
            assert_eq!(part.config, other.config, "{family} {name}");
            let [a, b] = [part, other].map(|part| part.weights.as_ref().map(contents));
            assert!(a == b, "{family} {name}: the folder changed");
        }
    }
}

#[test]
fn other_types_are_rounded_and_the_rest_stays() {
    let place = tempfile::tempdir().unwrap();
    let original = write_single("sd1", place.path());
    let out = place.path().join("bf16");
    let checkpoint = Checkpoint::open(&original).unwrap();
    let target = sumi_formats::checkpoint::Target {
        layout: Layout::Diffusers,
        dtype: Some(Dtype::Bf16),
        tokenizer: &|_, _| Vec::new(),
    };
    let mut told = 0;
    checkpoint
        .save(&out, &target, |bytes| {
            told += bytes;
            Ok(())
        })
        .unwrap();
    assert_eq!(told, checkpoint.bytes(Some(Dtype::Bf16)));
    assert_eq!(told * 2, checkpoint.bytes(None));
    let written = Checkpoint::open(&out).unwrap();
    for (name, entry) in written.parts["unet"].weights.as_ref().unwrap().iter() {
        assert_eq!(entry.dtype(), Dtype::Bf16);
        let before = checkpoint.parts["unet"].weights.as_ref().unwrap().get(name).unwrap();
        let rounded = before.floats(name, Dtype::Bf16).unwrap();
        assert_eq!(&entry.bytes().unwrap()[..], rounded.as_bytes(), "{name}");
    }
    // Once more to the same place: what is there stays.
    let text = checkpoint.save(&out, &target, |_| Ok(())).unwrap_err().to_string();
    assert!(text.contains("expected a path where nothing is yet"), "{text}");
    assert_eq!(Checkpoint::open(&out).unwrap().parts.len(), written.parts.len());
}

#[test]
fn configurations_are_inferred() {
    let place = tempfile::tempdir().unwrap();
    let of = |family: &str| Checkpoint::open(write_single(family, place.path())).unwrap();
    let sd1 = of("sd1");
    assert_eq!(sd1.family(), Family::StableDiffusion1);
    let unet = &sd1.parts["unet"].config;
    for (key, value) in [
        ("block_out_channels", json!([8, 16])),
        ("down_block_types", json!(["CrossAttnDownBlock2D", "DownBlock2D"])),
        ("up_block_types", json!(["UpBlock2D", "CrossAttnUpBlock2D"])),
        ("layers_per_block", json!(1)),
        ("cross_attention_dim", json!(8)),
        ("attention_head_dim", json!(8)),
        ("use_linear_projection", json!(false)),
        ("in_channels", json!(4)),
        ("sample_size", json!(64)),
    ] {
        assert_eq!(unet[key], value, "{key}");
    }
    assert_eq!(sd1.parts["scheduler"].class, "PNDMScheduler");
    assert_eq!(sd1.parts["vae"].config["scaling_factor"], json!(0.18215));
    assert_eq!(sd1.parts["text_encoder"].config["hidden_act"], "quick_gelu");
    assert!(sd1.assumed.is_empty());

    let sd2 = of("sd2");
    assert_eq!(sd2.family(), Family::StableDiffusion2);
    assert_eq!(sd2.parts["unet"].config["use_linear_projection"], json!(true));
    assert_eq!(sd2.parts["unet"].config["attention_head_dim"], json!([1, 1]));
    assert_eq!(sd2.parts["text_encoder"].config["hidden_act"], "gelu");
    assert!(sd2.assumed[0].contains("prediction_type epsilon"), "{:?}", sd2.assumed);

    let xl = of("sdxl");
    assert_eq!(xl.family(), Family::StableDiffusionXl);
    let unet = &xl.parts["unet"].config;
    for (key, value) in [
        ("addition_embed_type", json!("text_time")),
        ("addition_time_embed_dim", json!(4)),
        ("projection_class_embeddings_input_dim", json!(36)),
        ("transformer_layers_per_block", json!([1, 2])),
        ("sample_size", json!(128)),
    ] {
        assert_eq!(unet[key], value, "{key}");
    }
    assert_eq!(xl.parts["scheduler"].class, "EulerDiscreteScheduler");
    assert_eq!(xl.parts["text_encoder_2"].class, "CLIPTextModelWithProjection");
    assert_eq!(xl.index["force_zeros_for_empty_prompt"], Value::Bool(true));
}

#[test]
fn a_prediction_is_asked_for_said_or_assumed() {
    let place = tempfile::tempdir().unwrap();
    let prediction = |path: &Path, asked: Option<Prediction>| {
        let preferences = Preferences { prediction: asked, variant: None };
        let checkpoint = Checkpoint::open_with(path, &preferences).unwrap();
        let found = checkpoint.parts["scheduler"].config["prediction_type"].clone();
        (found.as_str().unwrap().to_owned(), checkpoint.assumed.len())
    };
    let path = write_single("sd2", place.path());
    assert_eq!(prediction(&path, None), ("epsilon".into(), 1));
    assert_eq!(prediction(&path, Some(Prediction::V)), ("v_prediction".into(), 0));
    let mut map = single(&golden("sd2"));
    map.metadata.insert("modelspec.prediction_type".into(), "v".into());
    safetensors::write(&path, &map).unwrap();
    assert_eq!(prediction(&path, None), ("v_prediction".into(), 0));
    let mut map = single(&golden("sdxl"));
    map.tensors.push(NamedTensor::from_f32("v_pred", &[0], &[]));
    safetensors::write(&path, &map).unwrap();
    assert_eq!(prediction(&path, None), ("v_prediction".into(), 0));
}

#[test]
fn a_checkpoint_of_training_is_read_past_its_averages_and_its_prefix() {
    let place = tempfile::tempdir().unwrap();
    let mut map = single(&golden("sd1"));
    map.tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "state_dict."));
    let average = "state_dict.model_ema.diffusion_modelout2bias";
    map.tensors.push(NamedTensor::from_f32(average, &[1], &[0.0]));
    map.tensors.push(NamedTensor::from_f32("state_dict.betas", &[1], &[0.0]));
    let path = place.path().join("sd1.ckpt");
    safetensors::write(&path, &map).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.left_out, ["betas (1 tensors)", "model_ema (1 tensors)"]);
    assert_eq!(checkpoint.family(), Family::StableDiffusion1);
}

#[test]
fn plain_weights_come_before_variants_and_shards_are_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_folder("sd1", place.path());
    let unet = folder.join("unet");
    let whole = unet.join("diffusion_pytorch_model.safetensors");
    let before = contents(&StateDict::open(&whole).unwrap());
    let map = safetensors::read(&whole).unwrap();

    // A variant beside them is read only when it is asked for.
    let mut half = map.clone();
    half.tensors.iter_mut().for_each(|tensor| tensor.data.fill(0));
    let variant = unet.join("diffusion_pytorch_model.fp16.safetensors");
    safetensors::write(&variant, &half).unwrap();
    let open = |variant: Option<&str>| {
        let variant = variant.map(str::to_owned);
        let checkpoint = Checkpoint::open_with(&folder, &Preferences { variant, prediction: None });
        checkpoint.map(|c| contents(c.parts["unet"].weights.as_ref().unwrap()))
    };
    assert!(open(None).unwrap() == before);
    assert!(open(Some("fp16")).unwrap() != before);
    let text = open(Some("bf16")).unwrap_err().to_string();
    assert!(text.contains("expected weights of the variant bf16, found none"), "{text}");

    // Two shards under a variant's index, and nothing else.
    std::fs::remove_file(&whole).unwrap();
    std::fs::remove_file(&variant).unwrap();
    let mut weight_map = serde_json::Map::new();
    for (index, tensors) in map.tensors.chunks(map.tensors.len().div_ceil(2)).enumerate() {
        let name = format!("diffusion_pytorch_model.fp16-0000{}-of-00002.safetensors", index + 1);
        safetensors::write(unet.join(&name), &TensorMap::new(tensors.to_vec())).unwrap();
        weight_map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), name.clone().into())));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": weight_map}).to_string();
    for name in [
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.index.json",
    ] {
        std::fs::write(unet.join(name), &index).unwrap();
        assert!(open(None).unwrap() == before, "{name}");
        std::fs::remove_file(unet.join(name)).unwrap();
    }
}

#[test]
fn old_names_are_read_as_todays() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_folder("sd1", place.path());
    let file = folder.join("vae/diffusion_pytorch_model.safetensors");
    let before = contents(&StateDict::open(&file).unwrap());
    let mut map = safetensors::read(&file).unwrap();
    for tensor in &mut map.tensors {
        for (today, old) in
            [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
        {
            tensor.name = tensor.name.replace(&format!(".{today}."), &format!(".{old}."));
            if tensor.name.ends_with(&format!(".{old}.weight")) {
                tensor.shape.extend([1, 1]);
            }
        }
    }
    safetensors::write(&file, &map).unwrap();
    // As transformers 5 writes them, and a buffer as version 4 did.
    let text = folder.join("text_encoder/model.safetensors");
    let text_before = contents(&StateDict::open(&text).unwrap());
    let mut map = safetensors::read(&text).unwrap();
    for tensor in &mut map.tensors {
        tensor.name = tensor.name.strip_prefix("text_model.").unwrap().to_owned();
    }
    map.tensors.push(NamedTensor::from_i64("embeddings.position_ids", &[1, 2], &[0, 1]));
    safetensors::write(&text, &map).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert!(contents(checkpoint.parts["vae"].weights.as_ref().unwrap()) == before);
    assert!(contents(checkpoint.parts["text_encoder"].weights.as_ref().unwrap()) == text_before);
}

#[test]
fn bert_and_t5_come_without_what_they_do_not_run() {
    use sumi_formats::checkpoint::open_component;
    let place = tempfile::tempdir().unwrap();
    let write = |names: &[&str]| {
        let tensors = names.iter().map(|name| NamedTensor::from_f32(*name, &[1], &[1.0]));
        let path = place.path().join("model.safetensors");
        safetensors::write(path, &TensorMap::new(tensors.collect())).unwrap();
    };
    let names = |class: &str| {
        let state = open_component(place.path(), class).unwrap();
        state.names().map(str::to_owned).collect::<Vec<_>>()
    };
    write(&[
        "bert.embeddings.LayerNorm.gamma",
        "bert.embeddings.LayerNorm.beta",
        "bert.embeddings.position_ids",
        "bert.pooler.dense.bias",
        "cls.predictions.bias",
    ]);
    let expected =
        ["embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight", "pooler.dense.bias"];
    assert_eq!(names("BertModel"), expected);
    write(&["encoder.embed_tokens.weight", "encoder.final_layer_norm.weight", "lm_head.weight"]);
    assert_eq!(names("T5EncoderModel"), ["encoder.final_layer_norm.weight", "shared.weight"]);
}
