//! `sumi eval bpd`.

use super::args::{BpdArgs, Method};
use super::pictures::load;
use crate::error::CliError;
use crate::output::data;
use crate::sample::Outputs;
use crate::signals::Stop;
use crate::{device, progress};
use serde_json::json;
use std::ops::ControlFlow;
use sumi_data::Pictures;
use sumi_metrics::Mean;
use sumi_model::{DensityBits, Known, Likelihood, Model, ModelError};
use sumi_pictures::plot::{Plot, Series, panels};
use sumi_process::ReverseVariance;
use sumi_sampler::likelihood::Bound;
use sumi_sampler::{Limit, Sampler};

/// What the paper of the ODE has (Score SDE, Appendix D.2).
const TOLERANCE: f64 = 1e-5;
/// Parts of a batch that the progress bar tells apart.
const PARTS: u64 = 1000;

pub fn run(args: &BpdArgs) -> Result<(), CliError> {
    check(args)?;
    let device = device::open(args.device)?;
    let model = Model::open(&args.model, &device)?;
    let pictures = load(&args.data, &model)?;
    let count = args.count.unwrap_or(pictures.len());
    if !(1..=pictures.len()).contains(&count) {
        return Err(CliError::Usage(format!(
            "--count: expected 1 to {}, all that {} has, found {count}",
            pictures.len(),
            args.data.display()
        )));
    }
    let pictures = pictures.subset(&(0..count).collect::<Vec<_>>());
    let measured = measure(args, &model, &pictures)?;
    if let Some(path) = &args.plot {
        measured.plot()?.write_png(path)?;
    }
    match args.json {
        true => data(format_args!("{}", measured.json(args, &pictures))),
        false => measured.print(args, &pictures),
    }
}

/// What one method has and the other does not.
fn check(args: &BpdArgs) -> Result<(), CliError> {
    let refuse = |what: &str| Err(CliError::Usage(what.into()));
    match args.method {
        Method::Vlb if args.tolerance.is_some() => {
            refuse("--tolerance: expected nothing (only --method ode has one)")
        }
        Method::Ode if args.clip.is_some() => {
            refuse("--clip: expected nothing (only --method vlb can clip)")
        }
        Method::Ode if args.plot.is_some() => {
            refuse("--plot: expected nothing (only --method vlb has terms to draw)")
        }
        _ if args.batch == 0 => refuse("--batch: expected at least 1, found 0"),
        _ => Outputs { grid: args.plot.clone(), ..Outputs::default() }.check(),
    }
}

/// What was measured, over all pictures.
#[derive(Default)]
struct Measured {
    /// Bits/dim of each picture.
    bits: Vec<f64>,
    /// Evaluations of the network for each picture.
    evaluations: Vec<usize>,
    /// The parts of the bound, where that was measured.
    bound: Option<Parts>,
}

/// The bound of each picture in three parts, and sums over the pictures by timestep.
#[derive(Default)]
struct Parts {
    prior: Vec<f64>,
    between: Vec<f64>,
    l0: Vec<f64>,
    terms: Vec<f64>,
    eps_error: Vec<f64>,
    x0_error: Vec<f64>,
}

fn measure(args: &BpdArgs, model: &Model, pictures: &Pictures) -> Result<Measured, CliError> {
    let likelihood = Likelihood::new(model)?;
    let limit = match args.clip {
        Some(true) => Limit::Clip { range: model.scheduler.clip_sample_range },
        Some(false) => Limit::None,
        None => {
            let ancestral = Sampler::Ddpm { variance: ReverseVariance::default() };
            model.scheduler.limit(ancestral.entry())
        }
    };
    let stop = Stop::listen()?;
    let batches = pictures.len().div_ceil(args.batch) as u64;
    let bar = progress::bar("measuring", batches * PARTS);
    let mut measured = Measured::default();
    for (batch, first) in (0..pictures.len()).step_by(args.batch).enumerate() {
        let range = first..(first + args.batch).min(pictures.len());
        let values = pictures.planes(range.clone());
        let known = Known {
            values: &values,
            classes: &pictures.labels[range],
            levels: usize::from(pictures.max_value) + 1,
            seed: args.seed.wrapping_add(first as u64),
        };
        let mut tell = |part: f64| {
            bar.set_position(batch as u64 * PARTS + (part * PARTS as f64) as u64);
            if stop.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = match args.method {
            Method::Vlb => {
                likelihood.bound(known, limit, &mut tell).map(|b| measured.add_bound(&b))
            }
            Method::Ode => {
                let tolerance = args.tolerance.unwrap_or(TOLERANCE);
                likelihood.density(known, tolerance, &mut tell).map(|d| measured.add_density(&d))
            }
        };
        if let Err(error) = outcome {
            bar.finish_and_clear();
            return Err(match error {
                ModelError::Cancelled => {
                    CliError::Failed(format!("stopped after {first} pictures; nothing was written"))
                }
                ModelError::NotFinite { index } => {
                    ModelError::NotFinite { index: first + index }.into()
                }
                other => other.into(),
            });
        }
    }
    bar.finish_and_clear();
    Ok(measured)
}

impl Measured {
    fn add_bound(&mut self, bound: &Bound) {
        let totals = bound.totals();
        self.evaluations.extend(vec![bound.terms.len(); totals.len()]);
        let parts = self.bound.get_or_insert_default();
        for (i, total) in totals.iter().enumerate() {
            parts.between.push(total - bound.prior[i] - bound.terms[0][i]);
        }
        parts.prior.extend(&bound.prior);
        parts.l0.extend(&bound.terms[0]);
        for (sums, values) in [
            (&mut parts.terms, &bound.terms),
            (&mut parts.eps_error, &bound.eps_error),
            (&mut parts.x0_error, &bound.x0_error),
        ] {
            sums.resize(values.len(), 0.0);
            // One by one, so that the sums do not depend on the batch.
            let all = sums.iter_mut().zip(values);
            all.for_each(|(sum, values)| *sum = values.iter().fold(*sum, |sum, x| sum + x));
        }
        self.bits.extend(totals);
    }

    fn add_density(&mut self, density: &DensityBits) {
        self.evaluations.extend(vec![density.evaluations; density.bits.len()]);
        self.bits.extend(&density.bits);
    }

    fn nfe(&self) -> f64 {
        let total: usize = self.evaluations.iter().sum();
        total as f64 / self.evaluations.len().max(1) as f64
    }

    /// The mean over the pictures by timestep.
    fn by_timestep(&self, sums: &[f64]) -> Vec<f64> {
        sums.iter().map(|sum| sum / self.bits.len().max(1) as f64).collect()
    }

    fn json(&self, args: &BpdArgs, pictures: &Pictures) -> serde_json::Value {
        let total = Mean::of(&self.bits);
        let bound = self.bound.as_ref();
        json!({
            "method": match args.method { Method::Vlb => "vlb", Method::Ode => "ode" },
            "bits_per_dim": total.mean,
            "standard_error": total.error,
            "count": pictures.len(),
            "dims": pictures.picture_len(),
            "levels": usize::from(pictures.max_value) + 1,
            "seed": args.seed,
            "prior": bound.map(|b| Mean::of(&b.prior).mean),
            "terms": bound.map(|b| self.by_timestep(&b.terms[1..])),
            "l0": bound.map(|b| Mean::of(&b.l0).mean),
            "eps_mse": bound.map(|b| self.by_timestep(&b.eps_error)),
            "x0_mse": bound.map(|b| self.by_timestep(&b.x0_error)),
            "nfe": self.nfe(),
            "tolerance": match args.method {
                Method::Vlb => None,
                Method::Ode => Some(args.tolerance.unwrap_or(TOLERANCE)),
            },
        })
    }

    fn print(&self, args: &BpdArgs, pictures: &Pictures) -> Result<(), CliError> {
        data(format_args!("{:<24} {:>10} {:>11}", "", "bits/dim", "std. error"))?;
        let row = |name: &str, values: &[f64]| {
            let Mean { mean, error } = Mean::of(values);
            let error = if error.is_nan() { "-".into() } else { format!("{error:.5}") };
            data(format_args!("{name:<24} {mean:>10.5} {error:>11}"))
        };
        if let Some(bound) = &self.bound {
            let last = bound.terms.len() - 1;
            row("L_T, the prior", &bound.prior)?;
            row(&format!("L_{last} + .. + L_1"), &bound.between)?;
            row("L_0, the last step", &bound.l0)?;
        }
        row("total", &self.bits)?;
        let Pictures { channels, height_px, width_px, max_value, .. } = *pictures;
        let levels = usize::from(max_value) + 1;
        data(format_args!(
            "{} pictures of {width_px} x {height_px} px, channels: {channels}, levels: {levels}",
            pictures.len(),
        ))?;
        match args.method {
            Method::Vlb => data(format_args!("{:.0} evaluations a picture", self.nfe())),
            Method::Ode => data(format_args!(
                "{:.1} evaluations a picture, tolerance {:e}",
                self.nfe(),
                args.tolerance.unwrap_or(TOLERANCE)
            )),
        }
    }

    /// The terms, and the errors behind them, over the timesteps. These are counted from 1 here, so that
    /// a logarithmic axis has a place for the first.
    fn plot(&self) -> Result<sumi_pictures::Picture, CliError> {
        let none = Parts::default();
        let bound = self.bound.as_ref().unwrap_or(&none);
        let series = |name: &str, sums: &[f64]| Series {
            name: name.into(),
            points: (1..).map(|t: u32| f64::from(t)).zip(self.by_timestep(sums)).collect(),
        };
        let panel = |title: &str, y_label: &str, series| Plot {
            title: title.into(),
            x_label: "timestep + 1".into(),
            y_label: y_label.into(),
            series,
            log_x: true,
            log_y: true,
            ..Plot::default()
        };
        let total = Mean::of(&self.bits);
        let title = format!("Lₜ, in all {:.4} bits/dim", total.mean);
        let plots = [
            panel(&title, "bits/dim", vec![series("", &bound.terms)]),
            panel(
                "mean squared error",
                "",
                vec![series("ε", &bound.eps_error), series("x₀", &bound.x0_error)],
            ),
        ];
        Ok(panels(&plots, 2, 560, 400)?)
    }
}
