//! Whole extractors, resize and scale included, against pytorch-fid, torch-fidelity, clean-fid's way and
//! `efficientnet_lite_pytorch` (`testdata/make_extracted.py`), with weights by formula.

use burn::tensor::Device;
use std::path::PathBuf;
use sumi_data::Image;
use sumi_features::{Extractor, Kind, Resize};
use sumi_formats::{NamedTensor, TensorMap, safetensors};
use sumi_testkit::{formula, golden, relative_error};

/// As the networks alone have it: thousands of products in `f32`, through dozens of layers.
const TOLERANCE: f64 = 1e-4;

fn picture() -> Image {
    let (width_px, height_px) = (45, 31);
    let values = formula::uniform("picture", width_px * height_px * 3);
    let rgb = values.into_iter().map(|u| ((u + 1.0) * 128.0).floor() as u8).collect();
    Image { width_px, height_px, rgb, grey: false, alpha: false }
}

/// Weights by formula as a file.
fn weights(folder: &tempfile::TempDir, network: &str) -> PathBuf {
    let cases = golden::load("../networks/testdata/extractors.json");
    let mut cases = cases.as_array().unwrap().iter();
    let case = cases.find(|case| case["name"] == network).unwrap();
    let tensors = case["shapes"].as_object().unwrap().iter().map(|(name, shape)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        NamedTensor::from_f32(name, &shape, &formula::weight(name, &shape))
    });
    let path = folder.path().join(format!("{network}.safetensors"));
    safetensors::write(&path, &TensorMap::new(tensors.collect())).unwrap();
    path
}

#[test]
fn features_are_those_of_the_tools_that_define_them() {
    let folder = tempfile::tempdir().unwrap();
    let expected = golden::load("testdata/extracted.json");
    let inception = weights(&folder, "inception");
    let lite = weights(&folder, "efficientnet-lite0");
    let cases = [
        ("pytorch-fid", &inception, Resize::PytorchFid, Kind::Inception),
        ("torch-fidelity", &inception, Resize::TorchFidelity, Kind::Inception),
        ("clean-fid", &inception, Resize::CleanFid, Kind::Inception),
        ("efficientnet-lite0", &lite, Resize::default(), Kind::EfficientNetLite0),
    ];
    for (name, path, resize, kind) in cases {
        let extractor = Extractor::open(path, resize, &Device::flex()).unwrap();
        assert_eq!(extractor.kind(), kind);
        assert_eq!(extractor.info().sha256.as_ref().map(String::len), Some(64));
        let found = extractor.extract(&[picture()], false).unwrap();
        let features: Vec<f64> = found.features.into_iter().map(f64::from).collect();
        assert_eq!(features.len(), extractor.info().dims);
        let error = relative_error(&features, &golden::numbers(&expected[name]));
        assert!(error < TOLERANCE, "{name}: {error:e}");
    }
    // The ways differ by more than the tolerance, so each was really taken.
    let numbers = |name: &str| golden::numbers(&expected[name]);
    for other in ["torch-fidelity", "clean-fid"] {
        assert!(relative_error(&numbers("pytorch-fid"), &numbers(other)) > 10.0 * TOLERANCE);
    }
}
