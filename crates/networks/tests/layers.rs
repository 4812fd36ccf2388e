//! Every layer of every network can be reached by its path.

use burn::module::Module;
use burn::tensor::Device;
use serde::de::DeserializeOwned;
use std::path::Path;
use sumi_networks::bert::BertModel;
use sumi_networks::classifier::{Classifier, ClassifierConfig};
use sumi_networks::clip::ClipTextModel;
use sumi_networks::t5::T5Encoder;
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_networks::unet_condition::UNetCondition;
use sumi_networks::vae::AutoencoderKl;
use sumi_nn::{Init, Layers, layer_shapes, parameter_shapes};

/// Tables of vectors have matrices too, but no products.
const TABLES: [&str; 5] =
    ["embedding", "embeddings", "shared", "relative_attention_bias", "position_embedding"];

/// The layers are the weights of two and of four dimensions, under the same names. How many there are.
#[track_caller]
fn check<N: Module + Layers>(network: &N) -> usize {
    let weights = parameter_shapes(network).into_iter().filter_map(|(name, shape)| {
        let layer = name.strip_suffix(".weight")?;
        let last = layer.rsplit('.').next()?;
        let product = matches!(shape.len(), 2 | 4) && !TABLES.iter().any(|t| last.ends_with(t));
        product.then(|| (layer.to_string(), shape))
    });
    let mut expected: Vec<_> = weights.collect();
    let mut found = layer_shapes(network);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    found.len()
}

fn published<C: DeserializeOwned>(name: &str) -> C {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/configs");
    let json = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The layers that kohya's trainer adapts unless it is told more.
fn in_attention(unet: &UNetCondition) -> usize {
    layer_shapes(unet).iter().filter(|(path, _)| path.contains(".attentions.")).count()
}

#[test]
fn layers_are_where_their_weights_are() {
    let init = &mut Init::new(&Device::flex(), 0);
    let sd1 = UNetCondition::new(&published("unet-sd-1.5"), init).unwrap();
    let sdxl = UNetCondition::new(&published("unet-sdxl"), init).unwrap();
    check(&sd1);
    check(&sdxl);
    // What the trainer's log says: "create LoRA for U-Net: 192 modules", and 722 for SDXL.
    assert_eq!((in_attention(&sd1), in_attention(&sdxl)), (192, 722));
    // "create LoRA for Text Encoder: 72 modules."
    assert_eq!(check(&ClipTextModel::new(&published("clip-l"), init).unwrap()), 72);
    let big = ClipTextModel::with_projection(&published("openclip-bigg"), init).unwrap();
    assert_eq!(check(&big), 192 + 1);
    check(&BertModel::new(&published("taiyi-bert"), init).unwrap());
    check(&T5Encoder::new(&published("t5-v1_1-xxl"), init).unwrap());
    check(&AutoencoderKl::new(&published("vae"), init).unwrap());
    check(&UNet::new(&UNetConfig::default(), init).unwrap());
    let json = r#"{"sample_size": 8, "in_channels": 1, "num_classes": 3, "block_out_channels": [8, 16],
        "attention": [false, true], "layers_per_block": 1, "attention_head_dim": 8,
        "norm_num_groups": 4, "dropout": 0.0}"#;
    let config: ClassifierConfig = serde_json::from_str(json).unwrap();
    check(&Classifier::new(&config, init).unwrap());
}
