//! Times the picture tower of a CLIP with weights by formula, and prints one line of JSON.
//!
//!     cargo run --release -p sumi-networks --example clip_vision -- clip-vit-b-32|clip-vit-l-14 BATCH REPETITIONS
//!
//! Weights and pictures are those of `testdata/formula.py`, as in `bench/peers/clip_vision.py`.

use std::{collections::BTreeMap, error::Error, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use sumi_kernels::profile;
use sumi_networks::clip::{ClipConfig, ClipVisionModel};
use sumi_nn::{Init, assign, parameter_shapes};
use sumi_testkit::{formula, golden};

// The command's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The tower and the side of its pictures.
fn open(name: &str) -> Result<(ClipVisionModel, usize), Box<dyn Error>> {
    let config = golden::load(&format!("crates/networks/testdata/configs/{name}.json"));
    let config: ClipConfig = serde_json::from_value(config)?;
    let mut vision = config.vision();
    vision.projection_dim = Some(config.projection_dim);
    let tower = ClipVisionModel::with_projection(&vision, &mut Init::new(&Device::flex(), 0))?;
    let values = parameter_shapes(&tower).into_iter().map(|(name, shape)| {
        let values = formula::weight(&name, &shape);
        (name, (shape, values))
    });
    let values: BTreeMap<_, _> = values.collect();
    Ok((assign(tower, values)?, vision.image_size))
}

/// The processor time of all threads of the process, in seconds, where Linux says so.
fn cpu_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    Some(ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, n, reps] = args.as_slice() else {
        return Err("see above".into());
    };
    let (n, reps): (usize, usize) = (n.parse()?, reps.parse()?);
    sumi_kernels::set_threads(0)?;
    let (tower, side) = open(name)?;
    let values = formula::uniform(&format!("{name}.picture"), n * 3 * side * side);
    let values: Vec<f32> = values.into_iter().map(|u| u as f32).collect();
    let x = Tensor::from_data(TensorData::new(values, [n, 3, side, side]), &Device::flex());
    let extract = || -> Result<Vec<f32>, Box<dyn Error>> {
        let embeds = tower.forward(x.clone())?.image_embeds.ok_or("no projection")?;
        Ok(embeds.try_into_vec_as::<f32>()?)
    };
    let output = extract()?;
    extract()?;
    let (mut secs, cpu) = (Vec::new(), cpu_secs());
    profile::start();
    for _ in 0..reps {
        let started = Instant::now();
        extract()?;
        secs.push(started.elapsed().as_secs_f64());
    }
    let cpu = cpu_secs().zip(cpu).map(|(after, before)| (after - before) / reps as f64);
    let report = profile::stop();
    for work in &report.work {
        let (secs, rate) = (work.secs / reps as f64, work.flops as f64 / work.secs / 1e9);
        eprintln!("{:<15} {secs:>8.4} s {rate:>7.0} Gflop/s", work.kind.name());
    }
    eprintln!("everything else {:>8.4} s", report.everything_else_secs() / reps as f64);
    println!("{}", json!({ "secs": secs, "cpu_secs": cpu, "output": &output[..64] }));
    Ok(())
}
