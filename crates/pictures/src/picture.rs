//! Pixels ready for a file.

use std::{collections::BTreeSet, path::Path};

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use crate::{PictureError, error::within};
use sumi_formats::atomic;

/// An 8-bit picture, grey (1 channel) or RGB (3), row-major with the channel last (HWC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height_px: usize,
    /// Columns.
    pub width_px: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height_px * width_px * channels` bytes.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of `h` rows and `w` columns with `c` channels, from its pixels in HWC order.
    ///
    /// # Errors
    /// A side of 0 or above 2^31, a channel count other than 1 or 3, or pixels that do not fill this size.
    pub fn new(h: usize, w: usize, c: usize, pixels: Vec<u8>) -> Result<Self, PictureError> {
        check_size(h, w, c, pixels.len())?;
        Ok(Self { height_px: h, width_px: w, channels: c, pixels })
    }

    /// Turns one sample in the model's range -1 to 1, channel first (CHW), into pixels.
    ///
    /// `pixel = round(255 clamp(x / 2 + 1/2, 0, 1))`, in f32 with ties to even: what diffusers'
    /// `VaeImageProcessor.denormalize` and `numpy_to_pil` do, bit for bit. NaN becomes 0.
    ///
    /// # Errors
    /// As [`Picture::new`].
    ///
    /// ```
    /// use sumi_pictures::Picture;
    ///
    /// let picture = Picture::from_unit_range(&[-1.0, 0.0, 1.0, 7.0], 1, 2, 2)?;
    /// assert_eq!(picture.pixels, [0, 128, 255, 255]);
    /// # Ok::<(), sumi_pictures::PictureError>(())
    /// ```
    pub fn from_unit_range(
        chw: &[f32],
        c: usize,
        h: usize,
        w: usize,
    ) -> Result<Self, PictureError> {
        check_size(h, w, c, chw.len())?;
        let plane = h * w;
        let pixels = (0..plane)
            .flat_map(|at| (0..c).map(move |channel| to_byte(chw[channel * plane + at])))
            .collect();
        Self::new(h, w, c, pixels)
    }

    /// A picture of one grey level.
    pub(crate) fn filled(h: usize, w: usize, c: usize, level: u8) -> Result<Self, PictureError> {
        within("a picture's height", h, 1, MAX_SIDE_PX)?;
        within("a picture's width", w, 1, MAX_SIDE_PX)?;
        let length = area(h, w, c).unwrap_or(usize::MAX);
        within("a picture's bytes", length, 1, MAX_BYTES)?;
        Self::new(h, w, c, vec![level; length])
    }

    /// Makes each pixel a square of `factor` pixels (nearest neighbour); 0 counts as 1.
    pub fn scaled(&self, factor: usize) -> Picture {
        let factor = factor.max(1);
        let row_bytes = self.width_px * self.channels;
        let mut pixels = Vec::with_capacity(self.pixels.len() * factor * factor);
        for row in self.pixels.chunks_exact(row_bytes) {
            let wide: Vec<u8> =
                row.chunks_exact(self.channels).flat_map(|pixel| pixel.repeat(factor)).collect();
            for _ in 0..factor {
                pixels.extend_from_slice(&wide);
            }
        }
        Picture {
            height_px: self.height_px * factor,
            width_px: self.width_px * factor,
            channels: self.channels,
            pixels,
        }
    }

    /// The same picture with three channels.
    pub fn to_rgb(&self) -> Picture {
        let pixels = match self.channels {
            1 => self.pixels.iter().flat_map(|&level| [level; 3]).collect(),
            _ => self.pixels.clone(),
        };
        Picture { channels: 3, pixels, ..*self }
    }

    /// Writes a PNG file, whole or not at all.
    ///
    /// # Errors
    /// [`PictureError::Io`], or [`PictureError::Encode`] when the public fields contradict each other.
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        Ok(atomic::write_bytes(path.as_ref(), &self.encode_png()?)?)
    }

    /// The bytes of a PNG file.
    ///
    /// # Panics
    /// When the public fields were changed so that they contradict each other.
    pub fn png_bytes(&self) -> Vec<u8> {
        self.encode_png().expect("a picture's pixels fill its height, width and channels")
    }

    /// Whether it is in colour and has few of them.
    fn is_drawing(&self) -> bool {
        let mut colours = BTreeSet::new();
        let few = |pixel: &[u8]| {
            colours.insert([pixel[0], pixel[1], pixel[2]]);
            colours.len() <= 256
        };
        self.channels == 3 && self.pixels.chunks_exact(3).all(few)
    }

    fn encode_png(&self) -> Result<Vec<u8>, PictureError> {
        check_size(self.height_px, self.width_px, self.channels, self.pixels.len())?;
        let colour = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        // Filters predict a pixel from its neighbours, which helps photographs and hurts drawings.
        let filter = match self.is_drawing() {
            true => FilterType::NoFilter,
            false => FilterType::Adaptive,
        };
        let mut bytes = Vec::new();
        // The cast is exact: `check_size` holds both sides under 2^31.
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, filter)
            .write_image(&self.pixels, self.width_px as u32, self.height_px as u32, colour)
            .map_err(|refusal| PictureError::Encode {
                format: "PNG",
                reason: refusal.to_string(),
            })?;
        Ok(bytes)
    }

    /// Copies `part` in with its top left corner at (`top`, `left`); what lies outside is cut off.
    pub(crate) fn paste(&mut self, part: &Picture, top: usize, left: usize) {
        let converted = (part.channels != self.channels).then(|| part.to_rgb());
        let part = converted.as_ref().unwrap_or(part);
        let rows = part.height_px.min(self.height_px.saturating_sub(top));
        let bytes = part.width_px.min(self.width_px.saturating_sub(left)) * self.channels;
        for row in 0..rows {
            let from = row * part.width_px * self.channels;
            let to = ((top + row) * self.width_px + left) * self.channels;
            self.pixels[to..to + bytes].copy_from_slice(&part.pixels[from..from + bytes]);
        }
    }

    /// Mixes `colour` into one pixel with the given coverage from 0 to 1; outside the picture nothing happens.
    pub(crate) fn blend(&mut self, x: i32, y: i32, colour: [u8; 3], coverage: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x >= self.width_px || y >= self.height_px {
            return;
        }
        let at = (y * self.width_px + x) * self.channels;
        let channels = self.pixels[at..at + self.channels].iter_mut();
        for (old, new) in channels.zip(colour) {
            let mixed = f32::from(*old) + coverage * (f32::from(new) - f32::from(*old));
            *old = mixed.round() as u8;
        }
    }
}

/// PNG's own limit.
const MAX_SIDE_PX: usize = (1 << 31) - 1;
/// A drawing larger than this is a slip of the caller's, not a picture.
const MAX_BYTES: usize = 1 << 32;

/// The pixel value of `x` in the model's range -1 to 1, as [`Picture::from_unit_range`] has it.
pub fn to_byte(x: f32) -> u8 {
    let unit = (x / 2.0 + 0.5).clamp(0.0, 1.0);
    // `as` turns NaN into 0.
    (unit * 255.0).round_ties_even() as u8
}

fn area(h: usize, w: usize, c: usize) -> Option<usize> {
    h.checked_mul(w)?.checked_mul(c)
}

fn check_size(h: usize, w: usize, c: usize, found: usize) -> Result<(), PictureError> {
    if c != 1 && c != 3 {
        return Err(PictureError::Channels { found: c });
    }
    within("a picture's height", h, 1, MAX_SIDE_PX)?;
    within("a picture's width", w, 1, MAX_SIDE_PX)?;
    let expected = area(h, w, c).unwrap_or(usize::MAX);
    if expected != found {
        return Err(PictureError::Length {
            height_px: h,
            width_px: w,
            channels: c,
            expected,
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs at and beside every tie, with what NumPy made of them: testdata/rounding.py.
    #[test]
    fn rounds_exactly_as_numpy_does() {
        let golden = include_bytes!("../testdata/rounding.bin");
        let (inputs, expected): (Vec<f32>, Vec<u8>) = golden
            .chunks_exact(5)
            .map(|r| (f32::from_le_bytes([r[0], r[1], r[2], r[3]]), r[4]))
            .unzip();
        let picture = Picture::from_unit_range(&inputs, 1, 1, inputs.len()).unwrap();
        assert_eq!(inputs.len(), 1279);
        assert_eq!(picture.pixels, expected);
    }

    #[test]
    fn planes_become_interleaved_pixels() {
        let chw = [-1.0, 1.0, 0.0, -1.0, 1.0, f32::NAN];
        let picture = Picture::from_unit_range(&chw, 3, 1, 2).unwrap();
        assert_eq!(picture.pixels, [0, 128, 255, 255, 0, 0]);
    }

    #[test]
    fn infinities_clamp() {
        let picture = Picture::from_unit_range(&[f32::INFINITY, f32::NEG_INFINITY], 1, 1, 2);
        assert_eq!(picture.unwrap().pixels, [255, 0]);
    }

    #[test]
    fn wrong_sizes_are_refused_with_their_numbers() {
        let message = |h, w, c, n| Picture::new(h, w, c, vec![0; n]).unwrap_err().to_string();
        assert_eq!(
            message(2, 3, 1, 5),
            "a picture of 2x3 with 1 channel(s) needs 6 values, found 5"
        );
        assert!(message(2, 3, 4, 24).contains("found 4"));
        assert!(message(0, 3, 1, 0).contains("height must be from 1"));
        assert!(Picture::new(usize::MAX, usize::MAX, 3, vec![]).is_err());
        assert!(Picture::new(1 << 30, 1 << 30, 3, vec![]).is_err());
    }

    #[test]
    fn scaling_repeats_pixels() {
        let picture = Picture::new(1, 2, 3, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let row = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
        let scaled = picture.scaled(2);
        assert_eq!((scaled.height_px, scaled.width_px), (2, 4));
        assert_eq!(scaled.pixels, [row, row].concat());
        assert_eq!(picture.scaled(0), picture);
    }

    #[test]
    fn png_bytes_decode_back() {
        for channels in [1, 3] {
            let pixels: Vec<u8> = (0..7 * 5 * channels).map(|i| (i * 37 % 256) as u8).collect();
            let picture = Picture::new(7, 5, channels, pixels).unwrap();
            let decoded = image::load_from_memory(&picture.png_bytes()).unwrap();
            assert_eq!((decoded.height(), decoded.width()), (7, 5));
            assert_eq!(usize::from(decoded.color().channel_count()), channels);
            assert_eq!(decoded.into_bytes(), picture.pixels);
        }
    }

    #[test]
    fn contradicting_fields_are_an_error_in_a_file() {
        let mut picture = Picture::new(1, 1, 1, vec![0]).unwrap();
        picture.width_px = 2;
        assert!(picture.write_png("never-written.png").is_err());
    }
}
