//! One way from noise to a picture.

use super::{Reel, Shot, Way, number};
use crate::args::FilmArgs;
use crate::error::CliError;
use sumi_model::{Model, Plan};
use sumi_pictures::plot::{Plot, Series, panels};
use sumi_pictures::{GridOptions, Picture, stacked};
use sumi_process::NoiseLevel;

/// Columns of the sheet, and frames of the film.
const COLUMNS: usize = 12;
const FRAMES: usize = 60;
/// The height of each kind of picture, about.
const CELL_PX: usize = 80;
const FRAME_CELL_PX: usize = 160;

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
pub struct OneWay {
    way: Way,
    dims: [usize; 3],
}

/// Draws one sample of `dims`.
///
/// # Errors
/// A class that the model does not have, a sample that is not finite, or the user's wish to stop.
pub fn shoot(
    args: &FilmArgs,
    model: &Model,
    plan: &Plan,
    dims: [usize; 3],
) -> Result<OneWay, CliError> {
    Ok(OneWay { way: super::shoot(args, model, plan, 1)?, dims })
}

impl OneWay {
    /// `count` shots, evenly, the first and the last among them.
    fn evenly(&self, count: usize) -> Vec<&Shot> {
        let last = self.way.shots.len().saturating_sub(1);
        let gaps = count.min(self.way.shots.len()).saturating_sub(1).max(1);
        let mut places: Vec<usize> = (0..=gaps).map(|i| (i * last + gaps / 2) / gaps).collect();
        places.dedup();
        places.into_iter().filter_map(|i| self.way.shots.get(i)).collect()
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

    fn plots(&self) -> [Plot; 2] {
        let along = |name: &str, size: &dyn Fn(&Shot) -> f64| Series {
            name: name.into(),
            points: self.way.shots.iter().map(|shot| (shot.level.log_snr(), size(shot))).collect(),
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
                    along("|x₀ by then - the picture|", &|shot| {
                        distance(&shot.x0, &self.way.end)
                    }),
                ],
            ),
        ]
    }
}

impl Reel for OneWay {
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
