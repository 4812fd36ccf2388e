//! MNIST and its relatives, from IDX files.

use super::one_class;
use crate::fit::{Fit, Raster, fit};
use crate::{DataError, Pictures, Result};
use image::{Luma, Pixel, Rgb};
use std::path::Path;
use sumi_formats::idx;

/// Loads pictures and, where there are any, their labels.
pub(super) fn load(
    images: &Path,
    labels: Option<&Path>,
    size_px: Option<usize>,
    how: Fit,
) -> Result<Pictures> {
    let file = idx::read(images)?;
    let (count, height_px, width_px, channels) = match file.dims[..] {
        [count, height, width] => (count, height, width, 1),
        [count, height, width, channels @ (1 | 3)] => (count, height, width, channels),
        _ => {
            let expected = "[N, H, W] or [N, H, W, 1 or 3]";
            let found = format!("{:?}", file.dims);
            return Err(DataError::mismatch(images, "dimensions", expected, found));
        }
    };
    if count == 0 || height_px == 0 || width_px == 0 {
        let found = format!("{:?}", file.dims);
        return Err(DataError::mismatch(images, "dimensions", "at least one of each", found));
    }
    let (labels, class_names) = match labels {
        None => (vec![0; count], one_class()),
        Some(path) => read_labels(path, count)?,
    };
    let mut pictures = Pictures {
        height_px,
        width_px,
        channels,
        pixels: file.data,
        labels,
        class_names,
        max_value: u8::MAX,
    };
    if let Some(size_px) = size_px {
        pictures.pixels = match channels {
            1 => fit_all::<Luma<u8>>(images, &pictures, size_px, how)?,
            _ => fit_all::<Rgb<u8>>(images, &pictures, size_px, how)?,
        };
        (pictures.height_px, pictures.width_px) = (size_px, size_px);
    }
    Ok(pictures)
}

/// Reads the labels of `count` pictures; every class up to the highest label has its number for a
/// name.
fn read_labels(path: &Path, count: usize) -> Result<(Vec<u32>, Vec<String>)> {
    let file = idx::read(path)?;
    if file.dims != [count] {
        let (expected, found) = (format!("[{count}], one a picture"), format!("{:?}", file.dims));
        return Err(DataError::mismatch(path, "dimensions", expected, found));
    }
    let highest = file.data.iter().max().copied().unwrap_or(0);
    let names = (0..=highest).map(|label| label.to_string()).collect();
    Ok((file.data.into_iter().map(u32::from).collect(), names))
}

fn fit_all<P: Pixel<Subpixel = u8> + 'static>(
    path: &Path,
    pictures: &Pictures,
    size_px: usize,
    how: Fit,
) -> Result<Vec<u8>> {
    let (width, height) = (pictures.width_px as u32, pictures.height_px as u32);
    let mut pixels = Vec::with_capacity(pictures.len() * size_px * size_px * pictures.channels);
    for picture in pictures.iter() {
        let mismatch = |expected| {
            let found = format!("{width} x {height}");
            DataError::mismatch(path, "image size", expected, found)
        };
        let raster = Raster::<P>::from_raw(width, height, picture.pixels.to_vec())
            .ok_or_else(|| mismatch("whole pictures".to_owned()))?;
        pixels.extend_from_slice(fit(raster, [size_px; 2], how).map_err(mismatch)?.as_raw());
    }
    Ok(pixels)
}
