//! Precision, recall, density and coverage: where two sets lie in each other's neighbourhoods.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::features::squared_distance;
use crate::pairs::{LEFT, Norms, RIGHT, blocks, inner_products};
use crate::{Features, MetricError, nearest_others};

/// Where each sample of two sets lies in the other's neighbourhoods, and the four scores that count it.
///
/// A sample's neighbourhood is the open ball about it whose radius is the distance to its k-th nearest other sample of the same set.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifolds {
    k: usize,
    /// Radius of each real sample's neighbourhood.
    pub real_radius: Vec<f64>,
    /// Radius of each generated sample's neighbourhood.
    pub generated_radius: Vec<f64>,
    /// Real neighbourhoods in which each generated sample lies; 0: it is nowhere near the data.
    pub generated_inside: Vec<u32>,
    /// Whether each real sample's neighbourhood holds a generated sample.
    pub real_covered: Vec<bool>,
    /// Whether each real sample lies in the neighbourhood of a generated one.
    pub real_recalled: Vec<bool>,
}

impl Manifolds {
    /// The share of generated samples in at least one real neighbourhood, 0 to 1.
    pub fn precision(&self) -> f64 {
        share(self.generated_inside.iter().map(|&count| count > 0))
    }

    /// The share of real samples in at least one generated neighbourhood, 0 to 1.
    pub fn recall(&self) -> f64 {
        share(self.real_recalled.iter().copied())
    }

    /// Real neighbourhoods about a generated sample, over k: some 1 for samples of the same distribution, at most N / k.
    pub fn density(&self) -> f64 {
        let sum: u64 = self.generated_inside.iter().map(|&count| u64::from(count)).sum();
        sum as f64 / (self.k as f64 * self.generated_inside.len() as f64)
    }

    /// The share of real samples whose neighbourhood holds a generated one, 0 to 1.
    pub fn coverage(&self) -> f64 {
        share(self.real_covered.iter().copied())
    }
}

fn share(samples: impl ExactSizeIterator<Item = bool>) -> f64 {
    let all = samples.len() as f64;
    samples.filter(|&counts| counts).count() as f64 / all
}

/// Precision and recall (Kynkaanniemi et al., 2019, equation 2), density and coverage (Naeem et al., 2020, section 3) of
/// `generated` against `real`, with neighbourhoods of `k` samples.
///
/// The numbers are those of the PyPI package prdc: balls are open, so samples at exactly the radius lie outside, and k does not
/// count the sample itself. Distances come from matrix products, block by block; where these leave open whether a sample is
/// inside, the sum of squared differences decides, so duplicates are at distance 0.
///
/// # Errors
/// If the sets differ in columns, `k` is 0, or a set has no more than `k` samples.
pub fn prdc(real: &Features, generated: &Features, k: usize) -> Result<Manifolds, MetricError> {
    real.check_columns(generated)?;
    for (which, set) in [("real", real), ("generated", generated)] {
        if set.rows() <= k {
            return Err(MetricError::TooFewNeighbours { k, which, found: set.rows() });
        }
    }
    let radii = |set: &Features| -> Result<Vec<f64>, MetricError> {
        Ok(nearest_others(set, k)?.iter().map(|found| found[k - 1].distance).collect())
    };
    let (real_radius, generated_radius) = (radii(real)?, radii(generated)?);
    let balls = Balls {
        real,
        generated,
        norms: [Norms::new(real), Norms::new(generated)],
        radii: [&real_radius, &generated_radius],
        inside: (0..generated.rows()).map(|_| AtomicU32::new(0)).collect(),
    };
    let strips: Vec<_> = blocks(real.rows(), LEFT).collect();
    let found: Vec<(bool, bool)> =
        strips.into_par_iter().flat_map_iter(|strip| balls.strip(strip)).collect();
    let generated_inside = balls.inside.into_iter().map(AtomicU32::into_inner).collect();
    let (real_covered, real_recalled) = found.into_iter().unzip();
    Ok(Manifolds {
        k,
        real_radius,
        generated_radius,
        generated_inside,
        real_covered,
        real_recalled,
    })
}

/// Two sets and the neighbourhoods of both.
struct Balls<'a> {
    real: &'a Features,
    generated: &'a Features,
    norms: [Norms; 2],
    radii: [&'a [f64]; 2],
    /// Real neighbourhoods about each generated sample. Counts do not depend on the order in which threads add them.
    inside: Vec<AtomicU32>,
}

impl Balls<'_> {
    /// Of each real sample in `strip`: is it covered, is it recalled?
    fn strip(&self, strip: Range<usize>) -> Vec<(bool, bool)> {
        let left = self.real.matrix(strip.clone());
        let mut found = vec![(false, false); strip.len()];
        for block in blocks(self.generated.rows(), RIGHT) {
            let products = inner_products(self.generated.matrix(block.clone()), left);
            for (column, (covered, recalled)) in found.iter_mut().enumerate() {
                let i = strip.start + column;
                for (j, &product) in block.clone().zip(products.col_as_slice(column)) {
                    let [in_real, in_generated] = self.inside(i, j, product);
                    *covered |= in_real;
                    *recalled |= in_generated;
                    if in_real {
                        self.inside[j].fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        found
    }

    /// Whether generated sample `j` lies in the neighbourhood of real sample `i`, and the reverse.
    #[inline(always)]
    fn inside(&self, i: usize, j: usize, product: f64) -> [bool; 2] {
        let (least, most) = self.norms[0].interval(i, &self.norms[1], j, product);
        let radii = [self.radii[0][i], self.radii[1][j]];
        // Neither where a bound overflowed to NaN.
        let [outside, inside] = [radii.map(|r| least > r * r), radii.map(|r| most < r * r)];
        if (0..2).all(|side| outside[side] || inside[side]) {
            return inside;
        }
        let distance = squared_distance(self.real.row(i), self.generated.row(j)).sqrt();
        radii.map(|radius| distance < radius)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair by the sum of squared differences.
    fn direct(real: &Features, generated: &Features, k: usize) -> (Vec<u32>, Vec<(bool, bool)>) {
        let distance = |a: &[f64], b: &[f64]| squared_distance(a, b).sqrt();
        let radius = |set: &Features, i: usize| {
            let others = (0..set.rows()).filter(|&j| j != i);
            let mut all: Vec<f64> = others.map(|j| distance(set.row(i), set.row(j))).collect();
            all.sort_by(f64::total_cmp);
            all[k - 1]
        };
        let mut inside = vec![0; generated.rows()];
        let mut found = vec![(false, false); real.rows()];
        for (i, found) in found.iter_mut().enumerate() {
            for (j, count) in inside.iter_mut().enumerate() {
                let d = distance(real.row(i), generated.row(j));
                *count += u32::from(d < radius(real, i));
                found.0 |= d < radius(real, i);
                found.1 |= d < radius(generated, j);
            }
        }
        (inside, found)
    }

    /// Far from the origin, with duplicates and ties, where inner products decide nothing.
    #[test]
    fn blocks_agree_with_every_pair_alone() {
        let value = |i: usize| ((i * i * 31 + i * 17) % 23) as f64;
        for (offset, scale) in [(0.0, 1.0), (1e7, 1e-3), (-3e8, 1.0), (0.0, 1e-160)] {
            let set = |rows: usize, from: usize| {
                let data = (0..rows * 3).map(|i| offset + scale * value(i + from)).collect();
                Features::new(rows, 3, data).unwrap()
            };
            let (real, generated) = (set(140, 0), set(61, 5));
            let found = prdc(&real, &generated, 2).unwrap();
            let (inside, samples) = direct(&real, &generated, 2);
            assert_eq!(found.generated_inside, inside);
            let pairs = found.real_covered.iter().copied().zip(found.real_recalled.iter().copied());
            assert_eq!(pairs.collect::<Vec<_>>(), samples);
        }
    }

    #[test]
    fn too_few_samples_are_refused() {
        let set = |rows: usize| Features::new(rows, 1, vec![0.0; rows]).unwrap();
        let message = |a, b, k| prdc(&set(a), &set(b), k).unwrap_err().to_string();
        assert_eq!(
            message(3, 4, 3),
            "the distance to neighbour 3 needs more than 3 real samples, found 3"
        );
        assert_eq!(
            message(4, 0, 3),
            "the distance to neighbour 3 needs more than 3 generated samples, found 0"
        );
        assert_eq!(prdc(&set(2), &set(2), 0), Err(MetricError::NoNeighbours));
        // No radius: nothing lies in a ball about a point that all samples share.
        let found = prdc(&set(4), &set(4), 3).unwrap();
        let scores = [found.precision(), found.recall(), found.density(), found.coverage()];
        assert_eq!(scores, [0.0; 4]);
    }
}
