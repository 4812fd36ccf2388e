use image::imageops::{self, FilterType};
use image::{ImageBuffer, Pixel};
use serde::{Deserialize, Serialize};

/// How a picture of another size becomes a square of the wanted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Centred on black, unscaled; a larger picture is an error. MNIST's 28 pixels become 32 so.
    Pad,
    /// Scaled until the shorter side fits, then cut from the centre.
    CentreCrop,
    /// Scaled to the square, whatever that does to its proportions.
    Stretch,
    /// Left alone; a picture of another size is an error.
    Exact,
}

/// 8-bit pixels of one kind.
pub(crate) type Raster<P> = ImageBuffer<P, Vec<u8>>;

/// Makes a picture a square of `size_px`, or says what was expected of it.
///
/// Scaling is bicubic (Catmull-Rom), with the filter widened when it scales down so that nothing
/// aliases.
pub(crate) fn fit<P: Pixel<Subpixel = u8> + 'static>(
    picture: Raster<P>,
    size_px: usize,
    fit: Fit,
) -> std::result::Result<Raster<P>, String> {
    // Both fit: `DataConfig::check` bounds the size.
    let size = size_px as u32;
    let (width, height) = picture.dimensions();
    if (width, height) == (size, size) {
        return Ok(picture);
    }
    match fit {
        Fit::Exact => Err(format!("{size} x {size} pixels (fit = \"exact\")")),
        Fit::Pad if width > size || height > size => {
            Err(format!("at most {size} x {size} pixels (fit = \"pad\")"))
        }
        Fit::Pad => {
            let mut padded = Raster::new(size, size);
            let (left, top) = ((size - width) / 2, (size - height) / 2);
            imageops::replace(&mut padded, &picture, left.into(), top.into());
            Ok(padded)
        }
        Fit::Stretch => Ok(imageops::resize(&picture, size, size, FilterType::CatmullRom)),
        Fit::CentreCrop => {
            // The longer side rounds to nearest, which cannot fall below the shorter one.
            let shorter = u64::from(width.min(height));
            let scaled = |side: u32| {
                let side = (u64::from(side) * u64::from(size) + shorter / 2) / shorter;
                u32::try_from(side).ok().filter(|&side| side <= MAX_SCALED_PX)
            };
            let (Some(width), Some(height)) = (scaled(width), scaled(height)) else {
                return Err("a picture less narrow than this one".to_owned());
            };
            let resized = imageops::resize(&picture, width, height, FilterType::CatmullRom);
            let (left, top) = ((width - size) / 2, (height - size) / 2);
            Ok(imageops::crop_imm(&resized, left, top, size, size).to_image())
        }
    }
}

/// The longest side that scaling may give, in pixels: a strip one pixel wide would otherwise grow
/// without bound.
const MAX_SCALED_PX: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use image::Luma;

    fn ramp(width: u32, height: u32) -> Raster<Luma<u8>> {
        Raster::from_fn(width, height, |x, _| Luma([(x * 20) as u8]))
    }

    #[test]
    fn padding_centres_on_black() {
        let padded = fit(ramp(3, 2), 4, Fit::Pad).unwrap();
        assert_eq!(padded.as_raw()[..], [0, 0, 0, 0, 0, 20, 40, 0, 0, 20, 40, 0, 0, 0, 0, 0]);
        assert!(fit(ramp(5, 2), 4, Fit::Pad).unwrap_err().contains("at most 4 x 4"));
    }

    #[test]
    fn cropping_keeps_the_centre_and_stretching_keeps_all() {
        let cropped = fit(ramp(10, 4), 4, Fit::CentreCrop).unwrap();
        assert_eq!(cropped.as_raw()[..4], [60, 80, 100, 120]);
        let stretched = fit(ramp(10, 4), 4, Fit::Stretch).unwrap();
        assert_eq!(stretched.dimensions(), (4, 4));
        assert!(stretched.as_raw()[0] < 40 && stretched.as_raw()[3] > 140);
        assert!(fit(ramp(10, 4), 4, Fit::Exact).unwrap_err().contains("4 x 4"));
        assert!(fit(ramp(60_000, 1), 32, Fit::CentreCrop).is_err());
    }
}
