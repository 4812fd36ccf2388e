//! `sumi schedule`.

mod sampling;

use crate::args::{ScheduleArgs, ScheduleKind};
use crate::error::CliError;
use crate::output::data;
use serde_json::json;
use sumi_pictures::plot::{Plot, Series, panels};
use sumi_process::{BetaSchedule, Schedule};

pub fn run(args: &ScheduleArgs) -> Result<(), CliError> {
    let (shape, published) = match args.kind {
        ScheduleKind::Linear => (BetaSchedule::Linear, (1e-4, 0.02)),
        ScheduleKind::Cosine => (BetaSchedule::Cosine, (1e-4, 0.02)),
        ScheduleKind::ScaledLinear => (BetaSchedule::ScaledLinear, (0.00085, 0.012)),
        ScheduleKind::Sigmoid => (BetaSchedule::Sigmoid, (1e-4, 0.02)),
        ScheduleKind::Sqrt => (BetaSchedule::Sqrt, (1e-4, 0.02)),
    };
    if !shape.has_end_points() && (args.beta_start, args.beta_end) != (None, None) {
        return Err(CliError::Usage(format!(
            "--kind {}: expected no --beta-start and no --beta-end, which it does not have",
            if shape == BetaSchedule::Cosine { "cosine" } else { "sqrt" }
        )));
    }
    // A table of this many rows is still printed in seconds.
    if !(1..=1_000_000).contains(&args.steps) {
        return Err(CliError::Usage(format!(
            "--steps: expected 1 to 1000000, found {}",
            args.steps
        )));
    }
    let beta_start = args.beta_start.unwrap_or(published.0);
    let beta_end = args.beta_end.unwrap_or(published.1);
    let schedule = Schedule::new(shape, args.steps, beta_start, beta_end)
        .map_err(|error| CliError::Usage(format!("--{}", error.to_string().replace('_', "-"))))?;
    if let Some(kind) = args.sampler {
        return sampling::run(args, kind, schedule);
    }
    let tables = Tables::new(&schedule);
    if let Some(path) = &args.plot {
        tables.plot()?.write_png(path)?;
    }
    match args.json {
        true => data(format_args!("{}", tables.json()))?,
        false => tables.print()?,
    }
    Ok(())
}

/// One row for every timestep.
struct Tables<'a> {
    schedule: &'a Schedule,
    log_snr: Vec<f64>,
    posterior: Vec<sumi_process::Posterior>,
}

impl<'a> Tables<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        let timesteps = 0..schedule.timesteps();
        Self {
            schedule,
            log_snr: timesteps.clone().map(|t| schedule.level(t).log_snr()).collect(),
            posterior: timesteps.map(|t| schedule.posterior(t)).collect(),
        }
    }

    fn json(&self) -> serde_json::Value {
        let of = |f: fn(&sumi_process::Posterior) -> f64| -> Vec<f64> {
            self.posterior.iter().map(f).collect()
        };
        json!({
            "betas": self.schedule.betas(),
            "alphas_cumprod": self.schedule.alpha_bars(),
            "log_snr": self.log_snr,
            "posterior_variance": of(|p| p.variance),
            "posterior_mean_coef_x0": of(|p| p.coef_x0),
            "posterior_mean_coef_xt": of(|p| p.coef_xt),
        })
    }

    /// Eleven rows are enough to see the shape.
    fn print(&self) -> Result<(), CliError> {
        data(format_args!(
            "timestep         beta    alpha_bar    log_snr  post. var.    coef x0    coef x_t"
        ))?;
        let last = self.schedule.timesteps() - 1;
        let mut rows: Vec<usize> = (0..=10).map(|i| i * last / 10).collect();
        rows.dedup();
        for t in rows {
            let p = self.posterior[t];
            data(format_args!(
                "{t:>8} {:>12.5e} {:>12.5e} {:>10.4} {:>11.4e} {:>10.4e} {:>11.4e}",
                self.schedule.betas()[t],
                self.schedule.alpha_bar(t),
                self.log_snr[t],
                p.variance,
                p.coef_x0,
                p.coef_xt
            ))?;
        }
        Ok(())
    }

    fn plot(&self) -> Result<sumi_pictures::Picture, CliError> {
        let panel = |title: &str, log_y, values: &mut dyn Iterator<Item = f64>| Plot {
            title: title.into(),
            x_label: "timestep".into(),
            series: vec![Series {
                name: String::new(),
                points: values.enumerate().map(|(t, y)| (t as f64, y)).collect(),
            }],
            log_y,
            ..Plot::default()
        };
        // The variance of timestep 0 is exactly 0, which a logarithmic axis leaves out.
        let plots = [
            panel("ᾱₜ", false, &mut self.schedule.alpha_bars().iter().copied()),
            panel("log-SNR", false, &mut self.log_snr.iter().copied()),
            panel("posterior variance", true, &mut self.posterior.iter().map(|p| p.variance)),
        ];
        Ok(panels(&plots, 3, 440, 340)?)
    }
}
