//! How samples are shown.

use super::Drawn;
use crate::error::CliError;
use crate::points;
use sumi_model::POINT;
use sumi_pictures::{GridOptions, Picture, grid, sheet_layout, to_byte};
use sumi_process::NoiseLevel;

/// What a model's samples are to the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Pictures, each with its channels, height and width.
    Pictures([usize; 3]),
    /// Points of the plane, all on one sheet.
    Points,
}

/// The samples at one moment of a film.
pub struct Frame {
    /// How noisy they are.
    pub level: NoiseLevel,
    /// Their values, sample after sample.
    pub samples: Vec<f32>,
}

impl Look {
    /// What samples of `dims`, channels, height and width, are.
    pub fn of(dims: [usize; 3]) -> Self {
        match dims {
            POINT => Self::Points,
            dims => Self::Pictures(dims),
        }
    }

    /// How many samples show what a model does.
    pub fn usual_count(self) -> usize {
        match self {
            Self::Pictures(_) => 100,
            Self::Points => 1000,
        }
    }

    /// How many samples at a time.
    pub fn usual_batch(self) -> usize {
        match self {
            Self::Pictures(_) => 64,
            Self::Points => 1000,
        }
    }

    /// How many samples of a batch a film shows at most.
    pub fn filmed(self) -> usize {
        match self {
            Self::Pictures(_) => 100,
            Self::Points => 2000,
        }
    }

    /// All of them on one sheet: pictures a row a class, points in the colours of their classes.
    ///
    /// # Errors
    /// Too large a sheet.
    pub fn sheet(self, drawn: &Drawn) -> Result<Picture, CliError> {
        let Self::Pictures([_, h, _]) = self else {
            return points::scatter(&drawn.samples, &drawn.classes);
        };
        let (order, columns) = sheet_layout(&drawn.classes, drawn.pictures.len());
        let pictures: Vec<Picture> = order.into_iter().map(|i| drawn.pictures[i].clone()).collect();
        let scale = 1 + 47 / h;
        Ok(GridOptions { columns, scale, ..GridOptions::default() }.draw(&pictures)?)
    }

    /// The bytes of all samples, `[N, H, W, C]`.
    pub fn pixels(self, drawn: &Drawn) -> Vec<u8> {
        match self {
            Self::Pictures(_) => {
                drawn.pictures.iter().flat_map(|p| p.pixels.iter().copied()).collect()
            }
            Self::Points => drawn.samples.iter().map(|&x| to_byte(x)).collect(),
        }
    }

    /// One picture a moment.
    ///
    /// # Errors
    /// Too large a picture.
    pub fn film(self, frames: &[Frame], classes: &[u32]) -> Result<Vec<Picture>, CliError> {
        match self {
            Self::Points => {
                let of = |frame: &Frame| points::moment(frame.level, &frame.samples, classes);
                frames.iter().map(of).collect()
            }
            Self::Pictures(dims) => sheets(frames, classes, dims),
        }
    }
}

/// One sheet of pictures for each moment.
fn sheets(
    frames: &[Frame],
    classes: &[u32],
    [c, h, w]: [usize; 3],
) -> Result<Vec<Picture>, CliError> {
    let each = c * h * w;
    let count = frames.first().map_or(0, |frame| frame.samples.len() / each);
    let classes = classes.get(..count).unwrap_or_default();
    let (order, columns) = sheet_layout(classes, count);
    frames
        .iter()
        .map(|frame| {
            let picture = |&i: &usize| {
                Picture::from_unit_range(&frame.samples[i * each..(i + 1) * each], c, h, w)
            };
            let pictures = order.iter().map(picture).collect::<Result<Vec<_>, _>>()?;
            Ok(grid(&pictures, columns, 1 + 15 / h, 1)?)
        })
        .collect()
}
