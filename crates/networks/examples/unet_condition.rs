//! Times one pass of a conditional U-Net with made-up weights, and prints one line of JSON.
//!
//!     cargo run --release -p sumi-networks --example unet_condition -- CONFIG.json f32|bf16 BATCH HEIGHT WIDTH REPETITIONS
//!
//! Weights and inputs are those of `testdata/formula.py`, as in `bench/peers/sd_step.py`.

use std::{error::Error, time::Instant};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use serde_json::json;
use sumi_kernels::profile;
use sumi_networks::unet_condition::{Added, Extra, UNetCondition, UNetConditionConfig};
use sumi_nn::{Init, Precision, to_precision};
use sumi_testkit::formula;

fn tensor<const D: usize>(shape: [usize; D], values: Vec<f32>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Says where a network's values come from when they are first looked at.
struct Fill(Vec<String>);

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (name, shape) = (self.0.join("."), param.lazy_shape().dims::<D>());
        let init = move |_: &Device, _: bool| tensor(shape, formula::weight(&name, &shape));
        let device = param.lazy_device();
        Param::uninitialized(ParamId::new(), init, device, false, Shape::from(shape))
    }
}

/// The most memory that the process ever had resident, in MiB, and the processor time of all its threads, in
/// seconds; where Linux says so.
fn spent() -> Option<(f64, f64)> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    let (status, stat) = (read("status")?, read("stat")?);
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let ticks = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    let secs: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0;
    Some((peak.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0, secs))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, dtype, n, h, w, reps] = args.as_slice() else {
        return Err("see above".into());
    };
    let precision = match dtype.as_str() {
        "bf16" => Precision::Bf16,
        _ => Precision::F32,
    };
    let (n, h, w, reps): (_, _, _, usize) = (n.parse()?, h.parse()?, w.parse()?, reps.parse()?);
    sumi_kernels::set_threads(0)?;
    let config: UNetConditionConfig = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let unet = UNetCondition::new(&config, &mut Init::new(&Device::flex(), 0))?;
    let unet = to_precision(unet.map(&mut Fill(Vec::new())), precision);
    let input = |name, shape: [usize; 3]| {
        let values = formula::uniform(name, shape.iter().product());
        tensor(shape, values.into_iter().map(|u| u as f32).collect())
    };
    let width = config.cross_attention_dim.at(config.levels() - 1).copied().unwrap_or(1);
    let context = input("context", [n, 77, width]);
    let x = input("x", [n, config.in_channels, h * w]).reshape([n, config.in_channels, h, w]);
    let sizes = config.projection_class_embeddings_input_dim.zip(config.addition_time_embed_dim);
    let extra = Extra {
        classes: config.num_class_embeds.map(|_| vec![0; n]),
        added: sizes.map(|(all, each)| Added {
            text_embeds: input("text_embeds", [n, 1, all - 6 * each]).reshape([n, all - 6 * each]),
            time_ids: [1024.0, 1024.0, 0.0, 0.0, 1024.0, 1024.0].repeat(n),
        }),
        guidance: None,
    };
    let pass = || unet.forward(x.clone(), &vec![981.0; n], context.clone(), &extra);
    let y = pass()?.try_into_vec_as::<f32>()?;
    let (mut secs, before) = (Vec::new(), spent());
    profile::start();
    for _ in 0..reps {
        let started = Instant::now();
        drop(pass()?);
        secs.push(started.elapsed().as_secs_f64());
    }
    for work in profile::stop().work {
        let (secs, rate) = (work.secs / reps as f64, work.flops as f64 / work.secs / 1e9);
        eprintln!("{:<15} {secs:>8.3} s {rate:>7.0} Gflop/s", work.kind.name());
    }
    let cpu = spent().zip(before).map(|(now, then)| (now.1 - then.1) / reps as f64);
    let (peak, y) = (spent().map(|(peak, _)| peak), &y[..64]);
    println!("{}", json!({ "secs": secs, "cpu_secs": cpu, "peak_mib": peak, "output": y }));
    Ok(())
}
