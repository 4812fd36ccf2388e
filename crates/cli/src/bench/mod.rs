//! `sumi bench`.

mod subject;

use crate::args::{BenchArgs, BenchWork, DeviceName, Dtype};
use crate::error::CliError;
use crate::output::{data, talk};
use crate::{device, progress};
use burn::tensor::Device;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::time::Instant;
use subject::{Input, SAMPLE_STEPS, Subject, Work};
use sumi_kernels::profile::{self, Report};

/// Where nothing is said, a measurement takes about so long, and no fewer repetitions.
const MEASURE_SECS: f64 = 10.0;
const LEAST_REPS: usize = 5;
const MOST_REPS: usize = 100_000;
/// A warm-up ends when either is reached.
const WARM_UP_SECS: f64 = 0.5;
const WARM_UP_REPS: usize = 3;
/// More would not fit a machine.
const MOST_BATCH: usize = 1 << 16;

pub fn run(args: &BenchArgs) -> Result<(), CliError> {
    check(args)?;
    let device = device::open(args.device)?;
    let mut subject = open(args, &device)?;
    if let Some(folder) = &args.save {
        subject.model.save(folder)?;
    }
    subject.model.unet = sumi_nn::to_precision(subject.model.unet, args.dtype.precision());
    if let Some(path) = &args.output {
        Input::new(&subject.model, args.batch)?.write_pass(&subject.model.unet, path)?;
    }
    let pictures = subject.pictures(args.batch)?;
    let work = subject.work(args.what, args.batch, &pictures)?;
    let (times, report) = measure(work, args)?;
    // Before the products by which the peak is measured take memory of their own.
    let memory = peak_memory_bytes();
    let measured = Measured {
        flops: flops(args, &report, times.len())?,
        gemm_peak: (args.device == DeviceName::Cpu).then(profile::gemm_peak),
        times,
        report,
        memory,
    };
    match args.json {
        true => data(measured.json(args)),
        false => measured.print(args),
    }
}

fn check(args: &BenchArgs) -> Result<(), CliError> {
    let reps = args.reps.unwrap_or(LEAST_REPS);
    for (name, found, most) in [("batch", args.batch, MOST_BATCH), ("reps", reps, MOST_REPS)] {
        if !(1..=most).contains(&found) {
            return Err(CliError::Usage(format!("--{name}: expected 1 to {most}, found {found}")));
        }
    }
    let what = name_of(args.what);
    if args.what == BenchWork::Train && args.dtype != Dtype::F32 {
        return Err(CliError::Usage(format!(
            "--dtype: expected f32 with --what train, whose weights change by less than 16 bits can \
             tell, found {}; measure it with --what forward or sample",
            name_of(args.dtype)
        )));
    }
    if args.output.is_some() && args.what != BenchWork::Forward {
        return Err(CliError::Usage(format!(
            "--output: expected --what forward, whose input and output it is, found {what}"
        )));
    }
    if args.profile && args.device != DeviceName::Cpu {
        talk(format_args!(
            "--profile: times by kind of layer are not available on {}, where operations run after \
             the call that asks for them; --device cpu has them",
            name_of(args.device)
        ));
    }
    Ok(())
}

/// The network on `device`; in training, with autodiff.
fn open(args: &BenchArgs, device: &Device) -> Result<Subject, CliError> {
    let device = match args.what {
        BenchWork::Train => device.clone().autodiff(),
        BenchWork::Forward | BenchWork::Sample => device.clone(),
    };
    Subject::open(&args.network, args.weights.as_deref(), &device)
}

/// Warms up, then takes the time of each repetition.
fn measure(mut work: Work<'_>, args: &BenchArgs) -> Result<(Vec<f64>, Report), CliError> {
    let mut timed = || {
        let started = Instant::now();
        work()?;
        Ok::<f64, CliError>(started.elapsed().as_secs_f64())
    };
    let (mut warm_up_secs, mut once) = (0.0, 0.0);
    for _ in 0..WARM_UP_REPS {
        once = timed()?;
        warm_up_secs += once;
        if warm_up_secs > WARM_UP_SECS {
            break;
        }
    }
    let reps = args
        .reps
        .unwrap_or_else(|| ((MEASURE_SECS / once.max(1e-9)) as usize).clamp(LEAST_REPS, MOST_REPS));
    let bar = progress::bar("measuring", reps as u64);
    profile::start();
    let times = (0..reps).map(|_| timed().inspect(|_| bar.inc(1))).collect::<Result<Vec<_>, _>>();
    let report = profile::stop();
    bar.finish_and_clear();
    Ok((times?, report))
}

/// The floating-point operations of one repetition. Where the device does not count them, one
/// picture's are counted on the CPU: every picture takes as many.
fn flops(args: &BenchArgs, report: &Report, reps: usize) -> Result<u64, CliError> {
    if args.device == DeviceName::Cpu {
        return Ok(report.flops() / reps as u64);
    }
    let subject = open(args, &Device::flex())?;
    let pictures = subject.pictures(1)?;
    let mut work = subject.work(args.what, 1, &pictures)?;
    profile::start();
    let outcome = work();
    let report = profile::stop();
    outcome?;
    Ok(report.flops() * args.batch as u64)
}

struct Measured {
    times: Vec<f64>,
    report: Report,
    flops: u64,
    /// Flop/s, on the CPU.
    gemm_peak: Option<f64>,
    memory: Option<u64>,
}

impl Measured {
    /// Median, minimum and maximum.
    fn secs(&self) -> [f64; 3] {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        let (n, last) = (sorted.len(), sorted.len() - 1);
        [(sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0, sorted[0], sorted[last]]
    }

    fn json(&self, args: &BenchArgs) -> Value {
        let [median, min, max] = self.secs();
        let rate = self.flops as f64 / median;
        let mut found = json!({
            "network": args.network,
            "what": name_of(args.what),
            "batch": args.batch,
            "dtype": name_of(args.dtype),
            "threads": sumi_kernels::threads(),
            "device": name_of(args.device),
            "reps": self.times.len(),
            "times_secs": self.times,
            "median_secs": median,
            "min_secs": min,
            "max_secs": max,
            "flops": self.flops,
            "gflops_per_sec": rate * 1e-9,
            "gemm_peak_gflops_per_sec": self.gemm_peak.map(|peak| peak * 1e-9),
            "share_of_peak": self.gemm_peak.map(|peak| rate / peak),
            "peak_memory_bytes": self.memory,
        });
        if args.what == BenchWork::Train {
            found["includes"] =
                json!(["forward", "backward", "gradient clipping", "AdamW", "EMA of the weights"]);
        }
        if args.what == BenchWork::Sample {
            found["steps"] = json!(SAMPLE_STEPS);
            found["secs_per_picture"] = json!(median / args.batch as f64);
        }
        if args.profile && args.device == DeviceName::Cpu {
            found["profile"] = self.rows().into();
        }
        found
    }

    /// The time by kind of layer, of one repetition.
    fn rows(&self) -> Vec<Value> {
        let reps = self.times.len() as f64;
        let mut rows: Vec<Value> = self
            .report
            .work
            .iter()
            .map(|work| {
                json!({
                    "kind": work.kind.name(),
                    "direction": work.direction.name(),
                    "calls": work.calls as f64 / reps,
                    "secs": work.secs / reps,
                    "flops": work.flops as f64 / reps,
                })
            })
            .collect();
        rows.push(json!({
            "kind": "everything else",
            "secs": self.report.everything_else_secs() / reps,
        }));
        rows
    }

    fn print(&self, args: &BenchArgs) -> Result<(), CliError> {
        let [median, min, max] = self.secs();
        let (what, dtype, on) = (name_of(args.what), name_of(args.dtype), name_of(args.device));
        data(format_args!(
            "{}, {what}, batch {}, {dtype}, {on}, {} threads, {} reps",
            args.network,
            args.batch,
            sumi_kernels::threads(),
            self.times.len()
        ))?;
        data(format_args!("median {median:.4} s, minimum {min:.4} s, maximum {max:.4} s"))?;
        if args.what == BenchWork::Sample {
            let each = median / args.batch as f64;
            data(format_args!("{each:.4} s a picture, {SAMPLE_STEPS} steps of ddim"))?;
        }
        let rate = self.flops as f64 / median;
        data(format_args!("{:.4} Gflop, {:.1} Gflop/s", self.flops as f64 * 1e-9, rate * 1e-9))?;
        if let Some(peak) = self.gemm_peak {
            data(format_args!(
                "{:.0} % of the {:.1} Gflop/s that a plain f32 product reaches here",
                100.0 * rate / peak,
                peak * 1e-9
            ))?;
        }
        if let Some(memory) = self.memory {
            data(format_args!("peak memory {:.1} MiB", memory as f64 / f64::from(1 << 20)))?;
        }
        if args.profile && args.device == DeviceName::Cpu {
            self.print_profile()?;
        }
        Ok(())
    }

    fn print_profile(&self) -> Result<(), CliError> {
        let reps = self.times.len() as f64;
        data("\nkind of layer    direction   calls         ms   share   Gflop/s")?;
        for work in &self.report.work {
            let rate = match work.flops {
                0 => String::new(),
                flops => format!("{:.1}", flops as f64 / work.secs * 1e-9),
            };
            data(format_args!(
                "{:<16} {:<9} {:>7.0} {:>10.3} {:>5.1} % {rate:>9}",
                work.kind.name(),
                work.direction.name(),
                work.calls as f64 / reps,
                work.secs / reps * 1e3,
                100.0 * work.secs / self.report.secs
            ))?;
        }
        let rest = self.report.everything_else_secs();
        data(format_args!(
            "{:<34} {:>10.3} {:>5.1} %",
            "everything else",
            rest / reps * 1e3,
            100.0 * rest / self.report.secs
        ))
    }
}

/// A choice as it is written on the command line.
fn name_of(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}

/// The most memory that this process has had resident, where the system says.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
