//! Numbers as colours.

use crate::{Picture, PictureError};

/// From least to most, evenly spaced: ink, violet, red, amber, paper. The lightness rises all the way, so that
/// the order also shows in grey.
const STOPS: [[f64; 3]; 5] = [
    [10.0, 8.0, 30.0],
    [86.0, 22.0, 110.0],
    [190.0, 55.0, 84.0],
    [248.0, 142.0, 40.0],
    [252.0, 252.0, 190.0],
];

impl Picture {
    /// A heat map of `h` rows and `w` columns: dark for 0, light for `most` and above.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn heat(values: &[f64], h: usize, w: usize, most: f64) -> Result<Self, PictureError> {
        let pixels = values.iter().flat_map(|value| colour(value / most)).collect();
        Self::new(h, w, 3, pixels)
    }
}

/// The colour of a share from 0 to 1; what is no number is dark.
fn colour(share: f64) -> [u8; 3] {
    let last = STOPS.len() - 1;
    let place = share.clamp(0.0, 1.0) * last as f64;
    // `as` turns NaN into 0.
    let below = (place as usize).min(last - 1);
    let part = (place - below as f64).max(0.0);
    let mix = |i: usize| STOPS[below][i] + part * (STOPS[below + 1][i] - STOPS[below][i]);
    [0, 1, 2].map(|i| mix(i).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_lighter() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let map = Picture::heat(&values, 1, 101, 100.0).unwrap();
        let light = |p: &[u8]| {
            0.2126 * f64::from(p[0]) + 0.7152 * f64::from(p[1]) + 0.0722 * f64::from(p[2])
        };
        let lights: Vec<f64> = map.pixels.chunks(3).map(light).collect();
        assert!(lights.windows(2).all(|pair| pair[0] < pair[1]), "{lights:?}");
        assert_eq!(map.pixels[300..], [252, 252, 190]);
    }

    #[test]
    fn what_is_no_number_is_dark() {
        let map = Picture::heat(&[f64::NAN, -1.0, f64::INFINITY], 1, 3, 1.0).unwrap();
        assert_eq!(map.pixels, [10, 8, 30, 10, 8, 30, 252, 252, 190]);
        assert!(Picture::heat(&[0.0], 1, 2, 1.0).is_err());
    }
}
