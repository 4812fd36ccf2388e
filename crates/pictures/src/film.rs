//! Animated GIFs.

use std::{collections::BTreeSet, path::Path};

use gif::{Encoder, Frame, Repeat};

use crate::{Picture, PictureError, error::within, grid::same_size};
use sumi_formats::atomic;

/// Writes a GIF that loops for ever, each frame for `frame_ms` and the last for `last_frame_ms`.
///
/// Up to 256 colours in the whole film are kept exactly, so a grey film stays exactly grey; a film with more gets
/// 256 for each frame, chosen by NeuQuant. A GIF counts in hundredths of a second and viewers slow anything
/// under two of them, so delays are rounded to 10 ms and are at least 20 ms.
///
/// # Errors
/// No frames, frames of different sizes or above 65,535 pixels a side, or the file system's refusal.
pub fn gif(
    frames: &[Picture],
    frame_ms: u32,
    last_frame_ms: u32,
    path: impl AsRef<Path>,
) -> Result<(), PictureError> {
    Ok(atomic::write_bytes(path.as_ref(), &encode(frames, frame_ms, last_frame_ms)?)?)
}

fn encode(frames: &[Picture], frame_ms: u32, last_ms: u32) -> Result<Vec<u8>, PictureError> {
    let first = frames.first().ok_or(PictureError::Empty { what: "a film" })?;
    same_size(frames)?;
    within("a film's height", first.height_px, 1, 0xffff)?;
    within("a film's width", first.width_px, 1, 0xffff)?;
    let (width, height) = (first.width_px as u16, first.height_px as u16);
    let refused = |refusal: gif::EncodingError| PictureError::Encode {
        format: "GIF",
        reason: refusal.to_string(),
    };

    let palette = shared_palette(frames);
    let flat: Vec<u8> = palette.iter().flatten().flatten().copied().collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height, &flat).map_err(refused)?;
    encoder.set_repeat(Repeat::Infinite).map_err(refused)?;
    for (index, picture) in frames.iter().enumerate() {
        let mut frame = match &palette {
            Some(colours) => Frame {
                width,
                height,
                buffer: colour_indices(picture, colours).into(),
                ..Frame::default()
            },
            None => Frame::from_rgb_speed(width, height, &picture.to_rgb().pixels, QUALITY),
        };
        let is_last = index + 1 == frames.len();
        frame.delay = hundredths(if is_last { last_ms } else { frame_ms });
        encoder.write_frame(&frame).map_err(refused)?;
    }
    drop(encoder);
    Ok(bytes)
}

/// NeuQuant looks at every third pixel: 1 is slowest and best, 30 fastest.
const QUALITY: i32 = 3;

/// All colours of the film in order, if a GIF's palette can hold them.
fn shared_palette(frames: &[Picture]) -> Option<Vec<[u8; 3]>> {
    let mut colours = BTreeSet::new();
    for picture in frames {
        for pixel in picture.pixels.chunks_exact(picture.channels) {
            colours.insert(rgb(pixel));
            if colours.len() > 256 {
                return None;
            }
        }
    }
    Some(colours.into_iter().collect())
}

fn colour_indices(picture: &Picture, colours: &[[u8; 3]]) -> Vec<u8> {
    let pixels = picture.pixels.chunks_exact(picture.channels);
    // The palette holds every colour of the film, so the search never misses.
    pixels.map(|pixel| colours.binary_search(&rgb(pixel)).unwrap_or(0) as u8).collect()
}

fn rgb(pixel: &[u8]) -> [u8; 3] {
    match *pixel {
        [red, green, blue] => [red, green, blue],
        _ => [pixel[0]; 3],
    }
}

fn hundredths(ms: u32) -> u16 {
    u16::try_from(ms.saturating_add(5) / 10).unwrap_or(u16::MAX).max(2)
}

#[cfg(test)]
mod tests {
    use image::{AnimationDecoder, codecs::gif::GifDecoder};
    use std::io::Cursor;

    use super::*;

    /// A ramp that moves by `shift`.
    fn ramp(shift: usize, channels: usize) -> Picture {
        let pixels = (0..64 * 64 * channels).map(|i| match channels {
            1 => ((i % 64) * 4 + shift) as u8,
            _ => [i / 3 % 64 * 4, i / 192 * 4, shift * 20][i % 3] as u8,
        });
        Picture::new(64, 64, channels, pixels.collect()).unwrap()
    }

    fn decode(bytes: &[u8]) -> Vec<image::Frame> {
        let decoder = GifDecoder::new(Cursor::new(bytes)).unwrap();
        decoder.into_frames().collect_frames().unwrap()
    }

    #[test]
    fn a_grey_film_comes_back_exactly() {
        let frames: Vec<Picture> = (0..5).map(|shift| ramp(shift, 1)).collect();
        let bytes = encode(&frames, 40, 1500).unwrap();
        let decoded = decode(&bytes);
        assert_eq!(decoded.len(), 5);
        let delays: Vec<_> = decoded.iter().map(|f| f.delay().numer_denom_ms()).collect();
        let millis = |(numerator, denominator): (u32, u32)| numerator / denominator;
        let delays: Vec<u32> = delays.into_iter().map(millis).collect();
        assert_eq!(delays, [40, 40, 40, 40, 1500]);
        for (frame, picture) in decoded.iter().zip(&frames) {
            let rgb: Vec<u8> = frame.buffer().pixels().flat_map(|p| p.0[..3].to_vec()).collect();
            assert_eq!(rgb, picture.to_rgb().pixels);
        }
    }

    #[test]
    fn it_loops_for_ever() {
        let bytes = encode(&[ramp(0, 1)], 40, 40).unwrap();
        let decoder = gif::Decoder::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(decoder.repeat(), Repeat::Infinite);
    }

    #[test]
    fn a_coloured_film_comes_back_close() {
        let frames: Vec<Picture> = (0..3).map(|shift| ramp(shift, 3)).collect();
        let decoded = decode(&encode(&frames, 40, 40).unwrap());
        for (frame, picture) in decoded.iter().zip(&frames) {
            let rgb = frame.buffer().pixels().flat_map(|p| p.0[..3].to_vec());
            let errors = rgb.zip(&picture.pixels).map(|(a, &b)| u64::from(a.abs_diff(b)));
            let mean = errors.sum::<u64>() as f64 / picture.pixels.len() as f64;
            assert!(mean < 8.0, "mean error {mean}");
        }
    }

    #[test]
    fn delays_are_rounded_and_bounded() {
        assert_eq!([0, 14, 36, 100, u32::MAX].map(hundredths), [2, 2, 4, 10, 65535]);
    }

    #[test]
    fn bad_films_are_refused() {
        assert!(encode(&[], 40, 40).is_err());
        let other = Picture::new(1, 1, 1, vec![0]).unwrap();
        assert!(encode(&[ramp(0, 1), other], 40, 40).is_err());
        let wide = Picture::new(1, 70_000, 1, vec![0; 70_000]).unwrap();
        assert!(encode(&[wide], 40, 40).is_err());
    }

    #[test]
    fn the_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("film.gif");
        gif(&[ramp(0, 1), ramp(1, 1)], 40, 40, &path).unwrap();
        assert_eq!(decode(&std::fs::read(path).unwrap()).len(), 2);
    }
}
