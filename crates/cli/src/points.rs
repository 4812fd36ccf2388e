//! Samples of models of the plane.

use crate::error::CliError;
use sumi_pictures::{Picture, Plane};
use sumi_process::NoiseLevel;

/// The side of a sheet, and of a frame of a film.
const SIDE_PX: usize = 480;
pub const FRAME_PX: usize = 360;

/// Samples `[N, 2]` on one sheet.
///
/// # Errors
/// None that a caller could cause.
pub fn scatter(samples: &[f32], classes: &[u32]) -> Result<Picture, CliError> {
    let plane = Plane::of_samples(samples, classes);
    let title = format!("{} points", plane.points.len());
    Ok(Plane { title, ..plane }.draw(SIDE_PX)?)
}

/// Samples `[N, 2]` on their way.
///
/// # Errors
/// None that a caller could cause.
pub fn moment(level: NoiseLevel, samples: &[f32], classes: &[u32]) -> Result<Picture, CliError> {
    Ok(view(level, samples, classes).draw(FRAME_PX)?)
}

/// Samples at a level, in a view that holds nearly all of them: data lies within its reach, noise within
/// 2.6 standard deviations.
pub fn view(level: NoiseLevel, samples: &[f32], classes: &[u32]) -> Plane {
    let plane = Plane::of_samples(samples, classes);
    let reach = (level.alpha * plane.reach).hypot(2.6 * level.sigma);
    let title = format!("α {:.2}  σ {:.2}", level.alpha, level.sigma);
    Plane { title, reach, ..plane }
}
