//! Times one pass of a conditional U-Net with made-up weights, and prints one line of JSON.
//!
//!     cargo run --release -p sumi-networks --example unet_condition -- CONFIG.json f32|bf16|f16 BATCH HEIGHT WIDTH REPETITIONS
//!
//! Weights and inputs are those of `testdata/make_unet_condition.py`; `bench/peers/sd_step.py` gives diffusers the
//! same.

use std::{error::Error, time::Instant};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use sumi_kernels::profile;
use sumi_networks::unet_condition::{Added, Extra, UNetCondition, UNetConditionConfig};
use sumi_nn::{Init, Precision, to_precision};

fn uniform(name: &str, len: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (1..=len as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

fn tensor<const D: usize>(shape: [usize; D], values: impl Iterator<Item = f64>) -> Tensor<D> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
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
        let gain = name.contains("norm") && name.ends_with(".weight");
        let scale = (shape[1..].iter().product::<usize>() as f64).sqrt().recip();
        let value = move |u: f64| match D {
            1 => f64::from(u8::from(gain)) + 0.1 * u,
            _ => scale * u,
        };
        let init = move |_: &Device, _: bool| {
            tensor(shape, uniform(&name, shape.iter().product()).map(value))
        };
        let device = param.lazy_device();
        Param::uninitialized(ParamId::new(), init, device, false, Shape::from(shape))
    }
}

/// The most memory that the process ever had resident, in MiB.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The processor time of all threads so far, in seconds; Linux counts it in hundredths.
fn cpu_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, dtype, n, h, w, repetitions] = args.as_slice() else {
        return Err("see above".into());
    };
    let precision = match dtype.as_str() {
        "bf16" => Precision::Bf16,
        "f16" => Precision::F16,
        _ => Precision::F32,
    };
    let (n, h, w, repetitions) =
        (n.parse()?, h.parse()?, w.parse()?, repetitions.parse::<usize>()?);
    sumi_kernels::set_threads(0)?;
    let config: UNetConditionConfig = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let unet = UNetCondition::new(&config, &mut Init::new(&Device::flex(), 0))?;
    let unet = to_precision(unet.map(&mut Fill(Vec::new())), precision);
    let input = |name, shape: [usize; 3]| tensor(shape, uniform(name, shape.iter().product()));
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
    let (mut secs, cpu) = (Vec::new(), cpu_secs());
    profile::start();
    for _ in 0..repetitions {
        let started = Instant::now();
        drop(pass()?);
        secs.push(started.elapsed().as_secs_f64());
    }
    let report = profile::stop();
    for work in &report.work {
        let (secs, rate) = (work.secs / repetitions as f64, work.flops as f64 / work.secs / 1e9);
        eprintln!("{:<15} {:>7} {secs:>8.3} s {rate:>7.0} Gflop/s", work.kind.name(), work.calls);
    }
    let rest = report.everything_else_secs() / repetitions as f64;
    eprintln!("everything else {rest:>16.3} s, peak {:.0} MiB", peak_mib().unwrap_or(0.0));
    let cpu = cpu_secs().zip(cpu).map(|(end, start)| (end - start) / repetitions as f64);
    let (peak, y) = (peak_mib(), &y[..64]);
    println!(
        "{}",
        serde_json::json!({ "secs": secs, "cpu_secs": cpu, "peak_mib": peak, "output": y })
    );
    Ok(())
}
