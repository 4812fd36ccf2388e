//! Points of the plane, to look at what a model learns: pictures of one pixel with two channels.

use crate::Pictures;
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};
use sumi_random::{NormalSource, Philox};

/// How points of the plane lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointShape {
    /// Two interleaved half circles, a class each (scikit-learn's `make_moons`).
    TwoMoons,
    /// Eight Gaussians on a circle, a class each.
    EightGaussians,
    /// A spiral of one and a half turns (scikit-learn's `make_swiss_roll`, seen from above).
    SwissRoll,
}

/// The value that 1 is kept as; -1 is 0. A step of it is far below what a plot can show.
const MAX_VALUE: u8 = 255;
/// Always the same points for the same count.
const SEED: u64 = 0x5_0A17;

impl PointShape {
    /// The names of its parts, which are its classes.
    fn class_names(self) -> Vec<String> {
        let parts = match self {
            Self::TwoMoons => 2,
            Self::EightGaussians => 8,
            Self::SwissRoll => return super::one_class(),
        };
        (0..parts).map(|part: u32| part.to_string()).collect()
    }

    /// A point of a part, from a uniform number and two normals; all but the far tails lie in
    /// [-1, 1]^2.
    fn point(self, part: u32, u: f64, z: [f64; 2]) -> [f64; 2] {
        match self {
            Self::TwoMoons => {
                let (sin, cos) = (PI * u).sin_cos();
                // The moons' box is [-1, 2] x [-0.5, 1]; 0.05 is the usual noise.
                let [x, y] = match part {
                    0 => [cos, sin],
                    _ => [1.0 - cos, 0.5 - sin],
                };
                [(x + 0.05 * z[0] - 0.5) / 1.8, (y + 0.05 * z[1] - 0.25) / 1.8]
            }
            Self::EightGaussians => {
                let (sin, cos) = (TAU * f64::from(part) / 8.0).sin_cos();
                [0.75 * cos + 0.05 * z[0], 0.75 * sin + 0.05 * z[1]]
            }
            Self::SwissRoll => {
                // Evenly along the radius, from half a turn to two.
                let angle = PI * (1.0 + 3.0 * u);
                let radius = angle / (4.0 * PI) * 0.9;
                let (sin, cos) = angle.sin_cos();
                [radius * cos + 0.02 * z[0], radius * sin + 0.02 * z[1]]
            }
        }
    }
}

/// `count` points of a shape, its parts in turn.
///
/// # Shapes
/// Pictures of 1 x 1 with two channels, x and y.
pub(super) fn load(shape: PointShape, count: usize) -> Pictures {
    let class_names = shape.class_names();
    let mut uniforms = Philox::new(SEED, 0);
    let mut normals = vec![0.0; 2 * count];
    Philox::new(SEED, 1).fill_normal(&mut normals);
    let labels: Vec<u32> = (0..count).map(|i| (i % class_names.len()) as u32).collect();
    let byte = |x: f64| ((x * 0.5 + 0.5).clamp(0.0, 1.0) * f64::from(MAX_VALUE)).round() as u8;
    let pixels = labels
        .iter()
        .zip(normals.chunks_exact(2))
        .flat_map(|(&part, z)| {
            let z = [f64::from(z[0]), f64::from(z[1])];
            shape.point(part, uniforms.uniform_f64(), z).map(byte)
        })
        .collect();
    Pictures {
        height_px: 1,
        width_px: 1,
        channels: 2,
        pixels,
        labels,
        class_names,
        max_value: MAX_VALUE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_their_shape_is() {
        for shape in [PointShape::TwoMoons, PointShape::EightGaussians, PointShape::SwissRoll] {
            let points = load(shape, 4000);
            points.check().unwrap();
            let at_the_edge = points.pixels.iter().filter(|&&v| v == 0 || v == MAX_VALUE).count();
            assert_eq!(at_the_edge, 0, "{shape:?} is cut off");
            let furthest = points.pixels.iter().map(|&v| (f32::from(v) / 127.5 - 1.0).abs());
            assert!(furthest.fold(0.0, f32::max) > 0.6, "{shape:?} is small");
            assert_eq!(load(shape, 4000), points);
        }
        let gaussians = load(PointShape::EightGaussians, 800);
        let centre = |part: usize, axis: usize| -> f32 {
            let of_part = (part..800).step_by(8);
            of_part.map(|i| gaussians.scaled(i).nth(axis).unwrap()).sum::<f32>() / 100.0
        };
        assert!((centre(0, 0) - 0.75).abs() < 0.03 && centre(0, 1).abs() < 0.03);
        assert!((centre(2, 1) - 0.75).abs() < 0.03 && centre(2, 0).abs() < 0.03);
    }
}
