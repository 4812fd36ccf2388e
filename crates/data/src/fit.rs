use crate::resize::{Filter, MAX_SIDE_PX, resize};
use image::imageops;
use image::{ImageBuffer, Pixel};
use serde::{Deserialize, Serialize};

/// How a picture of another size becomes one of the wanted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Centred on black, unscaled; a larger picture is an error. MNIST's 28 pixels become 32 so.
    Pad,
    /// Scaled until it just covers the wanted size (a square: until the shorter side fits), then cut
    /// from the centre.
    CentreCrop,
    /// Scaled to it, whatever that does to its proportions.
    Stretch,
    /// Left alone; a picture of another size is an error.
    Exact,
}

/// 8-bit pixels of one kind.
pub(crate) type Raster<P> = ImageBuffer<P, Vec<u8>>;

/// Makes a picture one of `size_px`, height and width, or says what was expected of it.
///
/// Scaling is Pillow's bicubic.
pub(crate) fn fit<P: Pixel<Subpixel = u8> + 'static>(
    picture: Raster<P>,
    size_px: [usize; 2],
    fit: Fit,
) -> std::result::Result<Raster<P>, String> {
    // Both fit: `DataConfig::check` and models bound the size.
    let [wanted_h, wanted_w] = size_px.map(|side| side as u32);
    let (width, height) = picture.dimensions();
    if (width, height) == (wanted_w, wanted_h) {
        return Ok(picture);
    }
    match fit {
        Fit::Exact => Err(format!("{wanted_w} x {wanted_h} pixels (fit = \"exact\")")),
        Fit::Pad if width > wanted_w || height > wanted_h => {
            Err(format!("at most {wanted_w} x {wanted_h} pixels (fit = \"pad\")"))
        }
        Fit::Pad => {
            let mut padded = Raster::new(wanted_w, wanted_h);
            let (left, top) = ((wanted_w - width) / 2, (wanted_h - height) / 2);
            imageops::replace(&mut padded, &picture, left.into(), top.into());
            Ok(padded)
        }
        Fit::Stretch => scale(&picture, wanted_w, wanted_h),
        Fit::CentreCrop => {
            // The side that lacks more decides; the other rounds to nearest, which cannot fall below
            // what is wanted.
            let by_height =
                u64::from(wanted_h) * u64::from(width) >= u64::from(wanted_w) * u64::from(height);
            let (wanted, own) = if by_height { (wanted_h, height) } else { (wanted_w, width) };
            let (wanted, own) = (u64::from(wanted), u64::from(own));
            let scaled = |side: u32| {
                let side = (u64::from(side) * wanted + own / 2) / own;
                // A strip one pixel wide would otherwise grow without bound.
                u32::try_from(side).ok().filter(|&side| side as usize <= MAX_SIDE_PX)
            };
            let (Some(width), Some(height)) = (scaled(width), scaled(height)) else {
                return Err("a picture less narrow than this one".to_owned());
            };
            let resized = scale(&picture, width, height)?;
            let (left, top) = ((width - wanted_w) / 2, (height - wanted_h) / 2);
            Ok(imageops::crop_imm(&resized, left, top, wanted_w, wanted_h).to_image())
        }
    }
}

fn scale<P: Pixel<Subpixel = u8> + 'static>(
    picture: &Raster<P>,
    width: u32,
    height: u32,
) -> std::result::Result<Raster<P>, String> {
    let (own_w, own_h) = picture.dimensions();
    let dims = [own_h as usize, own_w as usize, usize::from(P::CHANNEL_COUNT)];
    let size_px = [height as usize, width as usize];
    let pixels = resize(picture.as_raw(), dims, size_px, Filter::Bicubic);
    let pixels = pixels.map_err(|error| error.to_string())?;
    Raster::from_raw(width, height, pixels).ok_or_else(|| "whole pictures".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Luma;

    fn ramp(width: u32, height: u32) -> Raster<Luma<u8>> {
        Raster::from_fn(width, height, |x, _| Luma([(x * 20) as u8]))
    }

    #[test]
    fn padding_centres_on_black() {
        let padded = fit(ramp(3, 2), [4, 4], Fit::Pad).unwrap();
        assert_eq!(padded.as_raw()[..], [0, 0, 0, 0, 0, 20, 40, 0, 0, 20, 40, 0, 0, 0, 0, 0]);
        assert!(fit(ramp(5, 2), [4, 4], Fit::Pad).unwrap_err().contains("at most 4 x 4"));
    }

    #[test]
    fn cropping_keeps_the_centre_and_stretching_keeps_all() {
        let cropped = fit(ramp(10, 4), [4, 4], Fit::CentreCrop).unwrap();
        assert_eq!(cropped.as_raw()[..4], [60, 80, 100, 120]);
        let stretched = fit(ramp(10, 4), [4, 4], Fit::Stretch).unwrap();
        assert_eq!(stretched.dimensions(), (4, 4));
        assert!(stretched.as_raw()[0] < 40 && stretched.as_raw()[3] > 140);
        assert!(fit(ramp(10, 4), [4, 4], Fit::Exact).unwrap_err().contains("4 x 4"));
        let wide = fit(ramp(10, 4), [2, 3], Fit::CentreCrop).unwrap();
        // The first of the middle three of five columns, each of which was two.
        assert_eq!(wide.dimensions(), (3, 2));
        assert!((40..60).contains(&wide.as_raw()[0]), "{:?}", wide.as_raw());
        assert_eq!(fit(ramp(4, 10), [2, 4], Fit::CentreCrop).unwrap().dimensions(), (4, 2));
        assert!(fit(ramp(60_000, 1), [32, 32], Fit::CentreCrop).is_err());
    }
}
