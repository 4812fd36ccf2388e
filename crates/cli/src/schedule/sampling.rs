//! The grid of a sampler on a schedule.

use crate::args::ScheduleArgs;
use crate::error::CliError;
use crate::output::data;
use serde_json::{Value, json};
use sumi_model::{ModelError, Plan, SamplerChoice, SchedulerConfig};
use sumi_pictures::Picture;
use sumi_pictures::plot::{Plot, Series, panels};
use sumi_process::{NoiseLevel, Schedule};
use sumi_sampler::SamplerKind;

pub fn run(args: &ScheduleArgs, kind: SamplerKind, schedule: Schedule) -> Result<(), CliError> {
    let config = SchedulerConfig {
        num_train_timesteps: schedule.timesteps(),
        // A table serves every shape, those without a name in diffusers too.
        trained_betas: Some(schedule.betas().to_vec()),
        ..SchedulerConfig::default()
    };
    let choice = SamplerChoice {
        kind: Some(kind),
        steps: args.sampling_steps,
        grid: args.grid_kind,
        rho: args.grid_rho,
        ..SamplerChoice::default()
    };
    let plan = Plan::new(&config, choice).map_err(|error| match error {
        ModelError::Request { field: "steps", expected, found } => {
            ModelError::Request { field: "sampling-steps", expected, found }.into()
        }
        other => CliError::from(other),
    })?;
    let steps = Steps::of(&plan);
    if let Some(path) = &args.plot {
        steps.plot(kind.name, &schedule)?.write_png(path)?;
    }
    match args.json {
        true => data(steps.json(kind.name)),
        false => steps.print(),
    }
}

/// Where each step starts, with what the network is told of it, and where the last one ends.
struct Steps {
    starts: Vec<(NoiseLevel, f64)>,
    end: NoiseLevel,
}

impl Steps {
    fn of(plan: &Plan) -> Self {
        let grid = &plan.grid;
        let told = |level| {
            let known = grid.told(level);
            known.unwrap_or_else(|| plan.parameterisation.network_time(level))
        };
        Self {
            starts: grid.intervals.iter().map(|i| (i.from, told(i.from))).collect(),
            end: grid.intervals.last().map_or(NoiseLevel::CLEAN, |interval| interval.to),
        }
    }

    fn json(&self, sampler: &str) -> Value {
        let of = |level: NoiseLevel| {
            json!({
                "ratio": level.ratio(),
                "alpha": level.alpha,
                "sigma": level.sigma,
                // Infinite, and so null, where there is no noise.
                "log_snr": level.log_snr(),
            })
        };
        let steps = self.starts.iter().enumerate().map(|(step, &(level, timestep))| {
            let mut row = of(level);
            (row["step"], row["timestep"]) = (step.into(), timestep.into());
            row
        });
        json!({ "sampler": sampler, "steps": steps.collect::<Vec<_>>(), "end": of(self.end) })
    }

    fn print(&self) -> Result<(), CliError> {
        data("step  timestep  sigma / alpha        alpha        sigma    log_snr")?;
        let row = |step: &str, timestep: &str, level: NoiseLevel| {
            data(format_args!(
                "{step:>4} {timestep:>9} {:>14.6} {:>12.8} {:>12.8} {:>10.4}",
                level.ratio(),
                level.alpha,
                level.sigma,
                level.log_snr()
            ))
        };
        for (step, &(level, timestep)) in self.starts.iter().enumerate() {
            let timestep = match timestep.fract() {
                0.0 => format!("{timestep:.0}"),
                _ => format!("{timestep:.3}"),
            };
            row(&step.to_string(), &timestep, level)?;
        }
        row("end", "", self.end)
    }

    /// The steps as points on the schedule's curve, and how noise falls from step to step.
    fn plot(&self, sampler: &str, schedule: &Schedule) -> Result<Picture, CliError> {
        let curve = (0..schedule.timesteps()).map(|t| (t as f64, schedule.level(t).ratio()));
        let on_curve = self.starts.iter().map(|&(level, timestep)| (timestep, level.ratio()));
        let falling = self.starts.iter().enumerate().map(|(i, (l, _))| (i as f64, l.log_snr()));
        let falling: Vec<(f64, f64)> = falling.collect();
        let series = |name: &str, points| Series { name: name.into(), points };
        let plot = |title: String, x_label: &str, log_y, series| Plot {
            title,
            x_label: x_label.into(),
            series,
            log_y,
            ..Plot::default()
        };
        let steps = format!("{sampler}, {} steps", self.starts.len());
        let plots = [
            plot(
                "σ / α".into(),
                "timestep",
                true,
                vec![series("the schedule", curve.collect()), series(&steps, dots(on_curve))],
            ),
            plot(
                "log-SNR".into(),
                "step",
                false,
                vec![series("", falling.clone()), series("", dots(falling.into_iter()))],
            ),
        ];
        Ok(panels(&plots, 2, 480, 360)?)
    }
}

/// Points with gaps between them, which are drawn as dots.
fn dots(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    points.flat_map(|point| [point, (f64::NAN, f64::NAN)]).collect()
}
