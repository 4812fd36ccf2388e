//! Many points on their way from noise to data, in the field that moves them.

use super::{Reel, Shot, Way, number};
use crate::args::{ClassArg, FilmArgs};
use crate::error::CliError;
use crate::points::{FRAME_PX, view};
use burn::tensor::{Tensor, TensorData};
use std::f64::consts::FRAC_PI_2;
use sumi_model::{Batch, Model, Plan, UNetDenoiser};
use sumi_pictures::{GridOptions, Picture, Plane};
use sumi_process::NoiseLevel;
use sumi_sampler::Denoiser;

/// From where, and by how much.
type Arrow = ([f64; 2], [f64; 2]);

/// How many points.
const PARTICLES: usize = 600;
/// Moments of the sheet, and of the film.
const PANELS: usize = 6;
const FRAMES: usize = 60;
/// Panels side by side.
const COLUMNS: usize = 3;
const PANEL_PX: usize = 270;
/// Arrows in a row, and rows.
const ARROWS: usize = 18;
/// The size of what there is to see in data that fills [-1, 1]^2.
const DETAIL: f64 = 0.25;

/// Points on their way, and the network to ask for the field.
pub struct Particles<'a> {
    way: Way,
    model: &'a Model,
    plan: &'a Plan,
    /// The class whose field is drawn; `None` for a network without classes.
    class: Option<u32>,
    /// Whether there is one field that moves all points.
    has_field: bool,
}

/// Draws many points at once.
///
/// # Errors
/// A class that the model does not have, a point that is not finite, or the user's wish to stop.
pub fn shoot<'a>(
    args: &FilmArgs,
    model: &'a Model,
    plan: &'a Plan,
) -> Result<Particles<'a>, CliError> {
    let way = super::shoot(args, model, plan, PARTICLES)?;
    let class = match args.class {
        ClassArg::One(class) => Some(class),
        // The field of all classes together is known only to a network that learned to do without.
        ClassArg::All => model.null_class(),
    };
    let has_field = model.classes().is_none() || class.is_some();
    Ok(Particles { way, model, plan, class, has_field })
}

impl Particles<'_> {
    /// At most `count` moments from noise to just before the data. Even in the angle of which
    /// `sigma / alpha` over [`DETAIL`] is the tangent: so shapes come out evenly, whatever the process.
    fn evenly(&self, count: usize) -> Vec<&Shot> {
        let angle = |shot: &Shot| shot.level.sigma.atan2(DETAIL * shot.level.alpha);
        let first = self.way.shots.first().map_or(FRAC_PI_2, angle);
        let mut chosen: Vec<usize> = (0..count)
            .filter_map(|i| {
                let wanted = first * (1.0 - i as f64 / count as f64);
                let off = |i: &usize| (angle(&self.way.shots[*i]) - wanted).abs();
                (0..self.way.shots.len()).min_by(|a, b| off(a).total_cmp(&off(b)))
            })
            .collect();
        chosen.dedup();
        chosen.into_iter().map(|i| &self.way.shots[i]).collect()
    }

    /// Points and field of one moment.
    fn plane(&self, shot: &Shot) -> Result<Plane, CliError> {
        let plane = view(shot.level, &shot.x_t, &self.way.classes);
        let title = format!("t {}  {}", number(shot.time), plane.title);
        let arrows = match self.has_field {
            true => self.field(shot.level, plane.reach)?,
            false => Vec::new(),
        };
        Ok(Plane { title, arrows, ..plane })
    }

    /// Where the points arrived.
    fn end(&self) -> Plane {
        Plane {
            title: "the end".into(),
            ..view(NoiseLevel::CLEAN, &self.way.end, &self.way.classes)
        }
    }

    /// The score `grad log p(x_t) = -eps / sigma` at places all over the view, as [`arrows`].
    fn field(&self, level: NoiseLevel, reach: f64) -> Result<Vec<Arrow>, CliError> {
        let places = places(reach);
        let values: Vec<f32> = places.iter().flatten().map(|&x| x as f32).collect();
        let data = TensorData::new(values, [places.len(), 2, 1, 1]);
        let x_t = Batch(Tensor::from_data(data, &self.model.unet.device()));
        let classes = self.class.map(|class| vec![class; places.len()]);
        let (parameterisation, grid) = (&self.plan.parameterisation, Some(&self.plan.grid));
        let mut denoiser = UNetDenoiser::new(&self.model.unet, classes, parameterisation, grid);
        let said = denoiser.denoise(&x_t, level);
        let eps = said.map_err(|error| CliError::Failed(error.to_string()))?.eps.to_vec();
        Ok(arrows(&places, &eps, 2.0 * reach / ARROWS as f64))
    }
}

/// The middles of `ARROWS` x `ARROWS` equal squares.
fn places(reach: f64) -> Vec<[f64; 2]> {
    let along = |i: usize| reach * ((2 * i + 1) as f64 / ARROWS as f64 - 1.0);
    (0..ARROWS * ARROWS).map(|i| [along(i % ARROWS), along(i / ARROWS)]).collect()
}

/// Arrows against `eps`, which is the score times `-sigma`: that is about 1 long where the points are, at
/// every level. Longer ones grow more slowly and never past the `spacing`.
fn arrows(places: &[[f64; 2]], eps: &[f32], spacing: f64) -> Vec<([f64; 2], [f64; 2])> {
    let arrow = |(&place, eps): (&[f64; 2], &[f32])| {
        let [x, y] = [-f64::from(eps[0]), -f64::from(eps[1])];
        let scale = spacing / (1.0 + x.hypot(y));
        (place, [scale * x, scale * y])
    };
    places.iter().zip(eps.chunks_exact(2)).map(arrow).collect()
}

impl Reel for Particles<'_> {
    /// Moments in reading order.
    fn sheet(&self, title: &str) -> Result<Picture, CliError> {
        let mut panels = self
            .evenly(PANELS - 1)
            .into_iter()
            .map(|shot| Ok(self.plane(shot)?.draw(PANEL_PX)?))
            .collect::<Result<Vec<_>, CliError>>()?;
        panels.push(self.end().draw(PANEL_PX)?);
        let title = format!("{title}, {PARTICLES} points and the score");
        let options = GridOptions {
            columns: COLUMNS,
            scale: 1,
            gap_px: 6,
            title: Some(title),
            ..GridOptions::default()
        };
        Ok(options.draw(&panels)?)
    }

    fn frames(&self) -> Result<Vec<Picture>, CliError> {
        let shots = self.evenly(FRAMES - 1).into_iter();
        let frames = shots.map(|shot| Ok(self.plane(shot)?.draw(FRAME_PX)?));
        let end = std::iter::once_with(|| Ok(self.end().draw(FRAME_PX)?));
        frames.chain(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_against_the_noise_and_stay_apart() {
        let places = places(2.0);
        let corner = 2.0 / ARROWS as f64 - 2.0;
        assert_eq!((places.len(), places[0]), (ARROWS * ARROWS, [corner, corner]));
        let centre = places.iter().flatten().sum::<f64>();
        assert!(centre.abs() < 1e-9, "{centre}");
        let eps: Vec<f32> = (0..2 * places.len()).map(|i| [0.0, 3.0, 1e6, -1e6][i % 4]).collect();
        let arrows = arrows(&places, &eps, 0.2);
        let (start, tip) = arrows[0];
        assert_eq!(start, places[0]);
        assert!(tip[0] == 0.0 && (tip[1] + 0.15).abs() < 1e-9, "{tip:?}");
        for (_, [x, y]) in arrows {
            assert!(x.hypot(y) < 0.2);
        }
    }
}
