//! Whether samples were learnt by heart.

use crate::neighbours::{nearest_neighbours, nearest_others_of};
use crate::order::random_rows;
use crate::{Features, MetricError, Neighbour};

/// How the distances of generated samples to the training set are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryOptions {
    /// The share of real distances below which a generated sample counts as a copy, 0 to 1.
    pub quantile: f64,
    /// Training samples whose own distances are measured, chosen at random where there are more.
    pub reference: usize,
    /// Of `numpy.random.RandomState`, which chooses them.
    pub seed: u32,
}

impl Default for MemoryOptions {
    /// The first percentile of 10,000 distances, seed 2020.
    fn default() -> Self {
        Self { quantile: 0.01, reference: 10_000, seed: 2020 }
    }
}

/// How near generated samples lie to the training set, beside how near its samples lie to each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// The training sample nearest to each generated one.
    pub nearest: Vec<Neighbour>,
    /// Distances of training samples to the nearest other one.
    pub reference: Vec<f64>,
    /// The quantile of `reference`: a generated sample no farther than this from the training set counts as a copy.
    pub threshold: f64,
    /// The share of such samples, 0 to 1. Fresh samples of the training distribution have about the quantile.
    pub copied: f64,
    /// The probability that a generated sample is nearer to the training set than a training sample is, equals counting half: 0.5 for
    /// fresh samples, 1 for copies.
    pub nearer: f64,
}

/// Compares the distances of `generated` samples to their nearest `training` sample with those of training samples to
/// their nearest other one.
///
/// After Meehan, Chaudhuri and Dasgupta, 2020, whose reference is a held-out set and whose statistic is the z-score of
/// the rank sum that is `nearer` here; training samples with themselves left out need no held-out set. `copied` asks, as
/// Carlini et al., 2023, for single samples far nearer than usual, but with one threshold for all. The threshold is
/// `numpy.quantile`'s, linear between distances.
///
/// # Errors
/// If the sets differ in columns, there is no generated sample or no second training sample, or the quantile is not from 0 to 1.
pub fn memory(
    generated: &Features,
    training: &Features,
    options: &MemoryOptions,
) -> Result<Memory, MetricError> {
    generated.check_rows(1, "a comparison of distances")?;
    training.check_rows(2, "a distance to the nearest other sample")?;
    if !(0.0..=1.0).contains(&options.quantile) || options.reference == 0 {
        let MemoryOptions { quantile, reference, .. } = *options;
        return Err(MetricError::MemoryOptions { quantile, reference });
    }
    let first = |found: Vec<Vec<Neighbour>>| found.into_iter().flatten().collect::<Vec<_>>();
    let nearest = first(nearest_neighbours(generated, training, 1)?);
    let rows = random_rows(training.rows(), options.reference, options.seed)?;
    let reference = first(nearest_others_of(training, &rows, 1)?);
    let reference: Vec<f64> = reference.iter().map(|n| n.distance).collect();
    let mut sorted = reference.clone();
    sorted.sort_by(f64::total_cmp);
    let threshold = quantile(&sorted, options.quantile);
    let share = |counts: f64| counts / nearest.len() as f64;
    let copied = share(nearest.iter().filter(|n| n.distance <= threshold).count() as f64);
    let farther = |n: &Neighbour| {
        let below = sorted.partition_point(|&d| d < n.distance);
        let not_above = sorted.partition_point(|&d| d <= n.distance);
        1.0 - (below + not_above) as f64 / (2 * sorted.len()) as f64
    };
    let nearer = share(nearest.iter().map(farther).sum());
    Ok(Memory { nearest, reference, threshold, copied, nearer })
}

impl Memory {
    /// Counts both kinds of distance in `bins` equal steps from 0 to the largest; `bins` of 0 counts as 1.
    pub fn histogram(&self, bins: usize) -> Histogram {
        let generated: Vec<f64> = self.nearest.iter().map(|n| n.distance).collect();
        let largest = generated.iter().chain(&self.reference).copied().fold(0.0, f64::max);
        let step = largest / bins.max(1) as f64;
        let count = |distances: &[f64]| {
            let mut counts = vec![0; bins.max(1)];
            for distance in distances {
                // Without any width, everything lies in the first step; the largest distance lies in the last.
                let bin = if step > 0.0 { (distance / step) as usize } else { 0 };
                counts[bin.min(bins.max(1) - 1)] += 1;
            }
            counts
        };
        Histogram { step, generated: count(&generated), reference: count(&self.reference) }
    }
}

/// Two kinds of distance, counted in the same steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Bin i holds the distances from i to i + 1 steps; the last one its upper end too.
    pub step: f64,
    /// Generated samples by their distance to the training set.
    pub generated: Vec<usize>,
    /// Training samples by their distance to the nearest other one.
    pub reference: Vec<usize>,
}

/// The value at `q` (N - 1) of ascending ones, linear between two.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let [low, high] = [at.floor(), at.ceil()].map(|i| sorted[i as usize]);
    if low == high { low } else { low + (high - low) * (at - at.floor()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Features {
        Features::new(values.len(), 1, values.to_vec()).unwrap()
    }

    #[test]
    fn copies_are_nearer_than_real_samples_are() {
        // Distances to the nearest other: 1, 1, 2, 3, 3.
        let training = column(&[0.0, 1.0, 3.0, 6.0, 9.0]);
        let options = MemoryOptions { quantile: 0.25, ..MemoryOptions::default() };
        let found = memory(&column(&[3.0, 9.1, 7.5, 20.0]), &training, &options).unwrap();
        let mut reference = found.reference.clone();
        reference.sort_by(f64::total_cmp);
        assert_eq!((reference, found.threshold), (vec![1.0, 1.0, 2.0, 3.0, 3.0], 1.0));
        assert_eq!(found.nearest.iter().map(|n| n.index).collect::<Vec<_>>(), [2, 4, 3, 4]);
        assert_eq!(found.copied, 0.5);
        // 0 and 0.1 are nearer than all 5, 1.5 than 3, 11 than none.
        assert!((found.nearer - (1.0 + 1.0 + 0.6) / 4.0).abs() < 1e-15);
        let histogram = found.histogram(11);
        assert_eq!(histogram.step, 1.0);
        assert_eq!(histogram.reference[..4], [0, 2, 1, 2]);
        assert_eq!((histogram.generated[..2].to_vec(), histogram.generated[10]), (vec![2, 1], 1));
        // Equal distances count half.
        let same = memory(&column(&[4.0]), &column(&[0.0, 1.0, 2.0, 3.0]), &options).unwrap();
        assert_eq!((same.nearer, same.copied), (0.5, 1.0));
        let copies = memory(&training, &training, &MemoryOptions::default()).unwrap();
        assert_eq!((copies.copied, copies.nearer), (1.0, 1.0));
    }

    #[test]
    fn the_reference_may_be_a_part() {
        let training = column(&(0..100).map(|i| f64::from(i * i)).collect::<Vec<_>>());
        let few = MemoryOptions { reference: 7, ..MemoryOptions::default() };
        let found = memory(&training, &training, &few).unwrap();
        assert_eq!((found.reference.len(), found.nearest.len()), (7, 100));
        // The gap to the square before: 2 i - 1, and 1 for the first.
        assert!(found.reference.iter().all(|d| d % 2.0 == 1.0));
        let duplicates = memory(&column(&[5.0]), &column(&[5.0, 5.0]), &few).unwrap();
        assert_eq!((duplicates.threshold, duplicates.copied, duplicates.nearer), (0.0, 1.0, 0.5));
        assert_eq!(duplicates.histogram(3).generated, [1, 0, 0]);
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let found = [0.0, 0.5, 0.9, 1.0].map(|q| quantile(&sorted, q));
        // numpy.quantile([1, 2, 4, 8], [0, 0.5, 0.9, 1])
        assert!(found.iter().zip([1.0, 3.0, 6.8, 8.0]).all(|(x, y)| (x - y).abs() < 1e-14));
    }

    #[test]
    fn bad_input_is_refused() {
        let two = column(&[0.0, 1.0]);
        let message = |a: &[f64], b: &[f64], options: &MemoryOptions| {
            memory(&column(a), &column(b), options).unwrap_err().to_string()
        };
        let options = MemoryOptions::default();
        assert_eq!(
            message(&[], two.data(), &options),
            "a comparison of distances needs at least 1 samples, found 0"
        );
        assert_eq!(
            message(&[1.0], &[1.0], &options),
            "a distance to the nearest other sample needs at least 2 samples, found 1"
        );
        let wrong = MemoryOptions { quantile: f64::NAN, ..options };
        assert_eq!(
            message(&[1.0], two.data(), &wrong),
            "a quantile lies from 0 to 1 and is one of at least 1 sample, found NaN of 10000"
        );
    }
}
