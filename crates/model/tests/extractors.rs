//! EfficientNet-Lite0 with its real weights. They and the pictures are not part of the repository: `cargo xtask data
//! efficientnet-lite0` and `cargo xtask data skimage` fetch them, and without them these tests pass without a look, except
//! in CI.

use burn::tensor::{Device, Tensor, TensorData};
use image::imageops::{FilterType, crop_imm, resize};
use std::path::{Path, PathBuf};
use sumi_formats::StateDict;
use sumi_model::{ModelError, from_tensors};
use sumi_networks::efficientnet_lite::EfficientNetLite;
use sumi_networks::inception::Inception;

/// A file of a data set, or nothing where it was not fetched.
fn fetched(set: &str, file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(set).join(file);
    if path.is_file() {
        return Some(path);
    }
    assert!(
        std::env::var("CI").is_err(),
        "{} is missing: `cargo xtask data {set}`",
        path.display()
    );
    eprintln!("skipped: needs `cargo xtask data {set}`");
    None
}

fn weights() -> Option<PathBuf> {
    fetched("efficientnet-lite0", "efficientnet-lite0-57934424.pth")
}

/// The middle of a picture, 224x224, as the network was trained to see it.
fn picture(path: &Path) -> Tensor<4> {
    let picture = image::open(path).unwrap().to_rgb8();
    let (width, height) = picture.dimensions();
    // ImageNet's custom: an eighth of the shorter side is cut away.
    let side = width.min(height) * 224 / 256;
    let square = crop_imm(&picture, (width - side) / 2, (height - side) / 2, side, side).to_image();
    let bytes = resize(&square, 224, 224, FilterType::CatmullRom).into_raw();
    let values: Vec<f32> = bytes.into_iter().map(|v| (f32::from(v) - 127.0) / 128.0).collect();
    let x = Tensor::<4>::from_data(TensorData::new(values, [1, 224, 224, 3]), &Device::flex());
    x.permute([0, 3, 1, 2])
}

#[test]
fn photographs_are_what_they_show() {
    let (Some(weights), Some(cat), Some(cup)) =
        (weights(), fetched("skimage", "chelsea.png"), fetched("skimage", "coffee.png"))
    else {
        return;
    };
    let state = StateDict::open(&weights).unwrap();
    let device = Device::flex();
    let network =
        from_tensors(state, &weights, |weights| EfficientNetLite::load(weights, &device)).unwrap();
    let class = |path: &Path| {
        let logits = network.forward(picture(path), false).logits;
        logits.argmax(1).into_scalar::<i32>()
    };
    // A tabby, a tiger cat or an Egyptian cat.
    let found = class(&cat);
    assert!([281, 282, 285].contains(&found), "{found}");
    // An espresso.
    assert_eq!(class(&cup), 967);
}

#[test]
fn another_networks_file_is_refused() {
    let Some(path) = weights() else { return };
    let state = StateDict::open(&path).unwrap();
    let error = from_tensors(state, &path, |weights| Inception::load(weights, &Device::flex()))
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ModelError::Weights { .. }), "{text}");
    assert!(text.contains("Conv2d_1a_3x3.conv.weight"), "{text}");
}
