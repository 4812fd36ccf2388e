use super::*;

const BLOCK: &str = "down_blocks.0.attentions.0";

fn f32(name: &str, shape: &[usize]) -> NamedTensor {
    let len: usize = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.37).sin()).collect();
    NamedTensor::from_f32(name, shape, &values)
}

fn pair(tensors: &mut Vec<NamedTensor>, path: &str, [down, up]: [&str; 2], shape: [usize; 3]) {
    let [outputs, rank, inputs] = shape;
    tensors.push(f32(&format!("{path}.{down}.weight"), &[rank, inputs]));
    tensors.push(f32(&format!("{path}.{up}.weight"), &[outputs, rank]));
}

/// A model with a cross-attention of 768, a convolution and a text encoder.
fn targets() -> Targets {
    let mut targets = Targets::new();
    let attention = format!("{BLOCK}.transformer_blocks.0.attn2");
    targets.add(
        Part::Unet,
        [
            (format!("{attention}.to_k"), vec![320, 768]),
            (format!("{attention}.to_out.0"), vec![320, 320]),
            (format!("{BLOCK}.proj_in"), vec![320, 320, 1, 1]),
            ("down_blocks.0.resnets.0.conv1".to_string(), vec![320, 320, 3, 3]),
            ("down_blocks.0.resnets.1.conv1".to_string(), vec![320, 320, 3, 3]),
        ],
    );
    let encoder = "text_model.encoder.layers.0";
    targets.add(
        Part::TextEncoder,
        [
            (format!("{encoder}.self_attn.q_proj"), vec![768, 768]),
            (format!("{encoder}.mlp.fc1"), vec![3072, 768]),
        ],
    );
    targets
}

fn kohya(suffix: &str) -> String {
    format!("lora_unet_{}_{suffix}", names::joined(BLOCK))
}

fn file(tensors: Vec<NamedTensor>) -> LoraFile {
    from_map(TensorMap::new(tensors)).unwrap()
}

const KOHYA: [&str; 2] = ["lora_down", "lora_up"];
const PEFT: [&str; 2] = ["lora_A", "lora_B"];

#[test]
fn one_adapter_in_every_layout() {
    let attention = format!("{BLOCK}.transformer_blocks.0.attn2");
    let to_k = format!("unet.{attention}.to_k");
    let cases: [(Layout, String, [&str; 2]); 5] = [
        (Layout::Peft, to_k.clone(), PEFT),
        (Layout::Diffusers, to_k, ["lora.down", "lora.up"]),
        (Layout::AttnProcs, format!("{attention}.processor"), ["to_k_lora.down", "to_k_lora.up"]),
        (Layout::Kohya, kohya("transformer_blocks_0_attn2_to_k"), KOHYA),
        (
            Layout::KohyaSgm,
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k".into(),
            KOHYA,
        ),
    ];
    for (layout, path, names) in cases {
        let mut tensors = Vec::new();
        pair(&mut tensors, &path, names, [320, 4, 768]);
        let file = file(tensors);
        assert_eq!(file.layout, layout);
        assert_eq!(file.family(), Some(Family::Sd1));
        assert_eq!(file.adapters[0].module(), format!("{attention}.to_k"), "{layout:?}");
        let resolved = resolve(&file, &targets()).unwrap();
        assert_eq!(resolved.matched[0].module, format!("{attention}.to_k"));
        assert_eq!((resolved.matched_keys, resolved.unmatched.len()), (2, 0));
        let values = resolved.matched[0].values().unwrap();
        assert_eq!((values.rank, values.scale), (4, 1.0));
        assert_eq!((values.down.len(), values.up.len()), (4 * 768, 4 * 320));
    }
}

#[test]
fn alpha_over_rank_is_the_scale() {
    let mut tensors = Vec::new();
    pair(&mut tensors, &kohya("proj_in"), KOHYA, [320, 8, 320]);
    tensors.push(NamedTensor::from_f32(format!("{}.alpha", kohya("proj_in")), &[], &[2.0]));
    pair(&mut tensors, "lora_te_text_model_encoder_layers_0_mlp_fc1", KOHYA, [3072, 4, 768]);
    let file = file(tensors);
    let resolved = resolve(&file, &targets()).unwrap();
    let scales: Vec<f64> = resolved.matched.iter().map(|m| m.values().unwrap().scale).collect();
    assert_eq!(scales, [0.25, 1.0]);
    assert_eq!(resolved.matched_keys, 5);

    let mut tensors = Vec::new();
    let q_proj = "text_encoder.encoder.layers.0.self_attn.q_proj";
    pair(&mut tensors, q_proj, PEFT, [768, 4, 768]);
    let mut map = TensorMap::new(tensors);
    let json = r#"{"text_encoder.lora_alpha": 6, "text_encoder.use_rslora": true}"#;
    map.metadata.insert(metadata::FIELD.into(), json.into());
    let resolved = resolve(&from_map(map).unwrap(), &targets()).unwrap();
    // 6 / sqrt(4); the path is that of newer versions of transformers.
    assert_eq!(resolved.matched[0].values().unwrap().scale, 3.0);
    assert_eq!(resolved.matched[0].module, "text_model.encoder.layers.0.self_attn.q_proj");
}

#[test]
fn convolutions_and_their_tucker_decomposition() {
    let conv = "lora_unet_down_blocks_0_resnets_0_conv1";
    let tucker = "lora_unet_down_blocks_0_resnets_1_conv1";
    let file = file(vec![
        f32(&format!("{conv}.lora_down.weight"), &[4, 320, 3, 3]),
        f32(&format!("{conv}.lora_up.weight"), &[320, 4, 1, 1]),
        f32(&format!("{tucker}.lora_down.weight"), &[3, 320, 1, 1]),
        f32(&format!("{tucker}.lora_mid.weight"), &[2, 3, 3, 3]),
        f32(&format!("{tucker}.lora_up.weight"), &[320, 2, 1, 1]),
        f32(&format!("{}.lora_down.weight", kohya("proj_in")), &[4, 320, 1, 1]),
        f32(&format!("{}.lora_up.weight", kohya("proj_in")), &[320, 4]),
    ]);
    let resolved = resolve(&file, &targets()).unwrap();
    assert_eq!(resolved.matched_keys, 7);
    let folded = resolved.matched.iter().find(|m| m.module.ends_with("1.conv1")).unwrap();
    let values = folded.values().unwrap();
    assert_eq!((values.rank, values.down.len()), (2, 2 * 320 * 9));
    let (r, i, pixel) = (1, 7, 5);
    let of = |tensor: &NamedTensor, at: usize| f64::from(tensor.to_f32().unwrap()[at]);
    let adapter = file.adapters.iter().find(|a| a.mid.is_some()).unwrap();
    let mid = adapter.mid.as_ref().unwrap();
    let expected: f64 =
        (0..3).map(|s| of(mid, (r * 3 + s) * 9 + pixel) * of(&adapter.down, s * 320 + i)).sum();
    let found = f64::from(values.down[(r * 320 + i) * 9 + pixel]);
    // Three products in f32.
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn what_is_not_used_is_listed_with_its_reason() {
    let mut tensors = Vec::new();
    pair(&mut tensors, &kohya("proj_in"), KOHYA, [320, 4, 320]);
    pair(&mut tensors, &kohya("proj_out"), KOHYA, [320, 4, 320]);
    pair(&mut tensors, "lora_te_text_model_encoder_layers_0_mlp_fc1", KOHYA, [768, 4, 768]);
    pair(&mut tensors, "lora_te2_text_model_encoder_layers_0_mlp_fc1", KOHYA, [768, 4, 768]);
    tensors.push(f32("lora_unet_conv_in.hada_w1_a", &[4, 4]));
    tensors.push(f32("lora_unet_conv_in.alpha", &[1]));
    tensors.push(f32("lora_unet_conv_out.lora_down.weight", &[4, 4]));
    tensors.push(f32("conv_out.weight", &[4, 4]));
    tensors.push(NamedTensor::from_i64("lora_unet_b.lora_down.weight", &[4, 2], &[0; 8]));
    tensors.push(f32("lora_unet_b.lora_up.weight", &[4, 4]));
    pair(&mut tensors, "lora_unet_a", KOHYA, [4, 4, 4]);
    tensors.push(f32("lora_unet_a.alpha", &[2]));
    tensors.push(f32("lora_unet_c.lora_down.weight", &[3, 4]));
    tensors.push(f32("lora_unet_c.lora_up.weight", &[4, 2]));
    let count = tensors.len();
    let resolved = resolve(&file(tensors), &targets()).unwrap();
    assert_eq!(resolved.matched_keys + resolved.unmatched.len(), count);
    let reasons: Vec<String> = resolved.unmatched.iter().map(|u| u.to_string()).collect();
    for expected in [
        "down_blocks_0_attentions_0_proj_out.lora_up.weight`: the unet has no such layer",
        "mlp_fc1.lora_down.weight`: the layer's weight is [3072, 768], the adapter is for [768, 768]",
        "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight`: the model has no text_encoder_2",
        "`lora_unet_conv_in.hada_w1_a`: LoHa is not supported",
        "`lora_unet_conv_in.alpha`: LoHa is not supported",
        "`lora_unet_conv_out.lora_down.weight`: the adapter has no `up` tensor",
        "`conv_out.weight`: its name is not that of an adapter's tensor",
        "`lora_unet_b.lora_up.weight`: its elements are integers",
        "`lora_unet_a.alpha`: its alpha is not one finite number",
        "`lora_unet_c.lora_up.weight`: `down` [3, 4] and `up` [4, 2] do not fit each other",
    ] {
        assert!(reasons.iter().any(|r| r.contains(expected)), "{expected} in {reasons:#?}");
    }
}

#[test]
fn another_family_and_no_match_are_errors_that_say_so() {
    let mut tensors = Vec::new();
    pair(&mut tensors, &kohya("transformer_blocks_0_attn2_to_k"), KOHYA, [640, 4, 2048]);
    pair(&mut tensors, &kohya("proj_in"), KOHYA, [320, 4, 320]);
    let text = resolve(&file(tensors), &targets()).unwrap_err().to_string();
    assert!(text.contains("Stable Diffusion XL (text 2048 wide), the model is Stable"), "{text}");

    let mut tensors = Vec::new();
    pair(&mut tensors, "lora_te_text_model_encoder_layers_9_mlp_fc1", KOHYA, [768, 4, 768]);
    let mut map = TensorMap::new(tensors);
    map.metadata.insert("ss_base_model_version".into(), "sd_v2_v".into());
    let text = resolve(&from_map(map).unwrap(), &targets()).unwrap_err().to_string();
    assert!(
        text.contains("none of its 1 adapters fits the model; it was made for Stable"),
        "{text}"
    );
    assert!(text.contains("the text_encoder has no such layer"), "{text}");

    let map = TensorMap::new(vec![f32("conv_in.weight", &[2, 2])]);
    let text = from_map(map).unwrap_err().to_string();
    assert!(text.contains("found 1 tensors without one adapter that can be used"), "{text}");
}

#[test]
fn a_magnitude_scales_outputs_or_is_refused() {
    let path = kohya("transformer_blocks_0_attn2_to_k");
    let with = |shape: &[usize]| {
        let mut tensors = Vec::new();
        pair(&mut tensors, &path, KOHYA, [320, 4, 768]);
        tensors.push(f32(&format!("{path}.dora_scale"), shape));
        resolve(&file(tensors), &targets())
    };
    for shape in [&[320][..], &[320, 1], &[1, 320, 1, 1]] {
        let values = with(shape).unwrap().matched[0].values().unwrap();
        assert_eq!(values.magnitude.unwrap().len(), 320);
    }
    let text = with(&[1, 768]).unwrap_err().to_string();
    assert!(
        text.contains("the magnitude is [1, 768], expected one number for each of 320"),
        "{text}"
    );
}

/// What an adapter adds to its layer, in f64.
fn product(matched: &Matched) -> Vec<f64> {
    let Values { rank, down, up, scale, .. } = matched.values().unwrap();
    let inputs = down.len() / rank;
    let element = |o: usize, i: usize| -> f64 {
        (0..rank).map(|r| f64::from(up[o * rank + r]) * f64::from(down[r * inputs + i])).sum()
    };
    // A row and a column see every number.
    (0..inputs)
        .map(|i| scale * element(0, i))
        .chain((0..up.len() / rank).map(|o| scale * element(o, 0)))
        .collect()
}

#[test]
fn every_layout_turns_into_every_other() {
    let mut tensors = Vec::new();
    let attention = "transformer_blocks_0_attn2";
    pair(&mut tensors, &kohya(&format!("{attention}_to_k")), KOHYA, [320, 4, 768]);
    pair(&mut tensors, &kohya(&format!("{attention}_to_out_0")), KOHYA, [320, 2, 320]);
    let conv = "lora_unet_down_blocks_0_resnets_0_conv1";
    tensors.push(f32(&format!("{conv}.lora_down.weight"), &[4, 320, 3, 3]));
    tensors.push(f32(&format!("{conv}.lora_up.weight"), &[320, 4, 1, 1]));
    tensors.push(f32(&format!("{conv}.dora_scale"), &[320, 1, 1, 1]));
    pair(
        &mut tensors,
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        KOHYA,
        [768, 4, 768],
    );
    let alpha = format!("{}.alpha", kohya(&format!("{attention}_to_k")));
    tensors.push(NamedTensor::from_f32(alpha, &[], &[1.0]));
    let first = file(tensors);
    let expected = resolve(&first, &targets()).unwrap();
    assert_eq!(expected.matched.len(), 4);
    let layouts =
        [Layout::Peft, Layout::Diffusers, Layout::AttnProcs, Layout::Kohya, Layout::KohyaSgm];
    for from in layouts {
        let middle = from_map(convert(&first, from).unwrap()).unwrap();
        for to in layouts {
            let last = from_map(convert(&middle, to).unwrap()).unwrap();
            let found = resolve(&last, &targets()).unwrap();
            assert_eq!(found.unmatched, [], "{from:?} {to:?}");
            for (a, b) in expected.matched.iter().zip(&found.matched) {
                assert_eq!((a.part, &a.module), (b.part, &b.module), "{from:?} {to:?}");
                assert_eq!(a.values().unwrap().magnitude, b.values().unwrap().magnitude);
                for (x, y) in product(a).iter().zip(product(b)) {
                    // A scale of 1/4 is exact in every place that it can be put.
                    assert!((x - y).abs() < 1e-12, "{from:?} {to:?} {}: {x} {y}", a.module);
                }
            }
        }
    }
}

#[test]
fn what_a_layout_cannot_hold_is_refused() {
    let tucker = "lora_unet_down_blocks_0_resnets_1_conv1";
    let file = file(vec![
        f32(&format!("{tucker}.lora_down.weight"), &[3, 320, 1, 1]),
        f32(&format!("{tucker}.lora_mid.weight"), &[2, 3, 3, 3]),
        f32(&format!("{tucker}.lora_up.weight"), &[320, 2, 1, 1]),
    ]);
    let text = convert(&file, Layout::Peft).unwrap_err().to_string();
    assert!(text.contains("cannot be written as peft: it has `lora_mid` tensors"), "{text}");
    assert_eq!(convert(&file, Layout::KohyaSgm).unwrap().tensors.len(), 4);
    assert!(convert(&file, Layout::Mixed).is_err());
}
