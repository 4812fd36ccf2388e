//! Adapters beside weights, folded into them, and learned.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use sumi_nn::{
    AdapterError, AdapterValues, Conv2d, Downsample, Init, Linear, Precision, Upsample, attach,
    detach, layer_shapes, layers, merge, parameters, to_precision, unmerge,
};
use sumi_random::{NormalSource, Philox};

/// Every way in which a weight is used: a window, a step, a doubling, a bias a sample, a residual.
#[derive(Module, Debug)]
struct Network {
    conv_in: Conv2d,
    down: Vec<Downsample>,
    up: Option<Upsample>,
    shortcut: Conv2d,
    to_out: Vec<Linear>,
}
layers!(Network { conv_in, down, up, shortcut, to_out });

impl Network {
    fn new(device: &Device) -> Self {
        let mut init = Init::new(device, 3);
        Self {
            conv_in: Conv2d::same(&mut init, [3, 6], 3),
            down: vec![Downsample::new(&mut init, 6, 0)],
            up: Some(Upsample::new(&mut init, 6)),
            shortcut: Conv2d::same(&mut init, [6, 5], 1),
            to_out: vec![Linear::new(&mut init, 5, 4), Linear::without_bias(&mut init, 4, 5)],
        }
    }

    /// `[2, 8, 8, 3]` to `[128, 5]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let shift = Tensor::from_data(TensorData::new(normal(90, 12), [2, 6]), &x.device());
        let h = self.conv_in.forward_onto(x, Some(shift), None);
        let small = self.down[0].forward(h.clone());
        let h = self.up.as_ref().unwrap().conv.forward_onto(small, None, Some(h));
        let h = self.shortcut.forward(h).reshape([2 * 64, 5]);
        self.to_out[1].forward_onto(self.to_out[0].forward(h.clone()), Some(h))
    }
}

fn normal(stream: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Philox::new(11, stream).fill_normal(&mut values);
    values
}

fn picture(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(normal(91, 2 * 64 * 3), [2, 8, 8, 3]), device)
}

fn vec<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.try_into_vec_as::<f32>().unwrap()
}

/// One adapter for every layer; every second one with a magnitude where `dora` says so.
fn adapters(
    network: &Network,
    rank: usize,
    scale: f64,
    dora: bool,
) -> Vec<(String, AdapterValues)> {
    let shapes = layer_shapes(network).into_iter().enumerate();
    let values = shapes.map(|(i, (path, shape))| {
        let (outputs, inputs) = (shape[0], shape[1..].iter().product::<usize>());
        let stream = 100 * rank as u64 + 3 * i as u64;
        let magnitude = normal(stream + 2, outputs).iter().map(|m| 1.0 + m.abs()).collect();
        let values = AdapterValues {
            rank,
            down: normal(stream, rank * inputs).iter().map(|x| 0.3 * x).collect(),
            up: normal(stream + 1, outputs * rank).iter().map(|x| 0.3 * x).collect(),
            magnitude: (dora && i % 2 == 0).then_some(magnitude),
            scale,
        };
        (path, values)
    });
    values.collect()
}

#[test]
fn a_network_without_adapters_keeps_its_parameter_names() {
    let network = Network::new(&Device::flex());
    let names: Vec<String> = parameters(&network).into_iter().map(|p| p.name).collect();
    assert_eq!(names[..2], ["conv_in.weight", "conv_in.bias"]);
    assert!(names.iter().all(|name| name.ends_with(".weight") || name.ends_with(".bias")));
    let shapes = layer_shapes(&network);
    let paths: Vec<&str> = shapes.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["conv_in", "down.0.conv", "up.conv", "shortcut", "to_out.0", "to_out.1"]);
    assert_eq!(shapes[0].1, [6, 3, 3, 3]);
    assert_eq!(shapes[4].1, [4, 5]);
}

/// By hand: `A x = [-7, 12.5]`, `B A x = [-19.5, -10.875]`, and half of that is added.
#[test]
fn an_adapter_adds_its_low_rank_product() {
    let device = Device::flex();
    let plain = Linear::new(&mut Init::new(&device, 1), 3, 2);
    let mut layer = plain.clone();
    let values = AdapterValues {
        rank: 2,
        down: vec![1.0, 2.0, -1.0, 0.5, 0.0, 3.0],
        up: vec![1.0, -1.0, 2.0, 0.25],
        magnitude: None,
        scale: 0.5,
    };
    attach(&mut layer, [(String::new(), values)]).unwrap();
    let x = Tensor::<2>::from_data([[1.0, -2.0, 4.0]], &device);
    let difference = vec(layer.forward(x.clone()) - plain.forward(x));
    for (found, expected) in difference.iter().zip([-9.75, -5.4375]) {
        // Two f32 sums of numbers up to 20.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn beside_and_merged_are_the_same_and_unmerging_gives_the_bits_back() {
    let device = Device::flex();
    let frozen = Network::new(&device);
    let x = picture(&device);
    let before: Vec<Vec<f32>> = parameters(&frozen).into_iter().map(|p| vec(p.values)).collect();
    let plain = vec(frozen.forward(x.clone()));
    for dora in [false, true] {
        let mut network = frozen.clone();
        attach(&mut network, adapters(&frozen, 2, 0.7, dora)).unwrap();
        attach(&mut network, adapters(&frozen, 3, -0.4, dora)).unwrap();
        let beside = vec(network.forward(x.clone()));
        let change = beside.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(change > 0.5, "dora {dora}: the adapters change {change}");

        let merged = merge(&mut network);
        let folded = vec(network.forward(x.clone()));
        // Sums of up to 54 products, in another order.
        let size = beside.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
        for (a, b) in beside.iter().zip(&folded) {
            assert!((a - b).abs() < 1e-5 * size, "dora {dora}: {a} {b}");
        }

        unmerge(&mut network, merged);
        assert!(vec(network.forward(x.clone())) == beside, "dora {dora}: another result");
        detach(&mut network);
        let after: Vec<Vec<f32>> =
            parameters(&network).into_iter().map(|p| vec(p.values)).collect();
        assert!(after == before, "dora {dora}: the weights are not the same bits");
    }
    assert!(vec(frozen.forward(x)) == plain, "a copy's adapters reached the original");
}

#[test]
fn half_precision_weights_keep_their_type_and_come_back() {
    let device = Device::flex();
    let frozen = to_precision(Network::new(&device), Precision::Bf16);
    let bits = |network: &Network| network.conv_in.weight.val().into_data();
    let before = bits(&frozen);
    let mut network = frozen.clone();
    attach(&mut network, adapters(&frozen, 2, 1.0, true)).unwrap();
    let beside = vec(network.forward(picture(&device)));
    let merged = merge(&mut network);
    assert_eq!(network.conv_in.weight.val().dtype(), DType::BF16);
    assert!(bits(&network) != before);
    let folded = vec(network.forward(picture(&device)));
    let size = beside.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
    for (a, b) in beside.iter().zip(&folded) {
        // The merged weights are rounded to 8 bits, each layer once.
        assert!((a - b).abs() < 3e-2 * size, "{a} {b} of {size}");
    }
    unmerge(&mut network, merged);
    assert!(bits(&network) == before);
}

/// Gradients of adapters against differences of the loss.
#[test]
fn gradients_reach_the_adapters() {
    let device = Device::flex().autodiff();
    let frozen = Network::new(&device);
    let loss = |network: &Network| network.forward(picture(&device)).square().mean();
    let mut network = frozen.clone();
    attach(&mut network, adapters(&frozen, 2, 0.5, false)).unwrap();
    let mut gradients = loss(&network).backward();
    let mut check = |path: &str, which: &str, tensor: Tensor<2>| {
        let gradient = vec(tensor.grad_remove(&mut gradients).unwrap());
        for at in [0, gradient.len() - 1] {
            let moved = |by: f32| {
                let mut all = adapters(&frozen, 2, 0.5, false);
                let values = &mut all.iter_mut().find(|(name, _)| name == path).unwrap().1;
                match which {
                    "down" => values.down[at] += by,
                    _ => values.up[at] += by,
                }
                let mut network = frozen.clone();
                attach(&mut network, all).unwrap();
                vec(loss(&network))[0]
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            // The third derivative times 1e-4, and f32 rounding of the loss over 2e-2.
            let tolerance = 2e-2 * slope.abs().max(0.05);
            let found = gradient[at];
            assert!((found - slope).abs() < tolerance, "{path}.{which}[{at}]: {found} {slope}");
        }
    };
    let conv = &network.down[0].conv.adapters[0];
    check("down.0.conv", "down", conv.down.val());
    check("down.0.conv", "up", conv.up.val());
    let linear = &network.to_out[0].adapters[0];
    check("to_out.0", "down", linear.down.val());
    check("to_out.0", "up", linear.up.val());
}

#[test]
fn a_magnitude_has_a_gradient_too() {
    let device = Device::flex().autodiff();
    let mut network = Network::new(&device);
    let all = adapters(&network, 2, 0.5, true);
    attach(&mut network, all).unwrap();
    let mut gradients = network.forward(picture(&device)).square().mean().backward();
    let adapter = &network.conv_in.adapters[0];
    for gradient in [
        adapter.down.val().grad_remove(&mut gradients).map(vec),
        adapter.up.val().grad_remove(&mut gradients).map(vec),
        adapter.magnitude.as_ref().unwrap().val().grad_remove(&mut gradients).map(vec),
    ] {
        assert!(gradient.unwrap().iter().any(|&x| x != 0.0));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let mut network = Network::new(&Device::flex());
    let values = adapters(&network, 2, 1.0, false).remove(0).1;
    let error = attach(&mut network, [("conv_out".to_string(), values.clone())]).unwrap_err();
    assert_eq!(error, AdapterError::NoLayer { path: "conv_out".into() });
    let error = attach(&mut network, [("to_out.0".to_string(), values)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the adapter of rank 2 beside a weight of shape [4, 5]: expected 10 numbers in \"down\", \
         found 54"
    );
}
