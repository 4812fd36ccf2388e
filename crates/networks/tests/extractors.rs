//! The networks that features are taken from against pytorch-fid and `efficientnet_lite_pytorch`
//! (`testdata/make_extractors.py`), with weights by formula.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use std::collections::BTreeMap;
use sumi_networks::efficientnet_lite::EfficientNetLite;
use sumi_networks::inception::Inception;
use sumi_nn::LoadError;
use sumi_testkit::{formula, golden, relative_error};

type File = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Thousands of products in `f32`, in another order and in Winograd's domain, through dozens of layers.
const TOLERANCE: f64 = 1e-4;

/// One network of the golden file.
struct Case(Value);

impl Case {
    fn load(name: &str) -> Self {
        let cases = golden::load("testdata/extractors.json");
        let mut cases = cases.as_array().unwrap().iter();
        Self(cases.find(|case| case["name"] == name).unwrap().clone())
    }

    /// Every tensor of the file by formula.
    fn file(&self) -> File {
        let shapes = self.0["shapes"].as_object().unwrap().iter();
        let tensors = shapes.map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let values = formula::weight(name, &shape);
            (name.clone(), (shape, values))
        });
        tensors.collect()
    }

    fn picture(&self) -> Tensor<4> {
        let shape: [usize; 4] = serde_json::from_value(self.0["picture"].clone()).unwrap();
        let values = formula::pictures(self.0["name"].as_str().unwrap(), shape[0], shape[2]);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// What the network is trained by: no running statistics, no counters.
    fn parameters(&self) -> usize {
        let trained = |name: &str| !name.contains("running_") && !name.ends_with("_tracked");
        let file = self.file();
        file.iter().filter(|(name, _)| trained(name)).map(|(_, (_, values))| values.len()).sum()
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

    #[track_caller]
    fn assert_maps(&self, maps: Vec<Tensor<4>>) {
        let expected = self.0["outputs"]["maps"].as_array().unwrap();
        assert_eq!(maps.len(), expected.len());
        for (map, expected) in maps.into_iter().zip(expected) {
            let [_, h, w, c] = map.dims();
            let pixel = map.narrow(1, h / 3, 1).narrow(2, w / 3, 1);
            self.assert_numbers(&format!("map of {c} channels"), expected, pixel);
        }
    }
}

#[test]
fn inception_agrees_with_pytorch_fid() {
    let case = Case::load("inception");
    let model = Inception::load(&mut case.file(), &Device::flex()).unwrap();
    let output = model.forward(case.picture(), true);
    assert_eq!(output.features.dims(), [2, 2048]);
    case.assert("features", output.features.clone());
    case.assert("logits", output.logits);
    case.assert("logits_unbiased", output.logits_unbiased);
    case.assert_maps(output.maps);
    let without = model.forward(case.picture(), false);
    assert!(without.maps.is_empty());
    assert_eq!(without.features.into_data(), output.features.into_data());
}

#[test]
fn efficientnet_agrees_with_its_peer() {
    let case = Case::load("efficientnet-lite0");
    let model = EfficientNetLite::load(&mut case.file(), &Device::flex()).unwrap();
    let output = model.forward(case.picture(), true);
    // To the last bit, whatever else is in the batch.
    let alone = model.forward(case.picture().narrow(0, 1, 1), false);
    assert_eq!(alone.features.into_data(), output.features.clone().narrow(0, 1, 1).into_data());
    case.assert("features", output.features);
    case.assert("logits", output.logits);
    case.assert_maps(output.maps);
}

/// Every parameter of the file is asked for, or loading would fail; so these are the networks' own.
#[test]
fn parameters_are_counted() {
    for (name, expected) in [("inception", 23_850_960), ("efficientnet-lite0", 4_652_008)] {
        let case = Case::load(name);
        assert_eq!(case.parameters(), expected);
        assert_eq!(case.0["parameters"], expected);
    }
}

#[test]
fn files_that_are_not_the_networks_are_refused_by_name() {
    let case = Case::load("efficientnet-lite0");
    let load = |change: &dyn Fn(&mut File)| {
        let mut file = case.file();
        change(&mut file);
        EfficientNetLite::load(&mut file, &Device::flex()).map(drop)
    };
    let missing =
        |name: &str| load(&|file| drop(file.remove(name).unwrap())).unwrap_err().to_string();
    assert_eq!(
        missing("_blocks.1._expand_conv.weight"),
        "tensor \"_blocks.1._expand_conv.weight\" is missing: the network needs it with shape [96, 16, 1, 1]"
    );
    let error = missing("_blocks.1._bn0.running_var");
    assert!(error.starts_with("tensor \"_blocks.1._bn0.running_var\" is missing"), "{error}");
    assert!(missing("_bn1.bias").starts_with("tensor \"_bn1.bias\" is missing"));
    assert!(missing("_fc.bias").starts_with("tensor \"_fc.bias\" is missing"));
    let shape = load(&|file| file.get_mut("_bn0.weight").unwrap().0 = vec![2, 16]).unwrap_err();
    let (name, expected, found) = ("_bn0.weight".to_string(), vec![32], vec![2, 16]);
    assert_eq!(shape, LoadError::Shape { name, expected, found });
    let error = load(&|file| file.get_mut("_bn0.running_var").unwrap().1[3] = -1.0).unwrap_err();
    assert_eq!(error.to_string(), "tensor \"_bn0.running_var\": expected variances, found -1");
    let more = |name: &str| load(&|file| drop(file.insert(name.to_string(), (vec![1], vec![0.0]))));
    assert_eq!(
        more("_conv_stem.bias"),
        Err(LoadError::Unexpected { names: vec!["_conv_stem.bias".into()] })
    );
    more("_blocks.99.num_batches_tracked").unwrap();
}
