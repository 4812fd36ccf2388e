//! The pixels themselves.

use super::{Extracted, Info};
use crate::Result;
use rayon::prelude::*;
use sumi_data::{Filter, Image, resize};

/// The pixels from 0 to 1, row by row, the channels of a pixel side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// The width that pictures are brought to.
    pub width_px: usize,
    /// The height that pictures are brought to.
    pub height_px: usize,
    /// 1 (grey) or 3.
    pub channels: usize,
}

impl Pixels {
    /// The size and the channels of a picture.
    pub fn of(image: &Image) -> Self {
        let channels = if image.grey { 1 } else { 3 };
        Self { width_px: image.width_px, height_px: image.height_px, channels }
    }

    pub(super) fn info(&self) -> Info {
        Info {
            name: "pixels".into(),
            weights: None,
            sha256: None,
            resize: "bicubic with antialiasing, as PIL's".into(),
            input_px: (self.width_px, self.height_px),
            dims: self.width_px * self.height_px * self.channels,
        }
    }

    pub(super) fn extract(&self, images: &[Image]) -> Result<Extracted> {
        let one = |image: &Image| -> Result<Vec<f32>> {
            let wanted = [self.height_px, self.width_px];
            let own = [image.height_px, image.width_px, 3];
            let resized = resize(&image.rgb, own, wanted, Filter::Bicubic)?;
            let unit = |value: u8| f32::from(value) / 255.0;
            Ok(match self.channels {
                // ITU-R 601, which leaves a grey pixel as it is.
                1 => resized
                    .as_chunks::<3>()
                    .0
                    .iter()
                    .map(|&[r, g, b]| 0.299 * unit(r) + 0.587 * unit(g) + 0.114 * unit(b))
                    .collect(),
                _ => resized.into_iter().map(unit).collect(),
            })
        };
        let rows: Vec<Vec<f32>> = images.par_iter().map(one).collect::<Result<_>>()?;
        Ok(Extracted { features: rows.concat(), scores: Vec::new() })
    }
}
