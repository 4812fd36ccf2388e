//! Times the networks that features are taken from, with weights by formula, and prints one line of JSON.
//!
//!     cargo run --release -p sumi-networks --example extractors -- inception|efficientnet-lite0 BATCH REPETITIONS
//!
//! Weights and inputs are those of `testdata/make_extractors.py`, as in `bench/peers/extractors.py`.

use std::{collections::BTreeMap, error::Error, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use sumi_kernels::profile;
use sumi_networks::{efficientnet_lite::EfficientNetLite, inception::Inception};
use sumi_testkit::{formula, golden};

// The command's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From pictures to features.
type Extractor = Box<dyn Fn(Tensor<4>) -> Tensor<2>>;

/// The network and the side of its pictures.
fn open(name: &str) -> Result<(Extractor, usize), Box<dyn Error>> {
    let cases = golden::load("crates/networks/testdata/extractors.json");
    let mut cases = cases.as_array().into_iter().flatten();
    let case = cases.find(|case| case["name"] == name).ok_or("no such network")?;
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(case["shapes"].clone())?;
    let file = shapes.into_iter().map(|(name, shape)| {
        let values = formula::weight(&name, &shape);
        (name, (shape, values))
    });
    let (mut file, device) = (file.collect::<BTreeMap<_, _>>(), Device::flex());
    Ok(match name {
        "inception" => {
            let network = Inception::load(&mut file, &device)?;
            (Box::new(move |x| network.forward(x, false).features), 299)
        }
        _ => {
            let network = EfficientNetLite::load(&mut file, &device)?;
            (Box::new(move |x| network.forward(x, false).features), 224)
        }
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, n, reps] = args.as_slice() else {
        return Err("see above".into());
    };
    let (n, reps): (usize, usize) = (n.parse()?, reps.parse()?);
    sumi_kernels::set_threads(0)?;
    let (extract, side) = open(name)?;
    let values = TensorData::new(formula::pictures(name, n, side), [n, 3, side, side]);
    let x = Tensor::from_data(values, &Device::flex());
    let y = extract(x.clone()).try_into_vec_as::<f32>()?;
    extract(x.clone());
    let mut secs = Vec::new();
    profile::start();
    for _ in 0..reps {
        let started = Instant::now();
        drop(extract(x.clone()));
        secs.push(started.elapsed().as_secs_f64());
    }
    let report = profile::stop();
    for work in &report.work {
        let (secs, rate) = (work.secs / reps as f64, work.flops as f64 / work.secs / 1e9);
        eprintln!("{:<15} {secs:>8.4} s {rate:>7.0} Gflop/s", work.kind.name());
    }
    eprintln!("everything else {:>8.4} s", report.everything_else_secs() / reps as f64);
    println!("{}", json!({ "secs": secs, "output": &y[..64] }));
    Ok(())
}
