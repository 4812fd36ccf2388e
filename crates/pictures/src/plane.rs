//! Points and arrows of the plane.

use crate::plot::{COLOURS, stroke::Mask};
use crate::text::BODY;
use crate::{Picture, PictureError};

/// A part of the plane with points and arrows in it.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    /// A line above it.
    pub title: String,
    /// Half the width and height of what is shown, around the origin.
    pub reach: f64,
    /// Points that stand behind, such as the data.
    pub background: Vec<[f64; 2]>,
    /// Points, each with the index of its colour.
    pub points: Vec<([f64; 2], usize)>,
    /// Arrows: where each starts and where it points, in units of the plane.
    pub arrows: Vec<([f64; 2], [f64; 2])>,
}

/// A point of the data's range, [-1, 1]^2, and a little around it.
const DATA_REACH: f64 = 1.2;
/// Shades between a colour and what is below it. Points over arrows have the square of it.
const SHADES: f32 = 6.0;
/// Room for the title, in pixels.
const TITLE_PX: usize = 26;
const PAPER: u8 = 255;
const BACKGROUND: [u8; 3] = [200, 205, 214];
const ARROW: [u8; 3] = [150, 158, 172];
const INK: [u8; 3] = [40, 44, 52];

impl Plane {
    /// The points that samples `[N, 2]` in the model's range are, each in the colour of its class; of
    /// one colour where there are no classes.
    pub fn of_samples(samples: &[f32], classes: &[u32]) -> Self {
        let points = places(samples).enumerate();
        let coloured = |(i, point)| (point, classes.get(i).map_or(0, |&class| class as usize));
        Self { reach: DATA_REACH, points: points.map(coloured).collect(), ..Self::default() }
    }

    /// Puts samples `[N, 2]` behind everything else.
    pub fn in_front_of(self, samples: &[f32]) -> Self {
        Self { background: places(samples).collect(), ..self }
    }

    /// Draws it as a square of `side_px` under its title.
    ///
    /// # Errors
    /// A side of no pixels or too many.
    pub fn draw(&self, side_px: usize) -> Result<Picture, PictureError> {
        let mut picture = Picture::filled(side_px + TITLE_PX, side_px, 3, PAPER)?;
        let reach = if self.reach > 0.0 { self.reach } else { 1.0 };
        let half = side_px as f64 / 2.0;
        let scale = half / reach;
        let place = |[x, y]: [f64; 2]| (half + x * scale, TITLE_PX as f64 + half - y * scale);
        let whole = (0, TITLE_PX as i32, side_px as i32, side_px as i32);

        let mut behind = Mask::new(whole);
        for &point in &self.background {
            behind.segment(place(point), place(point), 0.6);
        }
        behind.in_shades(SHADES).paint(&mut picture, BACKGROUND, 0.8);

        let mut shafts = Mask::new(whole);
        for &(from, [dx, dy]) in &self.arrows {
            let to = [from[0] + dx, from[1] + dy];
            shafts.segment(place(from), place(to), 0.5);
            // Two short strokes back from the tip.
            let length = (dx * dx + dy * dy).sqrt();
            let head = (0.35 * length).min(5.0 / scale);
            for turn in [2.6f64, -2.6] {
                let (sin, cos) = turn.sin_cos();
                let along = [(dx * cos - dy * sin) / length, (dx * sin + dy * cos) / length];
                if length > 0.0 {
                    let end = [to[0] + head * along[0], to[1] + head * along[1]];
                    shafts.segment(place(to), place(end), 0.5);
                }
            }
        }
        shafts.in_shades(SHADES).paint(&mut picture, ARROW, 1.0);

        let colours = self.points.iter().map(|&(_, colour)| colour + 1).max().unwrap_or(0);
        for colour in 0..colours {
            let mut dots = Mask::new(whole);
            for &(point, _) in self.points.iter().filter(|&&(_, of)| of == colour) {
                dots.segment(place(point), place(point), 1.2);
            }
            dots.in_shades(SHADES).paint(&mut picture, COLOURS[colour % COLOURS.len()], 0.85);
        }
        let title = BODY.fit(&self.title, side_px.saturating_sub(16));
        BODY.draw(&mut picture, &title, 8, 7, INK);
        Ok(picture)
    }
}

/// Samples `[N, 2]` as points.
fn places(samples: &[f32]) -> impl Iterator<Item = [f64; 2]> {
    samples.chunks_exact(2).map(|point| [f64::from(point[0]), f64::from(point[1])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_points_in_the_colours_of_their_classes() {
        let samples = [0.5, 0.5, -0.5, 0.5];
        let one = Plane::of_samples(&samples, &[]);
        assert_eq!(one.points, [([0.5, 0.5], 0), ([-0.5, 0.5], 0)]);
        let two = Plane::of_samples(&samples, &[0, 7]).in_front_of(&[0.0, -0.6]);
        assert_eq!(two.background, [[0.0, f64::from(-0.6f32)]]);
        let picture = two.draw(240).unwrap();
        let at = |x: usize, y: usize| {
            let start = 3 * ((y + TITLE_PX) * 240 + x);
            [0, 1, 2].map(|c| picture.pixels[start + c])
        };
        // 100 px a unit, around (120, 120).
        assert_ne!(at(170, 70), [PAPER; 3]);
        assert_ne!(at(70, 70), at(170, 70), "eight classes have eight colours");
        assert_ne!(at(120, 180), [PAPER; 3], "the background");
        assert_eq!(at(120, 120), [PAPER; 3]);
    }

    #[test]
    fn points_and_arrows_are_where_they_belong() {
        let plane = Plane {
            reach: 1.0,
            points: vec![([0.5, 0.5], 0)],
            arrows: vec![([-0.5, -0.5], [0.2, 0.0])],
            ..Plane::default()
        };
        let picture = plane.draw(200).unwrap();
        assert_eq!((picture.width_px, picture.height_px), (200, 200 + TITLE_PX));
        let at = |x: usize, y: usize| {
            let start = 3 * ((y + TITLE_PX) * 200 + x);
            [0, 1, 2].map(|c| picture.pixels[start + c])
        };
        assert_ne!(at(150, 50), [PAPER; 3], "the point, up and to the right");
        assert_eq!(at(60, 150), ARROW, "the middle of the arrow");
        assert_eq!(at(60, 50), [PAPER; 3]);
        assert!(Plane::default().draw(0).is_err());
    }

    #[test]
    fn a_film_of_points_and_arrows_has_a_palette() {
        let turn = |i: usize| (0.1 * i as f64).sin_cos();
        let plane = Plane {
            reach: 1.2,
            points: (0..600).map(|i| ([turn(i).0, turn(3 * i).1], 0)).collect(),
            arrows: (0..400).map(|i| ([turn(i).0, turn(7 * i).1], turn(i).into())).collect(),
            ..Plane::default()
        };
        let picture = plane.draw(300).unwrap();
        let colours: std::collections::BTreeSet<_> = picture.pixels.chunks_exact(3).collect();
        assert!((20..=128).contains(&colours.len()), "{}", colours.len());
    }

    #[test]
    fn far_and_broken_points_are_left_out() {
        let points = [[1e30, 0.0], [f64::NAN, 0.0], [f64::INFINITY, 1.0]];
        let plane = Plane {
            points: points.iter().map(|&p| (p, 1)).collect(),
            arrows: points.iter().map(|&p| (p, p)).collect(),
            background: points.to_vec(),
            ..Plane::default()
        };
        let picture = plane.draw(50).unwrap();
        assert!(picture.pixels.iter().all(|&v| v == PAPER));
    }
}
