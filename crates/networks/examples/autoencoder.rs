//! Time and memory of Stable Diffusion's autoencoder, with weights by formula:
//!
//!     /usr/bin/time -v cargo run --release -p sumi-networks --example autoencoder -- decode 512 whole
//!
//! `decode` or `encode`, the picture's side in pixels, and `whole`, `tiled` or `compare`, which runs both.

use burn::tensor::{Device, Tensor, TensorData};
use std::{error::Error, time::Instant};
use sumi_networks::vae::{AutoencoderConfig, AutoencoderKl};
use sumi_nn::{Init, assign, parameter_shapes};
use sumi_testkit::{formula, golden};

// The command's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, see the command's `memory.rs`.
const PURGE_DELAY: i32 = 15;

#[allow(unsafe_code)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, side, how] = arguments.as_slice() else {
        return Err("expected: decode|encode SIDE whole|tiled|compare".into());
    };
    let side: usize = side.parse()?;
    if how == "tiled" {
        // SAFETY: an option may be set at any time.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
    }
    let device = Device::flex();
    let config = golden::load("crates/networks/testdata/configs/vae.json");
    let config: AutoencoderConfig = serde_json::from_value(config)?;
    let model = AutoencoderKl::new(&config, &mut Init::new(&device, 0))?;
    let weights = parameter_shapes(&model).into_iter().map(|(name, shape)| {
        let values = formula::weight(&name, &shape);
        (name, (shape, values))
    });
    let weights = weights.collect();
    let model = assign(model, weights)?;

    let run = |how: &str| {
        let start = Instant::now();
        let result = match (task.as_str(), how) {
            ("decode", "whole") => model.decode(smooth([1, 4, side / 8, side / 8], &device)),
            ("decode", _) => model.decode_tiled(smooth([1, 4, side / 8, side / 8], &device)),
            (_, "whole") => model.encode(smooth([1, 3, side, side], &device)).mean,
            _ => model.encode_tiled(smooth([1, 3, side, side], &device)).mean,
        };
        let result = result.try_into_vec_as::<f32>();
        println!("{task} {side} {how}: {:.2} s", start.elapsed().as_secs_f64());
        result
    };
    if how != "compare" {
        report("result", &run(how)?);
        return Ok(());
    }
    let (whole, tiled) = (run("whole")?, run("tiled")?);
    let difference: Vec<f32> = whole.iter().zip(&tiled).map(|(a, b)| a - b).collect();
    report("whole", &whole);
    report("difference", &difference);
    Ok(())
}

/// Waves of several lengths with a little noise, between -2 and 2: latents and pictures change slowly.
fn smooth(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let [_, c, h, w] = shape;
    let noise = formula::uniform("noise", c * h * w);
    let value = |(i, noise): (usize, f64)| {
        let (x, y) = ((i % w) as f64 / w as f64, (i / w % h) as f64 / h as f64);
        let phase = (i / w / h) as f64;
        let waves = (7.0 * x + 3.0 * y + phase).sin() + (31.0 * x * y - phase).cos() * 0.5;
        (waves + 0.3 * noise) as f32
    };
    let values: Vec<f32> = noise.into_iter().enumerate().map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn report(what: &str, values: &[f32]) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let size = values.iter().map(|&x| f64::from(x).abs()).sum::<f64>() / count;
    let most = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    println!("{what}: mean {mean:.3e}, mean magnitude {size:.3e}, greatest {most:.3e}");
}
