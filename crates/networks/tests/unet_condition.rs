//! The conditional U-Net against diffusers': names, shapes, counts and outputs. The numbers were made by
//! `testdata/make_unet_condition.py`, which says how both sides make the same weights.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use sumi_networks::unet_condition::{Added, Extra, OneOrEach, UNetCondition, UNetConditionConfig};
use sumi_nn::{Init, Precision, assign, parameter_shapes, to_precision};
use sumi_testkit::formula::{fnv, uniform, weight};
use sumi_testkit::{golden, relative_error};

fn input<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let values = uniform(name, shape.iter().product()).into_iter().map(|u| u as f32).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
}

fn goldens() -> Value {
    golden::load("testdata/unet_condition.json")
}

fn config(value: &Value) -> UNetConditionConfig {
    serde_json::from_value(value.clone()).unwrap()
}

fn published(name: &str) -> UNetConditionConfig {
    config(&golden::load(&format!("testdata/configs/{name}.json")))
}

/// Without values: nothing is drawn until it is looked at.
fn fresh(config: &UNetConditionConfig) -> UNetCondition {
    UNetCondition::new(config, &mut Init::new(&Device::flex(), 0)).unwrap()
}

fn shapes(unet: &UNetCondition) -> BTreeMap<String, Vec<usize>> {
    parameter_shapes(unet).into_iter().collect()
}

fn digest(shapes: &BTreeMap<String, Vec<usize>>) -> String {
    let lines: String = shapes.iter().map(|(name, shape)| format!("{name} {shape:?}\n")).collect();
    format!("{:016x}", fnv(&lines))
}

/// The network with the weights that both sides make.
fn filled(config: &UNetConditionConfig) -> UNetCondition {
    let unet = fresh(config);
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let values = weight(&name, &shape);
        (name, (shape, values))
    };
    let tensors: BTreeMap<_, _> = shapes(&unet).into_iter().map(tensor).collect();
    assign(unet, tensors).unwrap()
}

/// What the network is given in a case.
fn inputs(case: &Value) -> (Tensor<4>, Vec<f32>, Tensor<3>, Extra) {
    let config = config(&case["config"]);
    let sizes = |key: &str| {
        golden::numbers(&case[key]).into_iter().map(|size| size as usize).collect::<Vec<_>>()
    };
    let (size, context, time) =
        (sizes("size"), sizes("context"), golden::numbers(&case["timesteps"]));
    let n = size[0];
    let floats = |value: &Value| golden::numbers(value).iter().map(|&v| v as f32).collect();
    let given = &case["extra"];
    let extra = Extra {
        classes: given["classes"]
            .as_array()
            .map(|classes| classes.iter().map(|class| class.as_u64().unwrap() as u32).collect()),
        added: config.addition_embed_type.as_ref().map(|_| Added {
            text_embeds: input("text_embeds", [n, 12]),
            time_ids: floats(&given["time_ids"]),
        }),
        guidance: config.time_cond_proj_dim.map(|width| input("guidance", [n, width])),
    };
    let x = input("x", [n, config.in_channels, size[1], size[2]]);
    let time = time.iter().map(|&t| t as f32).collect();
    (x, time, input("context", [n, context[0], context[1]]), extra)
}

fn output(unet: &UNetCondition, case: &Value) -> Vec<f64> {
    let (x, time, context, extra) = inputs(case);
    let y = unet.forward(x, &time, context, &extra).unwrap();
    y.try_into_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

#[test]
fn outputs_are_those_of_diffusers() {
    for case in goldens()["cases"].as_array().unwrap() {
        let found = output(&filled(&config(&case["config"])), case);
        let error = relative_error(&found, &golden::numbers(&case["output"]));
        // Some thirty layers in f32, each summed in another order than PyTorch does.
        assert!(error < 2e-5, "{}: {error:e}", case["name"]);
    }
}

#[test]
fn names_and_shapes_are_those_of_diffusers() {
    let goldens = goldens();
    for case in goldens["cases"].as_array().unwrap() {
        let found = shapes(&fresh(&config(&case["config"])));
        if let Some(tensors) = case["tensors"].as_array() {
            let pair = |tensor: &Value| serde_json::from_value(tensor.clone()).unwrap();
            let expected: BTreeMap<String, Vec<usize>> = tensors.iter().map(pair).collect();
            assert_eq!(found, expected, "{}", case["name"]);
        }
        assert_eq!(digest(&found), case["digest"], "{}", case["name"]);
    }
}

#[test]
fn published_networks_have_their_parameters() {
    let goldens = goldens();
    let counts: BTreeMap<&str, usize> = BTreeMap::from([
        ("unet-sd-1.5", 859_520_964),
        ("unet-sd-1.5-inpainting", 859_535_364),
        ("unet-sd-2.1", 865_910_724),
        ("unet-sd-x4-upscaler", 473_398_020),
        ("unet-sdxl", 2_567_463_684),
    ]);
    let all = goldens["published"].as_array().unwrap();
    assert_eq!(all.len(), counts.len());
    for expected in all {
        let name = expected["name"].as_str().unwrap();
        let found = shapes(&fresh(&published(name)));
        let parameters: usize = found.values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, counts[name], "{name}");
        assert_eq!(expected["parameters"], counts[name], "{name}");
        assert_eq!(found.len(), expected["tensors"].as_u64().unwrap() as usize, "{name}");
        assert_eq!(digest(&found), expected["digest"], "{name}");
    }
}

#[test]
fn half_precision_weights_are_close() {
    let goldens = goldens();
    let case = &goldens["cases"][0];
    let expected = golden::numbers(&case["output"]);
    // Eight and eleven significant bits a weight.
    for (precision, bound) in [(Precision::Bf16, 2e-2), (Precision::F16, 3e-3)] {
        let unet = to_precision(filled(&config(&case["config"])), precision);
        let error = relative_error(&output(&unet, case), &expected);
        assert!(error < bound, "{precision:?}: {error:e}");
        assert!(error > 1e-5, "{precision:?}: {error:e}");
    }
}

#[test]
fn what_it_cannot_do_is_refused_by_name() {
    let base = serde_json::to_value(published("unet-sd-1.5")).unwrap();
    let huge = 1u64 << 40;
    for (field, value) in [
        ("dual_cross_attention", Value::from(true)),
        ("encoder_hid_dim", 768.into()),
        ("encoder_hid_dim_type", "text_proj".into()),
        ("class_embed_type", "projection".into()),
        ("addition_embed_type", "image".into()),
        ("num_attention_heads", 8.into()),
        ("resnet_time_scale_shift", "scale_shift".into()),
        ("resnet_skip_time_act", true.into()),
        ("resnet_out_scale_factor", 0.7.into()),
        ("time_embedding_type", "fourier".into()),
        ("time_embedding_act_fn", "silu".into()),
        ("timestep_post_act", "silu".into()),
        ("attention_type", "gated".into()),
        ("class_embeddings_concat", true.into()),
        ("cross_attention_norm", "layer_norm".into()),
        ("mid_block_type", "UNetMidBlock2DSimpleCrossAttn".into()),
        ("act_fn", "gelu".into()),
        ("conv_in_kernel", 4.into()),
        ("conv_out_kernel", huge.into()),
        ("norm_num_groups", 0.into()),
        ("norm_num_groups", 7.into()),
        ("block_out_channels", serde_json::json!([])),
        ("block_out_channels", serde_json::json!([320, 640, 1280, huge])),
        ("in_channels", 0.into()),
        ("out_channels", huge.into()),
        ("layers_per_block", serde_json::json!([2, 2])),
        ("layers_per_block", huge.into()),
        ("attention_head_dim", 7.into()),
        ("attention_head_dim", serde_json::json!([8, 8, 0, 8])),
        ("attention_head_dim", serde_json::json!([8, 8, 8])),
        ("cross_attention_dim", 0.into()),
        ("only_cross_attention", serde_json::json!([true])),
        ("transformer_layers_per_block", huge.into()),
        ("transformer_layers_per_block", serde_json::json!([1, 2])),
        ("reverse_transformer_layers_per_block", serde_json::json!([1, 1, 1, [1, 1]])),
        ("down_block_types", serde_json::json!(["DownBlock2D"])),
        (
            "up_block_types",
            serde_json::json!(["DownBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]),
        ),
        ("downsample_padding", 2.into()),
        ("time_embedding_dim", huge.into()),
        ("time_cond_proj_dim", 0.into()),
        ("num_class_embeds", huge.into()),
        ("freq_shift", 160.into()),
        ("dropout", 1.0.into()),
        ("mid_block_scale_factor", 0.0.into()),
        ("norm_eps", (-1.0).into()),
    ] {
        let mut wrong = base.clone();
        wrong[field] = value.clone();
        let error = config(&wrong).check().expect_err(field);
        assert_eq!(error.field, field, "{value}: {error}");
    }
    let mut wrong = base;
    wrong["addition_embed_type"] = "text_time".into();
    assert_eq!(config(&wrong).check().unwrap_err().field, "addition_time_embed_dim");
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let goldens = goldens();
    let case = |name: &str| {
        let cases = goldens["cases"].as_array().unwrap();
        cases.iter().find(|case| case["name"] == name).unwrap().clone()
    };
    type Change = fn(&mut (Tensor<4>, Vec<f32>, Tensor<3>, Extra));
    let wrong: [(&str, &str, Change); 11] = [
        ("sd1", "x", |i| i.0 = input("x", [2, 3, 8, 8])),
        ("sd1", "x", |i| i.0 = input("x", [2, 4, 8, 0])),
        ("odd-floor", "x", |i| i.0 = input("x", [1, 4, 3, 8])),
        ("sd1", "timesteps", |i| i.1.truncate(1)),
        ("sd1", "context", |i| i.2 = input("context", [2, 7, 25])),
        ("sd1", "context", |i| i.2 = input("context", [1, 7, 24])),
        ("sd1", "classes", |i| i.3.classes = Some(vec![0, 1])),
        ("upscaler", "classes", |i| i.3.classes = Some(vec![0, 20])),
        ("sdxl", "text_embeds", |i| i.3.added = None),
        ("sdxl", "time_ids", |i| i.3.added.as_mut().unwrap().time_ids.truncate(11)),
        ("sd2", "guidance", |i| i.3.guidance = Some(input("guidance", [2, 12]))),
    ];
    for (name, field, change) in wrong {
        let case = case(name);
        let mut given = inputs(&case);
        change(&mut given);
        let unet = fresh(&config(&case["config"]));
        let error = unet.forward(given.0, &given.1, given.2, &given.3).expect_err(field);
        assert_eq!(error.field, field, "{name}: {error}");
    }
}

#[test]
fn depths_and_lists_read_as_written() {
    let read = |text: &str| serde_json::from_str::<UNetConditionConfig>(text).unwrap();
    let sdxl = read(r#"{"transformer_layers_per_block": [1, 2, 10]}"#);
    let each = [1, 2, 10].map(OneOrEach::One).to_vec();
    assert_eq!(sdxl.transformer_layers_per_block, OneOrEach::Each(each));
    assert_eq!(UNetConditionConfig::default(), read("{}"));
    let text = serde_json::to_string(&sdxl).unwrap();
    assert_eq!(read(&text), sdxl);
}
