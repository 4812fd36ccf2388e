//! The 1,797 handwritten digits that are part of the program.

use crate::Pictures;
use flate2::read::ZlibDecoder;
use std::io::Read;

/// How many digits there are.
pub const COUNT: usize = 1_797;

/// The height and width of a digit, in pixels.
pub const SIZE_PX: usize = 8;

/// The value of white.
pub const MAX_VALUE: u8 = 16;

/// Reads the embedded digits: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten
/// Digits*, UCI Machine Learning Repository, CC BY 4.0.
///
/// ```
/// let digits = sumi_data::digits::load();
/// assert_eq!((digits.len(), digits.channels), (1_797, 1));
/// ```
///
/// # Shapes
/// 1,797 grey pictures of 8 x 8, values 0 to 16, classes `0` to `9`.
pub fn load() -> Pictures {
    const PIXELS: usize = COUNT * SIZE_PX * SIZE_PX;
    let mut pixels = vec![0; PIXELS + COUNT];
    // Not input but a part of the program, which a test decodes.
    ZlibDecoder::new(&include_bytes!("../assets/digits.bin")[..])
        .read_exact(&mut pixels)
        .expect("the embedded digits decode");
    let labels = pixels.split_off(PIXELS).into_iter().map(u32::from).collect();
    Pictures {
        height_px: SIZE_PX,
        width_px: SIZE_PX,
        channels: 1,
        pixels,
        labels,
        class_names: (0..10).map(|digit| digit.to_string()).collect(),
        max_value: MAX_VALUE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_digits_are_the_published_ones() {
        let digits = load();
        digits.check().unwrap();
        assert_eq!(digits.len(), COUNT);
        assert_eq!(digits.class_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(digits.pixels.iter().map(|&v| u64::from(v)).sum::<u64>(), 561_718);
        let mut checksum = flate2::Crc::new();
        checksum.update(&digits.pixels);
        checksum.update(&digits.labels.iter().map(|&label| label as u8).collect::<Vec<_>>());
        assert_eq!(checksum.sum(), 0xb89d_aea8);
        // The first row of the first digit, a zero.
        assert_eq!(digits.picture(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
    }
}
