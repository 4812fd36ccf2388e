//! How far apart samples are: whether a class has collapsed.

use std::collections::BTreeSet;
use std::ops::Range;

use rayon::prelude::*;

use crate::features::squared_distance;
use crate::pairs::{LEFT, Norms, RIGHT, blocks, inner_products};
use crate::{Features, Labelled, MetricError};

/// The spread of one class, generated and real.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassSpread {
    /// The class.
    pub class: usize,
    /// Mean pairwise distance of the generated samples.
    pub generated: f64,
    /// Mean pairwise distance of the real samples.
    pub real: f64,
}

impl ClassSpread {
    /// Generated spread over real spread: 1 is as varied as the data, 0 is one sample again and again.
    pub fn ratio(&self) -> f64 {
        self.generated / self.real
    }
}

/// Mean Euclidean distance over all pairs: 2 / (N (N - 1)) sum_{i<j} |x_i - x_j|.
///
/// # Errors
/// If there are fewer than two samples.
pub fn mean_pairwise_distance(features: &Features) -> Result<f64, MetricError> {
    features.check_rows(2, "a mean pairwise distance")?;
    let n = features.rows();
    let norms = Norms::new(features);
    let strips: Vec<_> = blocks(n, LEFT).collect();
    // Collected first, so that the sum has one order at any thread count.
    let sums: Vec<f64> =
        strips.into_par_iter().map(|strip| later_distances(features, &norms, strip)).collect();
    let pairs = n as f64 * (n as f64 - 1.0) / 2.0;
    Ok(sums.iter().sum::<f64>() / pairs)
}

/// The sum of the distances of each row in `strip` to all rows after it.
fn later_distances(features: &Features, norms: &Norms, strip: Range<usize>) -> f64 {
    let left = features.matrix(strip.clone());
    let mut sum = 0.0;
    for block in blocks(features.rows(), RIGHT).filter(|block| block.end > strip.start) {
        let products = inner_products(features.matrix(block.clone()), left);
        for (column, i) in strip.clone().enumerate() {
            for (&product, j) in products.col_as_slice(column).iter().zip(block.clone()) {
                if j <= i {
                    continue;
                }
                let (least, most) = norms.interval(i, norms, j, product);
                // Also where a bound overflowed to NaN.
                let known = most - least <= UNSURE * least;
                let square = match known {
                    true => 0.5 * (least + most),
                    false => squared_distance(features.row(i), features.row(j)),
                };
                sum += square.sqrt();
            }
        }
    }
    sum
}

/// Squared distances that inner products leave open by more than this share are computed from the differences.
const UNSURE: f64 = 1e-9;

/// The spread of each class that either set has, by ascending class.
///
/// # Errors
/// If the sets differ in columns or a class has fewer than two samples in either.
pub fn spread_by_class(
    generated: Labelled<'_>,
    real: Labelled<'_>,
) -> Result<Vec<ClassSpread>, MetricError> {
    generated.features.check_columns(real.features)?;
    let labels = generated.labels.iter().chain(real.labels);
    let classes: BTreeSet<usize> = labels.copied().collect();
    let spread = |set: &Labelled<'_>, class, which| {
        let features = set.of_class(class);
        let found = features.rows();
        mean_pairwise_distance(&features).map_err(|_| MetricError::TooFewOfClass {
            class,
            which,
            found,
        })
    };
    let class_spread = |class| {
        Ok(ClassSpread {
            class,
            generated: spread(&generated, class, "generated")?,
            real: spread(&real, class, "real")?,
        })
    };
    classes.into_iter().map(class_spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_counts_once() {
        let corners = Features::new(3, 2, vec![0.0, 0.0, 3.0, 4.0, 0.0, 4.0]).unwrap();
        assert_eq!(mean_pairwise_distance(&corners), Ok(4.0));
        let one = Features::new(1, 2, vec![0.0, 0.0]).unwrap();
        assert_eq!(
            mean_pairwise_distance(&one).unwrap_err().to_string(),
            "a mean pairwise distance needs at least 2 samples, found 1"
        );
    }

    /// More than one block, near duplicates far from the origin among them.
    #[test]
    fn blocks_agree_with_every_pair_alone() {
        let value = |i: usize| 1e6 + ((i * i * 31 + i * 17) % 23) as f64 * [1.0, 1e-6][i % 2];
        let set = Features::new(600, 2, (0..1200).map(value).collect()).unwrap();
        let pairs = (0..600).flat_map(|i| (0..i).map(move |j| (i, j)));
        let all: Vec<f64> =
            pairs.map(|(i, j)| squared_distance(set.row(i), set.row(j)).sqrt()).collect();
        let expected = all.iter().sum::<f64>() / all.len() as f64;
        let found = mean_pairwise_distance(&set).unwrap();
        assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
    }

    #[test]
    fn a_collapsed_class_has_no_spread() {
        let real = Features::new(5, 1, vec![0.0, 2.0, 10.0, 14.0, 18.0]).unwrap();
        let generated = Features::new(4, 1, vec![7.0, 0.0, 7.0, 3.0]).unwrap();
        let real = Labelled::new(&real, &[4, 4, 9, 9, 9]).unwrap();
        let spread =
            |labels: &[usize]| spread_by_class(Labelled::new(&generated, labels).unwrap(), real);
        let classes = spread(&[9, 4, 9, 4]).unwrap();
        assert_eq!(classes.iter().map(|c| c.class).collect::<Vec<_>>(), [4, 9]);
        assert_eq!(classes[0].ratio(), 1.5);
        assert_eq!(classes[1].ratio(), 0.0);
        assert_eq!(
            spread(&[9, 9, 9, 4]).unwrap_err().to_string(),
            "class 4 has 1 generated samples; its spread needs at least 2"
        );
        assert!(matches!(
            spread(&[9, 9, 7, 7]),
            Err(MetricError::TooFewOfClass { class: 4, which: "generated", found: 0 })
        ));
        let wide = Features::new(4, 2, vec![0.0; 8]).unwrap();
        let wide = Labelled::new(&wide, &[4, 4, 9, 9]).unwrap();
        let error = spread_by_class(wide, real).unwrap_err();
        assert_eq!(error, MetricError::Dimension { left: 2, right: 1 });
    }
}
