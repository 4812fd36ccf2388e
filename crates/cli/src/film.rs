//! `sumi film`.

use crate::args::{ClassArg, FilmArgs};
use crate::error::CliError;
use crate::output::data;
use crate::sample::{check_parents, warn_of_little_noise};
use crate::signals::Stop;
use crate::{device, progress};
use std::ops::ControlFlow;
use std::path::Path;
use sumi_model::{Batch, Classes, Generator, Model, ModelError, Plan, Request, SamplerChoice};
use sumi_pictures::plot::{Plot, Series, panels};
use sumi_pictures::{GridOptions, Picture, gif, stacked};
use sumi_process::NoiseLevel;
use sumi_sampler::Moment;

/// Columns of the sheet, and frames of the film.
const COLUMNS: usize = 12;
const FRAMES: usize = 60;
/// The height of each kind of picture, about.
const CELL_PX: usize = 80;
const FRAME_CELL_PX: usize = 160;

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
    let reel = shoot(args, &model, &plan)?;
    for path in &args.out {
        match kind_of(path)? {
            Kind::Sheet => reel.sheet(&title(args, &plan))?.write_png(path)?,
            Kind::Film => gif(&reel.frames()?, 80, 2500, path)?,
        }
        data(path.display())?;
    }
    Ok(())
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

/// Draws one sample and keeps what every step saw.
fn shoot(args: &FilmArgs, model: &Model, plan: &Plan) -> Result<Reel, CliError> {
    let classes = match args.class {
        ClassArg::All => Classes::All,
        ClassArg::One(class) => Classes::One(class),
    };
    let request = Request { count: 1, batch: 1, seed: args.seed, classes, noise: None };
    let mut generator = Generator::new(model, plan, request)?;
    let stop = Stop::listen()?;
    let bar = progress::bar("filming", plan.grid.len() as u64);
    let mut seen: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
    let drawn = generator.next_batch(&mut |moment: Moment<'_, Batch>| {
        bar.inc(1);
        seen.push((moment.x.to_vec(), moment.x0.to_vec()));
        match stop.requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let drawn = match drawn {
        Err(ModelError::Cancelled) => {
            return Err(CliError::Failed("stopped; nothing was written".into()));
        }
        other => other?,
    };
    let mut x_t = drawn.map(|batch| batch.start).unwrap_or_default();
    let mut shots = Vec::new();
    for (interval, (next, x0)) in plan.grid.intervals.iter().zip(seen) {
        let level = interval.from;
        let told = plan.grid.told(level);
        let time = told.unwrap_or_else(|| plan.parameterisation.network_time(level));
        shots.push(Shot { level, time, x_t, x0 });
        x_t = next;
    }
    Ok(Reel { shots, end: x_t, dims: generator.dims() })
}

/// One moment: a state, and what the denoiser said about it.
struct Shot {
    level: NoiseLevel,
    /// What the network was told of the level.
    time: f64,
    x_t: Vec<f32>,
    x0: Vec<f32>,
}

impl Shot {
    /// `-grad log p(x_t) = (x_t - alpha x_0) / sigma^2`, by the estimate that the step went by.
    fn score(&self) -> Vec<f64> {
        let NoiseLevel { alpha, sigma } = self.level;
        let of =
            |(x_t, x0): (&f32, &f32)| (f64::from(*x_t) - alpha * f64::from(*x0)) / (sigma * sigma);
        self.x_t.iter().zip(&self.x0).map(of).collect()
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| f64::from(a - b)))
}

/// One way from noise to a picture.
struct Reel {
    shots: Vec<Shot>,
    end: Vec<f32>,
    dims: [usize; 3],
}

impl Reel {
    /// `count` shots, evenly, the first and the last among them.
    fn evenly(&self, count: usize) -> Vec<&Shot> {
        let last = self.shots.len().saturating_sub(1);
        let gaps = count.min(self.shots.len()).saturating_sub(1).max(1);
        let mut places: Vec<usize> = (0..=gaps).map(|i| (i * last + gaps / 2) / gaps).collect();
        places.dedup();
        places.into_iter().filter_map(|i| self.shots.get(i)).collect()
    }

    /// State, estimate and score of one moment.
    fn pictures(&self, shot: &Shot) -> Result<[Picture; 3], CliError> {
        let [c, h, w] = self.dims;
        // Where noise is added without taking data away, states outgrow the range of pictures.
        let NoiseLevel { alpha, sigma } = shot.level;
        let size = alpha.hypot(sigma).max(1.0) as f32;
        let x_t: Vec<f32> = shot.x_t.iter().map(|x| x / size).collect();
        let score = shot.score();
        let plane = h * w;
        let of_pixel = |at: usize| norm((0..c).map(|channel| score[channel * plane + at]));
        let sizes: Vec<f64> = (0..plane).map(of_pixel).collect();
        let most = sizes.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Ok([
            Picture::from_unit_range(&x_t, c, h, w)?,
            Picture::from_unit_range(&shot.x0, c, h, w)?,
            Picture::heat(&sizes, h, w, most)?,
        ])
    }

    /// A column a moment, a row a kind, and how the sizes run below.
    fn sheet(&self, title: &str) -> Result<Picture, CliError> {
        let shots = self.evenly(COLUMNS);
        let columns =
            shots.iter().map(|shot| self.pictures(shot)).collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<Picture> =
            (0..3).flat_map(|row| columns.iter().map(move |column| column[row].clone())).collect();
        let options = GridOptions {
            columns: shots.len(),
            scale: CELL_PX.div_ceil(self.dims[1]),
            gap_px: 4,
            row_labels: vec!["xₜ".into(), "x₀ by then".into(), "|score|".into()],
            column_labels: shots.iter().map(|shot| format!("t {}", number(shot.time))).collect(),
            title: Some(title.into()),
        };
        let film = options.draw(&pictures)?;
        let width = (film.width_px / 2).clamp(320, 8192);
        Ok(stacked(&[film, panels(&self.plots(), 2, width, 260)?])?)
    }

    fn plots(&self) -> [Plot; 2] {
        let along = |name: &str, size: &dyn Fn(&Shot) -> f64| Series {
            name: name.into(),
            points: self.shots.iter().map(|shot| (shot.level.log_snr(), size(shot))).collect(),
        };
        let plot = |title: &str, log_y, series| Plot {
            title: title.into(),
            x_label: "log-SNR: noise to the left, data to the right".into(),
            series,
            log_y,
            ..Plot::default()
        };
        [
            plot(
                "size of the score",
                true,
                vec![along("", &|shot| norm(shot.score().into_iter()))],
            ),
            plot(
                "distances",
                false,
                vec![
                    along("|xₜ - x₀ by then|", &|shot| distance(&shot.x_t, &shot.x0)),
                    along("|x₀ by then - the picture|", &|shot| distance(&shot.x0, &self.end)),
                ],
            ),
        ]
    }

    /// State, estimate and score side by side, moment after moment.
    fn frames(&self) -> Result<Vec<Picture>, CliError> {
        let frame = |shot: &Shot| {
            let title = format!(
                "t {:<4}  σ/α {:<7}  log-SNR {:<6.1}",
                number(shot.time),
                number(shot.level.ratio()),
                shot.level.log_snr()
            );
            let options = GridOptions {
                columns: 3,
                scale: FRAME_CELL_PX.div_ceil(self.dims[1]),
                gap_px: 6,
                row_labels: Vec::new(),
                column_labels: ["xₜ", "x₀ by then", "|score|"].map(String::from).into(),
                title: Some(title),
            };
            // One of them is in colour, so all frames are.
            Ok(options.draw(&self.pictures(shot)?)?)
        };
        self.evenly(FRAMES).into_iter().map(frame).collect()
    }
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
