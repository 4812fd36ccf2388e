//! Smooth lines: coverage from the exact distance to each segment, so joins are round and nothing is painted twice.

use crate::Picture;

/// How much of each pixel in a box a line covers.
pub(crate) struct Mask {
    left: i32,
    top: i32,
    width: i32,
    height: i32,
    coverage: Vec<f32>,
}

impl Mask {
    /// Nothing yet, in the box (left, top, width, height).
    pub(crate) fn new((left, top, width, height): (i32, i32, i32, i32)) -> Self {
        let (width, height) = (width.max(0), height.max(0));
        Self { left, top, width, height, coverage: vec![0.0; width as usize * height as usize] }
    }

    /// Adds the points within `half_width` of the segment from `a` to `b`; pixel (x, y) is centred on (x, y).
    pub(crate) fn segment(&mut self, a: (f64, f64), b: (f64, f64), half_width: f64) {
        let reach = half_width + 1.0;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let squared = dx * dx + dy * dy;
        let span = |low: f64, high: f64, start: i32, length: i32| {
            let from = (low - reach).floor().max(f64::from(start)) as i32;
            let to = (high + reach).ceil().min(f64::from(start + length - 1)) as i32;
            from..=to
        };
        for y in span(a.1.min(b.1), a.1.max(b.1), self.top, self.height) {
            for x in span(a.0.min(b.0), a.0.max(b.0), self.left, self.width) {
                let (px, py) = (f64::from(x) - a.0, f64::from(y) - a.1);
                let along = match squared > 0.0 {
                    true => ((px * dx + py * dy) / squared).clamp(0.0, 1.0),
                    false => 0.0,
                };
                let distance = (px - along * dx).hypot(py - along * dy);
                let covered = (half_width + 0.5 - distance).clamp(0.0, 1.0) as f32;
                let at = ((y - self.top) * self.width + x - self.left) as usize;
                self.coverage[at] = self.coverage[at].max(covered);
            }
        }
    }

    /// Rounds what is covered to so many shades: too few to see, and few enough for the palette of a GIF.
    pub(crate) fn in_shades(mut self, shades: f32) -> Self {
        self.coverage
            .iter_mut()
            .for_each(|covered| *covered = (*covered * shades).round() / shades);
        self
    }

    /// Mixes `colour` into `picture` wherever the mask is covered.
    pub(crate) fn paint(&self, picture: &mut Picture, colour: [u8; 3], strength: f32) {
        for (at, &covered) in self.coverage.iter().enumerate() {
            if covered > 0.0 {
                let (x, y) = (at as i32 % self.width, at as i32 / self.width);
                picture.blend(self.left + x, self.top + y, colour, covered * strength);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_pixel_centres_is_solid_and_one_between_is_shared() {
        let mut mask = Mask::new((0, 0, 10, 5));
        mask.segment((2.0, 2.0), (7.0, 2.0), 0.5);
        let column: Vec<f32> = (0..5).map(|y| mask.coverage[y * 10 + 4]).collect();
        assert_eq!(column, [0.0, 0.0, 1.0, 0.0, 0.0]);
        let mut mask = Mask::new((0, 0, 10, 5));
        mask.segment((2.0, 2.5), (7.0, 2.5), 0.5);
        let column: Vec<f32> = (0..5).map(|y| mask.coverage[y * 10 + 4]).collect();
        assert_eq!(column, [0.0, 0.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn a_slanted_line_covers_its_own_area() {
        let mut mask = Mask::new((0, 0, 60, 60));
        mask.segment((10.0, 10.0), (50.0, 40.0), 1.0);
        let area: f32 = mask.coverage.iter().sum();
        // 50 long, 2 wide, and two half discs of radius 1 at its ends.
        assert!((area - 103.14).abs() < 1.5, "{area}");
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut mask = Mask::new((5, 5, 4, 4));
        mask.segment((-100.0, 6.0), (1e9, 6.0), 0.5);
        assert_eq!(mask.coverage.iter().sum::<f32>(), 4.0);
        Mask::new((5, 5, -3, 4)).segment((0.0, 0.0), (9.0, 9.0), 1.0);
    }
}
