//! A network in 16 bits stays close to the same network in 32.

use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;
use sumi_model::{Model, TorchNoise};
use sumi_nn::{Pass, Precision, to_precision};

#[test]
fn sixteen_bits_stay_close_to_thirty_two() {
    let device = Device::flex();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ddpm");
    let model = Model::open(&folder, &device).unwrap();
    let [c, h, w] = model.picture_dims().unwrap();
    let x = TensorData::new(TorchNoise::new(0, 3).normals(c * h * w), [3, c, h, w]);
    let pass = |precision| -> Vec<f32> {
        let unet = to_precision(model.unet.clone(), precision);
        let x = Tensor::from_data(x.clone(), &device);
        let y = unet.forward(x, &[10.0, 500.0, 900.0], None, &mut Pass::Inference);
        y.into_data().try_to_vec::<f32>().unwrap()
    };
    let expected = pass(Precision::F32);
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>();
    for (precision, most) in [(Precision::Bf16, 0.02), (Precision::F16, 0.0025)] {
        let found = pass(precision);
        let error = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
        let error = (error / norm(&mut expected.iter().copied())).sqrt();
        assert!(error <= most, "{precision:?}: relative L2 error {error:e}");
        assert!(error > 0.0, "{precision:?} changed nothing");
        println!("{precision:?}: {error:e}");
    }
}
