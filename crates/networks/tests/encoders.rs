//! Text encoders and the autoencoder against transformers and diffusers (`testdata/make_encoders.py`), and the parameter
//! counts of the published ones.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sumi_networks::bert::{BertConfig, BertModel};
use sumi_networks::clip::{
    ClipConfig, ClipModel, ClipTextConfig, ClipTextModel, ClipVisionConfig, ClipVisionModel,
    ImageShapeError, unit_rows,
};
use sumi_networks::t5::{T5Config, T5Encoder};
use sumi_networks::vae::{AutoencoderConfig, AutoencoderKl};
use sumi_networks::{ConfigError, TokensError};
use sumi_nn::{Init, assign, flat_gradients, parameter_shapes};
use sumi_testkit::{formula, golden, relative_error};

/// Sums of some dozens of products in `f32`, in another order, through a handful of layers.
const TOLERANCE: f64 = 2e-5;

/// One model of the golden file.
struct Case(Value);

impl Case {
    fn load(name: &str) -> Self {
        let cases = golden::load("testdata/encoders.json");
        let mut cases = cases.as_array().unwrap().iter();
        Self(cases.find(|case| case["name"] == name).unwrap().clone())
    }

    fn config<C: DeserializeOwned>(&self) -> C {
        serde_json::from_value(self.0["config"].clone()).unwrap()
    }

    /// Every parameter by formula; their names and shapes are held against the golden ones.
    fn fill<M: Module>(&self, model: M) -> M {
        let shapes = self.0["shapes"].as_object().unwrap().iter().map(|(name, shape)| {
            let shape = sizes(shape);
            let values = formula::weight(name, &shape);
            (name.clone(), (shape, values))
        });
        assign(model, shapes.collect::<std::collections::BTreeMap<_, _>>()).unwrap()
    }

    fn ids(&self) -> Vec<Vec<u32>> {
        serde_json::from_value(self.0["ids"].clone()).unwrap()
    }

    fn mask(&self) -> Option<Vec<Vec<bool>>> {
        serde_json::from_value(self.0["mask"].clone()).unwrap()
    }

    /// Uniform in `[-bound, bound)`, of the shape of the field.
    fn input(&self, field: &str, bound: f64, device: &Device) -> Tensor<4> {
        let shape: [usize; 4] = sizes(&self.0[field]).try_into().unwrap();
        let name = format!("{}.{field}", self.0["name"].as_str().unwrap());
        let values = formula::uniform(&name, shape.iter().product());
        let values: Vec<f32> = values.into_iter().map(|u| (u * bound) as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    #[track_caller]
    fn assert<const D: usize>(&self, output: &str, found: Tensor<D>) {
        self.assert_numbers(output, &self.0["outputs"][output], found);
    }

    #[track_caller]
    fn assert_numbers<const D: usize>(&self, what: &str, expected: &Value, found: Tensor<D>) {
        let found: Vec<f32> = found.try_into_vec_as().unwrap();
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let error = relative_error(&found, &golden::numbers(expected));
        assert!(error < TOLERANCE, "{} {what}: {error:e}", self.0["name"]);
    }
}

fn sizes(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

fn published<C: DeserializeOwned>(name: &str) -> C {
    serde_json::from_value(golden::load(&format!("testdata/configs/{name}.json"))).unwrap()
}

/// Counts without drawing a single weight.
fn count(module: &impl Module) -> usize {
    parameter_shapes(module).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

fn init() -> Init {
    Init::new(&Device::flex(), 0)
}

/// Every parameter of the model has a gradient, and it is not zero everywhere. The biases of keys have one that is zero
/// but for rounding: shifting all keys alike changes no attention.
#[track_caller]
fn assert_gradients<M: Module>(model: &M, loss: Tensor<1>) {
    let gradients = flat_gradients(model, loss.backward());
    for ((name, _), gradient) in parameter_shapes(model).iter().zip(gradients) {
        let sum = gradient.map(|g| g.abs().sum().into_scalar::<f32>());
        let key_bias = name.ends_with("k_proj.bias")
            || name.ends_with("key.bias")
            || name.ends_with("to_k.bias");
        assert!(sum.is_some_and(|sum| sum > 0.0 || key_bias), "{name}: {sum:?}");
    }
}

fn clip(case: &Case, device: &Device) -> ClipTextModel {
    let (config, mut init) = (case.config::<ClipTextConfig>(), Init::new(device, 0));
    case.fill(
        match case.0["cls"].as_str().unwrap() {
            "CLIPTextModelWithProjection" => ClipTextModel::with_projection(&config, &mut init),
            _ => ClipTextModel::new(&config, &mut init),
        }
        .unwrap(),
    )
}

#[test]
fn clip_agrees_with_transformers() {
    for name in ["clip", "clip-legacy", "clip-projection"] {
        let case = Case::load(name);
        let model = clip(&case, &Device::flex());
        let output = model.forward(&case.ids(), None).unwrap();
        let expected = case.0["outputs"]["hidden_states"].as_array().unwrap();
        assert_eq!(output.hidden_states.len(), expected.len());
        for (skip, expected) in expected.iter().rev().enumerate() {
            let state = output.before_last(skip).unwrap();
            case.assert_numbers("hidden state", expected, state);
        }
        assert!(output.before_last(expected.len()).is_none());
        case.assert("last_hidden_state", model.final_layer_norm(output.before_last(0).unwrap()));
        case.assert("last_hidden_state", output.last_hidden_state);
        case.assert("pooled", output.pooled);
        assert_eq!(output.text_embeds.is_some(), name == "clip-projection");
        if let Some(embeds) = output.text_embeds {
            case.assert("text_embeds", embeds);
        }
    }
}

#[test]
fn clip_of_pictures_and_texts_agrees_with_transformers() {
    for name in ["clip-both", "clip-both-gelu"] {
        let (case, device) = (Case::load(name), Device::flex());
        let model = case.fill(ClipModel::new(&case.config(), &mut init()).unwrap());
        let pixels = case.input("pixels", 2.0, &device);
        let images = model.image_embeds(pixels.clone()).unwrap();
        let texts = model.text_embeds(&case.ids()).unwrap();
        case.assert("image_embeds", images.clone());
        case.assert("text_embeds", texts.clone());
        case.assert("logits_per_image", model.logits_per_image(images.clone(), texts));

        let vision = ClipVisionModel {
            vision_model: model.vision_model.clone(),
            visual_projection: Some(model.visual_projection.clone()),
        };
        let output = vision.forward(pixels).unwrap();
        case.assert("last_hidden_state", output.last_hidden_state);
        case.assert("pooled", output.pooled);
        case.assert("image_embeds", output.image_embeds.unwrap());

        let lengths = unit_rows(images).square().sum_dim(1).try_into_vec_as::<f32>().unwrap();
        assert!(lengths.iter().all(|length| (length - 1.0).abs() < 1e-6), "{lengths:?}");
    }
}

#[test]
fn pictures_of_another_shape_are_refused() {
    let config = ClipVisionConfig { image_size: 64, num_hidden_layers: 1, ..Default::default() };
    let model = ClipVisionModel::new(&config, &mut init()).unwrap();
    let refused = model.forward(Tensor::zeros([1, 3, 64, 32], &Device::flex())).unwrap_err();
    assert_eq!(refused, ImageShapeError { expected: [3, 64, 64], found: [3, 64, 32] });
    let refused = |change: fn(&mut ClipVisionConfig)| {
        let mut config = ClipVisionConfig::default();
        change(&mut config);
        ClipVisionModel::with_projection(&config, &mut init()).unwrap_err().field
    };
    assert_eq!(refused(|config| config.patch_size = 225), "patch_size");
    assert_eq!(refused(|config| config.patch_size = 0), "patch_size");
    assert_eq!(refused(|config| config.image_size = 1 << 40), "image_size");
    assert_eq!(refused(|config| config.num_attention_heads = 7), "num_attention_heads");
    assert_eq!(refused(|config| config.projection_dim = None), "projection_dim");
}

/// transformers lets `text_config_dict` win, key by key, with defaults for those that it lacks.
#[test]
fn old_configs_of_clip_are_read_as_transformers_reads_them() {
    let config: ClipConfig = serde_json::from_str(
        r#"{"text_config": {"hidden_size": 99, "vocab_size": 7}, "text_config_dict": {"hidden_size": 768},
            "vision_config": {"patch_size": 14}, "vision_config_dict": null, "projection_dim": 768}"#,
    )
    .unwrap();
    assert_eq!((config.text().hidden_size, config.text().vocab_size), (768, 49408));
    assert_eq!((config.vision().patch_size, config.vision().hidden_size), (14, 768));
    assert_eq!(config.projection_dim, 768);
}

#[test]
fn a_masked_token_changes_no_other() {
    let case = Case::load("clip");
    let model = clip(&case, &Device::flex());
    let mut ids = case.ids();
    let mask = vec![vec![true, false, true, true]; 2];
    let run = |ids: &[Vec<u32>]| {
        let ids: Vec<_> = ids.iter().map(|row| row[..4].to_vec()).collect();
        let output = model.forward(&ids, Some(&mask)).unwrap().last_hidden_state;
        output.narrow(1, 2, 2).try_into_vec_as::<f32>().unwrap()
    };
    let before = run(&ids);
    ids[1][1] += 1;
    assert_eq!(run(&ids), before);
    ids[1][0] += 1;
    assert_ne!(run(&ids), before);
}

#[test]
fn tokens_that_do_not_fit_are_refused() {
    let model = clip(&Case::load("clip"), &Device::flex());
    let refused = |ids: &[Vec<u32>]| model.forward(ids, None).unwrap_err();
    assert_eq!(refused(&[]), TokensError::Length { found: 0, most: 11 });
    assert_eq!(refused(&[vec![0; 12]]), TokensError::Length { found: 12, most: 11 });
    assert_eq!(refused(&[vec![0, 99]]), TokensError::Unknown { id: 99, vocabulary: 99 });
    let ragged = TokensError::Ragged { expected: 2, found: 1 };
    assert_eq!(refused(&[vec![0, 1], vec![0]]), ragged);
    let masked = |mask: &[Vec<bool>]| model.forward(&[vec![0, 1]], Some(mask)).unwrap_err();
    assert_eq!(masked(&[vec![true]]), ragged);
    assert_eq!(masked(&[]), TokensError::Masks { expected: 1, found: 0 });
}

#[test]
fn gradients_reach_every_parameter_of_clip() {
    let case = Case::load("clip-projection");
    let model = clip(&case, &Device::flex().autodiff());
    let output = model.forward(&case.ids(), None).unwrap();
    let loss = output.last_hidden_state.square().sum() + output.text_embeds.unwrap().sum();
    assert_gradients(&model, loss);
}

#[test]
fn gradients_reach_every_parameter_of_clip_of_pictures() {
    let case = Case::load("clip-both");
    let device = Device::flex().autodiff();
    let model = ClipModel::new(&case.config(), &mut Init::new(&device, 0)).unwrap();
    let model = case.fill(model);
    let images = model.image_embeds(case.input("pixels", 2.0, &device)).unwrap();
    let texts = model.text_embeds(&case.ids()).unwrap();
    assert_gradients(&model, model.logits_per_image(images, texts).square().sum());
}

#[test]
fn bert_agrees_with_transformers() {
    for name in ["bert", "bert-masked"] {
        let case = Case::load(name);
        let model = case.fill(BertModel::new(&case.config(), &mut init()).unwrap());
        let output = model.forward(&case.ids(), case.mask().as_deref()).unwrap();
        case.assert("last_hidden_state", output.last_hidden_state);
        case.assert("pooled", output.pooled);
    }
}

#[test]
fn t5_agrees_with_transformers() {
    for name in ["t5", "t5-gated"] {
        let case = Case::load(name);
        let model = case.fill(T5Encoder::new(&case.config(), &mut init()).unwrap());
        let output = model.forward(&case.ids(), case.mask().as_deref()).unwrap();
        case.assert("last_hidden_state", output);
    }
}

#[test]
fn gradients_reach_every_parameter_of_bert_and_t5() {
    let mut init = Init::new(&Device::flex().autodiff(), 0);
    let case = Case::load("bert-masked");
    let model = case.fill(BertModel::new(&case.config(), &mut init).unwrap());
    let output = model.forward(&case.ids(), case.mask().as_deref()).unwrap();
    let loss = output.last_hidden_state.square().sum() + output.pooled.sum();
    assert_gradients(&model, loss);

    for name in ["t5", "t5-gated"] {
        let case = Case::load(name);
        let model = case.fill(T5Encoder::new(&case.config(), &mut init).unwrap());
        let output = model.forward(&case.ids(), case.mask().as_deref()).unwrap();
        assert_gradients(&model, output.square().sum());
    }
}

fn vae(case: &Case, device: &Device) -> AutoencoderKl {
    case.fill(AutoencoderKl::new(&case.config(), &mut Init::new(device, 0)).unwrap())
}

#[test]
fn the_autoencoder_agrees_with_diffusers() {
    for name in ["vae", "vae-4", "vae-plain"] {
        let case = Case::load(name);
        let device = Device::flex();
        let model = vae(&case, &device);
        let posterior = model.encode(case.input("picture", 1.0, &device));
        case.assert("decoded", model.decode(case.input("latent", 2.0, &device)));
        let sampled = posterior.sample(posterior.mean.ones_like() * 3.0);
        let expected = posterior.mean.clone() + posterior.std.clone() * 3.0;
        assert_eq!(sampled.into_data(), expected.into_data());
        case.assert("mean", posterior.mean);
        case.assert("std", posterior.std);
    }
}

#[test]
fn gradients_reach_every_parameter_of_the_autoencoder() {
    let case = Case::load("vae");
    let device = Device::flex().autodiff();
    let model = vae(&case, &device);
    let posterior = model.encode(case.input("picture", 1.0, &device));
    let decoded = model.decode(posterior.sample(case.input("latent", 1.0, &device)));
    assert_gradients(&model, decoded.square().sum() + posterior.std.sum());
}

#[test]
fn latents_are_scaled_and_back() {
    let device = Device::flex();
    let config = AutoencoderConfig {
        latents_mean: Some(vec![1.0, -2.0, 0.5, 0.0]),
        latents_std: Some(vec![2.0, 1.0, 4.0, 0.5]),
        scaling_factor: 0.5,
        ..AutoencoderConfig::default()
    };
    config.check().unwrap();
    let z = Tensor::<4>::ones([1, 4, 1, 1], &device) * 3.0;
    let scaled = config.scaled(z.clone());
    let numbers = |x: Tensor<4>| x.try_into_vec_as::<f32>().unwrap();
    assert_eq!(numbers(scaled.clone()), [0.5, 2.5, 0.3125, 3.0]);
    assert_eq!(numbers(config.unscaled(scaled)), [3.0; 4]);
    let shifted = AutoencoderConfig { shift_factor: Some(1.0), ..AutoencoderConfig::default() };
    assert_eq!(numbers(shifted.scaled(z)), [0.3643; 4]);
}

#[test]
fn published_encoders_have_their_parameters() {
    let text = |name| ClipTextModel::new(&published(name), &mut init()).unwrap();
    assert_eq!(count(&text("clip-l")), 123_060_480);
    assert_eq!(count(&text("openclip-h")), 340_387_840);
    let big = ClipTextModel::with_projection(&published("openclip-bigg"), &mut init()).unwrap();
    assert_eq!(count(&big), 694_659_840);
    let both = |name| ClipModel::new(&published(name), &mut init()).unwrap();
    assert_eq!(count(&both("clip-vit-l-14")), 427_616_513);
    assert_eq!(count(&both("clip-vit-b-32")), 151_277_313);

    let bert = BertModel::new(&published("taiyi-bert"), &mut init()).unwrap();
    assert_eq!(count(&bert), 102_267_648);
    let t5 = T5Encoder::new(&published("t5-v1_1-xxl"), &mut init()).unwrap();
    assert_eq!(count(&t5), 4_762_310_656);
    assert_eq!(count(&t5.encoder), 4_630_714_368);

    let vae = AutoencoderKl::new(&published("vae"), &mut init()).unwrap();
    assert_eq!(count(&vae.encoder), 34_163_592);
    assert_eq!(count(&vae.decoder), 49_490_179);
    assert_eq!(count(&vae.quant_conv) + count(&vae.post_quant_conv), 92);
    assert_eq!(count(&vae), 83_653_863);
}

#[test]
fn configs_that_no_network_has_are_refused_by_name() {
    let clip = |change: fn(&mut ClipTextConfig)| {
        let mut config = ClipTextConfig::default();
        change(&mut config);
        config.check().unwrap_err().field
    };
    assert_eq!(clip(|c| c.hidden_act = "tanh".into()), "hidden_act");
    assert_eq!(clip(|c| c.hidden_size = 0), "hidden_size");
    assert_eq!(clip(|c| c.vocab_size = usize::MAX), "vocab_size");
    assert_eq!(clip(|c| c.num_attention_heads = 7), "num_attention_heads");
    assert_eq!(clip(|c| c.layer_norm_eps = f64::NAN), "layer_norm_eps");
    let without = ClipTextConfig { projection_dim: None, ..ClipTextConfig::default() };
    let error = ClipTextModel::with_projection(&without, &mut init()).unwrap_err();
    assert_eq!(error.field, "projection_dim");

    let bert = |change: fn(&mut BertConfig)| {
        let mut config = BertConfig::default();
        change(&mut config);
        config.check().unwrap_err().field
    };
    let field = "position_embedding_type";
    assert_eq!(bert(|c| c.position_embedding_type = "relative_key".into()), field);
    assert_eq!(bert(|c| c.is_decoder = true), "is_decoder");
    assert_eq!(bert(|c| c.type_vocab_size = 0), "type_vocab_size");

    let t5 = |change: fn(&mut T5Config)| {
        let mut config = T5Config::default();
        change(&mut config);
        config.check().unwrap_err().field
    };
    assert_eq!(t5(|c| c.feed_forward_proj = "gated-relu-gelu".into()), "feed_forward_proj");
    assert_eq!(t5(|c| c.feed_forward_proj = "open-gelu".into()), "feed_forward_proj");
    let distance = "relative_attention_max_distance";
    assert_eq!(t5(|c| c.relative_attention_max_distance = 8), distance);
    assert_eq!(t5(|c| c.relative_attention_num_buckets = 3), "relative_attention_num_buckets");
    assert_eq!(t5(|c| c.d_kv = 0), "d_kv");

    let vae = |change: fn(&mut AutoencoderConfig)| -> ConfigError {
        let mut config = AutoencoderConfig::default();
        change(&mut config);
        config.check().unwrap_err()
    };
    assert_eq!(vae(|c| c.block_out_channels.push(64)).field, "down_block_types");
    let error = vae(|c| c.up_block_types = vec!["UpBlock2D".into()]).to_string();
    assert_eq!(
        error,
        "up_block_types: expected \"UpDecoderBlock2D\", one for each of [64], found [\"UpBlock2D\"]"
    );
    assert_eq!(vae(|c| c.norm_num_groups = 48).field, "norm_num_groups");
    assert_eq!(vae(|c| c.act_fn = "relu".into()).field, "act_fn");
    assert_eq!(vae(|c| c.scaling_factor = 0.0).field, "scaling_factor");
    assert_eq!(vae(|c| c.latents_std = Some(vec![1.0; 3])).field, "latents_std");
    assert_eq!(vae(|c| c.layers_per_block = 1 << 40).field, "layers_per_block");
}
