//! `sumi film`.

mod pictures;
mod points;

use crate::args::{ClassArg, FilmArgs};
use crate::error::CliError;
use crate::output::data;
use crate::sample::{check_parents, warn_of_little_noise};
use crate::signals::Stop;
use crate::{device, progress};
use std::ops::ControlFlow;
use std::path::Path;
use sumi_model::{
    Batch, Classes, Generator, Model, ModelError, POINT, Plan, Request, SamplerChoice,
};
use sumi_pictures::{Picture, gif};
use sumi_process::NoiseLevel;
use sumi_sampler::Moment;

pub fn run(args: &FilmArgs) -> Result<(), CliError> {
    for path in &args.out {
        kind_of(path)?;
        check_parents([&Some(path.clone())])?;
    }
    let model = Model::open(&args.model, &device::open(args.device)?)?;
    let choice = SamplerChoice {
        kind: args.sampler,
        steps: args.steps,
        eta: args.eta,
        grid: args.grid_kind,
        rho: args.grid_rho,
        ..SamplerChoice::default()
    };
    let plan = Plan::new(&model.scheduler, choice)?;
    warn_of_little_noise(&plan);
    let reel: Box<dyn Reel> = match model.picture_dims()? {
        POINT => Box::new(points::shoot(args, &model, &plan)?),
        dims => Box::new(pictures::shoot(args, &model, &plan, dims)?),
    };
    for path in &args.out {
        match kind_of(path)? {
            Kind::Sheet => reel.sheet(&title(args, &plan))?.write_png(path)?,
            Kind::Film => gif(&reel.frames()?, 80, 2500, path)?,
        }
        data(path.display())?;
    }
    Ok(())
}

/// What was seen, ready to be drawn.
trait Reel {
    /// A few moments on one sheet.
    fn sheet(&self, title: &str) -> Result<Picture, CliError>;
    /// Moment after moment.
    fn frames(&self) -> Result<Vec<Picture>, CliError>;
}

/// What a file shows.
enum Kind {
    Sheet,
    Film,
}

fn kind_of(path: &Path) -> Result<Kind, CliError> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("png") => Ok(Kind::Sheet),
        Some("gif") => Ok(Kind::Film),
        _ => Err(CliError::Usage(format!(
            "--out: expected a file that ends in .png (a sheet) or .gif (a film), found {}",
            path.display()
        ))),
    }
}

fn title(args: &FilmArgs, plan: &Plan) -> String {
    let class = match args.class {
        ClassArg::All => String::new(),
        ClassArg::One(class) => format!(", class {class}"),
    };
    let (name, steps) = (plan.sampler.entry().name, plan.grid.len());
    format!("{name}, {steps} steps{class}, seed {}", args.seed)
}

/// Samples on their way, step after step.
struct Way {
    shots: Vec<Shot>,
    /// Where they arrived.
    end: Vec<f32>,
    /// The class of each sample, where the model has classes.
    classes: Vec<u32>,
}

/// One moment: states, and what the denoiser said about them.
struct Shot {
    level: NoiseLevel,
    /// What the network was told of the level.
    time: f64,
    x_t: Vec<f32>,
    x0: Vec<f32>,
}

/// Draws `count` samples at once and keeps what every step saw.
fn shoot(args: &FilmArgs, model: &Model, plan: &Plan, count: usize) -> Result<Way, CliError> {
    let classes = match args.class {
        ClassArg::All => Classes::All,
        ClassArg::One(class) => Classes::One(class),
    };
    let request = Request { count, batch: count, seed: args.seed, classes, noise: None };
    let mut generator = Generator::new(model, plan, request)?;
    let stop = Stop::listen()?;
    let steps = plan.grid.len();
    let bar = progress::bar("filming", (generator.batches() * steps) as u64);
    // An adaptive sampler draws sample after sample.
    let mut seen: Vec<(Vec<f32>, Vec<f32>)> = vec![Default::default(); steps];
    let (mut x_t, mut classes) = (Vec::new(), Vec::new());
    loop {
        let drawn = generator.next_batch(&mut |moment: Moment<'_, Batch>| {
            bar.inc(1);
            if let Some((next, x0)) = seen.get_mut(moment.step) {
                next.extend(moment.x.to_vec());
                x0.extend(moment.x0.to_vec());
            }
            match stop.requested() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let drawn = drawn.map_err(|error| match error {
            ModelError::Cancelled => CliError::Failed("stopped; nothing was written".into()),
            other => other.into(),
        });
        let Some(batch) = drawn.inspect_err(|_| bar.finish_and_clear())? else { break };
        x_t.extend(batch.start);
        classes.extend(batch.classes);
    }
    bar.finish_and_clear();
    let mut shots = Vec::with_capacity(steps);
    for (interval, (next, x0)) in plan.grid.intervals.iter().zip(seen) {
        let level = interval.from;
        let told = plan.grid.told(level);
        let time = told.unwrap_or_else(|| plan.parameterisation.network_time(level));
        shots.push(Shot { level, time, x_t, x0 });
        x_t = next;
    }
    Ok(Way { shots, end: x_t, classes })
}

/// Three significant digits, and no more than it takes.
fn number(x: f64) -> String {
    match x.abs() {
        _ if x.fract() == 0.0 && x.abs() < 1e6 => format!("{x:.0}"),
        size if size >= 99.95 => format!("{x:.0}"),
        size if size >= 9.995 => format!("{x:.1}"),
        size if size >= 0.9995 => format!("{x:.2}"),
        _ => format!("{x:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let texts = [999.0, 157.4074, 12.34, 3.1444, 0.01, 888.5].map(number);
        assert_eq!(texts, ["999", "157", "12.3", "3.14", "0.0100", "888"]);
    }
}
