//! Pillow's convolution: one pass along the rows and one along the columns.

use super::Filter;
use std::f64::consts::PI;

/// Fractional bits of a weight: 32 less 8 of a pixel, and 2 for overshoot and sign.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// What pictures are made of, and how sums of it are formed.
pub(super) trait Element: Copy + Default {
    /// Of a tap.
    type Weight: Copy;
    /// Of products.
    type Sum: Copy;
    /// What a sum starts with.
    const START: Self::Sum;

    fn weight(weight: f64) -> Self::Weight;
    fn add(self, sum: Self::Sum, weight: Self::Weight) -> Self::Sum;
    fn of(sum: Self::Sum) -> Self;
}

/// Fixed point: a half is there from the start, so that cutting the fraction off rounds.
impl Element for u8 {
    type Weight = i32;
    type Sum = i32;
    const START: i32 = 1 << (FRACTION_BITS - 1);

    fn weight(weight: f64) -> i32 {
        // Halves away from zero, as C rounds by adding a half of the sign.
        (weight * f64::from(1 << FRACTION_BITS)).round() as i32
    }

    #[inline(always)]
    fn add(self, sum: i32, weight: i32) -> i32 {
        sum.wrapping_add(i32::from(self).wrapping_mul(weight))
    }

    #[inline(always)]
    fn of(sum: i32) -> u8 {
        (sum >> FRACTION_BITS).clamp(0, 255) as u8
    }
}

impl Element for f32 {
    type Weight = f64;
    type Sum = f64;
    const START: f64 = 0.0;

    fn weight(weight: f64) -> f64 {
        weight
    }

    #[inline(always)]
    fn add(self, sum: f64, weight: f64) -> f64 {
        sum + f64::from(self) * weight
    }

    #[inline(always)]
    fn of(sum: f64) -> f32 {
        sum as f32
    }
}

/// Pixels of `C` channels in another size. A pass that would not change the size is left out.
///
/// Rounding between the passes makes their order count. It is that of Pillow 13: the columns go first where that takes
/// off more than twice as many rows as the other pass takes off columns. Earlier Pillows
/// always began with the rows.
///
/// # Shapes
/// `[H, W, C]` to `[height, width, C]`; no side is 0.
pub(super) fn resize<E: Element, const C: usize>(
    pixels: &[E],
    [h, w]: [usize; 2],
    [height, width]: [usize; 2],
    filter: Filter,
) -> Vec<E> {
    let along_rows = |pixels: &[E]| match width == w {
        true => pixels.to_vec(),
        false => along_rows::<E, C>(pixels, w, &Taps::new(w, width, filter)),
    };
    let along_columns = |pixels: &[E], width: usize| match height == h {
        true => pixels.to_vec(),
        false => along_columns(pixels, width * C, &Taps::new(h, height, filter)),
    };
    match h.saturating_sub(height) > 2 * w.saturating_sub(width) {
        true => along_rows(&along_columns(pixels, w)),
        false => along_columns(&along_rows(pixels), width),
    }
}

/// For every output its first input, and the weights of that and of the inputs behind it.
struct Taps<E: Element> {
    places: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<E::Weight>,
}

impl<E: Element> Taps<E> {
    /// Along a side of `inputs` pixels that becomes one of `outputs`.
    fn new(inputs: usize, outputs: usize, filter: Filter) -> Self {
        let scale = inputs as f64 / outputs as f64;
        let stretch = scale.max(1.0);
        let support = support(filter) * stretch;
        let inverse = 1.0 / stretch;
        let (mut places, mut weights) = (Vec::with_capacity(outputs), Vec::new());
        let mut row: Vec<f64> = Vec::new();
        for output in 0..outputs {
            let centre = (output as f64 + 0.5) * scale;
            // The casts cut off and, below zero, give 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(inputs);
            let distance = |tap: usize| (tap as f64 - centre + 0.5) * inverse;
            row.clear();
            row.extend((first..end).map(|tap| at(filter, distance(tap))));
            let sum: f64 = row.iter().sum();
            let normal = |&weight: &f64| E::weight(if sum == 0.0 { weight } else { weight / sum });
            places.push((first, weights.len()..weights.len() + row.len()));
            weights.extend(row.iter().map(normal));
        }
        Self { places, weights }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[E::Weight])> {
        self.places.iter().map(|(first, range)| (*first, &self.weights[range.clone()]))
    }
}

/// How far a filter reaches, in pixels of the smaller picture.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Box => 0.5,
        Filter::Bilinear | Filter::Hamming => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

/// The filter's value at a distance from its centre.
fn at(filter: Filter, x: f64) -> f64 {
    // Keys's a.
    const A: f64 = -0.5;
    let far = x.abs();
    match filter {
        Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Filter::Bilinear => (1.0 - far).max(0.0),
        Filter::Hamming if far >= 1.0 => 0.0,
        Filter::Hamming => sinc(far) * (0.54 + 0.46 * (PI * far).cos()),
        Filter::Bicubic if far < 1.0 => ((A + 2.0) * far - (A + 3.0)) * far * far + 1.0,
        Filter::Bicubic if far < 2.0 => (((far - 5.0) * far + 8.0) * far - 4.0) * A,
        Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Filter::Bicubic | Filter::Lanczos => 0.0,
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

fn along_rows<E: Element, const C: usize>(pixels: &[E], width: usize, taps: &Taps<E>) -> Vec<E> {
    let mut resized = Vec::with_capacity(pixels.len() / width * taps.places.len());
    for row in pixels.as_chunks::<C>().0.chunks_exact(width) {
        for (first, weights) in taps.iter() {
            let mut sums = [E::START; C];
            for (pixel, &weight) in row[first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum = value.add(*sum, weight);
                }
            }
            resized.extend(sums.map(E::of));
        }
    }
    resized
}

/// `stride` numbers to a row.
fn along_columns<E: Element>(pixels: &[E], stride: usize, taps: &Taps<E>) -> Vec<E> {
    let mut resized = Vec::with_capacity(stride * taps.places.len());
    let mut sums = vec![E::START; stride];
    for (first, weights) in taps.iter() {
        sums.fill(E::START);
        let rows = pixels[first * stride..].chunks_exact(stride);
        for (row, &weight) in rows.zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = value.add(*sum, weight);
            }
        }
        resized.extend(sums.iter().map(|&sum| E::of(sum)));
    }
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_one_at_the_centre_and_nothing_at_the_ends() {
        for filter in Filter::ALL {
            assert_eq!(at(filter, 0.0), 1.0);
            let end = support(filter);
            for x in [-end - 1e-9, end + 1e-9] {
                assert_eq!(at(filter, x), 0.0, "{filter:?} at {x}");
            }
        }
        // Keys, Eq. 4 with a = -1/2, at 1/2 and 3/2: 9/16 and -1/16.
        assert_eq!(at(Filter::Bicubic, 0.5), 0.5625);
        assert_eq!(at(Filter::Bicubic, -1.5), -0.0625);
        // sinc(3/2) sinc(1/2), to the rounding of a sine.
        assert!((at(Filter::Lanczos, 1.5) + 4.0 / (3.0 * PI * PI)).abs() < 1e-15);
    }

    #[test]
    fn weights_of_one_output_sum_to_one() {
        for filter in Filter::ALL {
            for (inputs, outputs) in [(7, 3), (3, 7), (1, 5), (500, 1), (299, 298)] {
                for (first, weights) in Taps::<f32>::new(inputs, outputs, filter).iter() {
                    let sum: f64 = weights.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-12, "{filter:?}: {sum}");
                    assert!(first + weights.len() <= inputs);
                }
            }
        }
    }
}
