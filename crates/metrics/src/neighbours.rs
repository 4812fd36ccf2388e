//! Exact nearest neighbours: whether samples are copies, and which class they look like.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use crate::features::squared_distance;
use crate::pairs::{LEFT, Norms, RIGHT, blocks, inner_products};
use crate::{Features, Labelled, MetricError};

/// A reference near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row of the reference.
    pub index: usize,
    /// Euclidean distance to it.
    pub distance: f64,
}

/// The `k` references nearest to each query, nearest first; equally near ones by ascending index.
///
/// Exact: all pairs are compared by the inner products of blocks, and those that may be among the nearest by the sum of squared differences,
/// so the result is that of comparing all pairs so. All references are returned where there are fewer than `k`.
///
/// # Errors
/// If the sets differ in columns or `k` is 0.
pub fn nearest_neighbours(
    queries: &Features,
    references: &Features,
    k: usize,
) -> Result<Vec<Vec<Neighbour>>, MetricError> {
    queries.check_columns(references)?;
    search(queries, references, k, false)
}

/// The `k` samples nearest to each sample of the same set, itself excepted, as [`nearest_neighbours`] orders them.
///
/// A second sample with the same features is another sample, at distance 0.
///
/// # Errors
/// If `k` is 0.
pub fn nearest_others(features: &Features, k: usize) -> Result<Vec<Vec<Neighbour>>, MetricError> {
    search(features, features, k, true)
}

/// The nearest references of every query; with `others`, not the one in its own row.
fn search(
    queries: &Features,
    references: &Features,
    k: usize,
    others: bool,
) -> Result<Vec<Vec<Neighbour>>, MetricError> {
    if k == 0 {
        return Err(MetricError::NoNeighbours);
    }
    let search = Search {
        queries,
        references,
        norms: [Norms::new(queries), Norms::new(references)],
        k,
        others,
    };
    let strips: Vec<_> = blocks(queries.rows(), LEFT).collect();
    Ok(strips.into_par_iter().flat_map_iter(|strip| search.strip(strip)).collect())
}

/// Two sets between which neighbours are sought.
struct Search<'a> {
    queries: &'a Features,
    references: &'a Features,
    norms: [Norms; 2],
    k: usize,
    others: bool,
}

impl Search<'_> {
    /// The neighbours of the queries in `strip`, passing over the references once.
    fn strip(&self, strip: Range<usize>) -> Vec<Vec<Neighbour>> {
        let left = self.queries.matrix(strip.clone());
        let capacity = self.k.min(self.references.rows()) + 1;
        let mut nearest = vec![Vec::with_capacity(capacity); strip.len()];
        for block in blocks(self.references.rows(), RIGHT) {
            let products = inner_products(self.references.matrix(block.clone()), left);
            for (column, found) in nearest.iter_mut().enumerate() {
                let products = products.col_as_slice(column);
                self.gather(strip.start + column, block.clone(), products, found);
            }
        }
        for neighbour in nearest.iter_mut().flatten() {
            neighbour.distance = neighbour.distance.sqrt();
        }
        nearest
    }

    /// Inserts what is near among the references in `block`; distances are squared.
    fn gather(
        &self,
        query: usize,
        block: Range<usize>,
        products: &[f64],
        found: &mut Vec<Neighbour>,
    ) {
        let [queries, references] = &self.norms;
        let mut farthest = f64::INFINITY;
        for (index, &product) in block.zip(products) {
            if found.len() >= self.k {
                farthest = found[self.k - 1].distance;
            }
            // Written so that a bound that overflowed to NaN leaves the question open.
            let (least, _) = queries.interval(query, references, index, product);
            if least > farthest || (self.others && index == query) {
                continue;
            }
            let distance = squared_distance(self.queries.row(query), self.references.row(index));
            insert(found, Neighbour { index, distance }, self.k);
        }
    }
}

/// Inserts `candidate` after all that are as near, and keeps the first `k`.
fn insert(found: &mut Vec<Neighbour>, candidate: Neighbour, k: usize) {
    let at = found.partition_point(|n| n.distance <= candidate.distance);
    if at < k {
        found.insert(at, candidate);
        found.truncate(k);
    }
}

/// How often a reader names the right class.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// Fraction of all test samples.
    pub overall: f64,
    /// The same for each class among them, by ascending class.
    pub per_class: Vec<ClassAccuracy>,
}

/// How often a reader names the right class, among the samples of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassAccuracy {
    /// The class.
    pub class: usize,
    /// Test samples of the class.
    pub samples: usize,
    /// Fraction of them that is read as the class.
    pub fraction: f64,
}

/// The fraction of `test` that its `k` nearest neighbours in `train` read rightly.
///
/// The class most frequent among the neighbours is read; of equally frequent ones, that of the nearest neighbour.
///
/// # Errors
/// If the sets differ in columns, `k` is 0, or a set is empty.
pub fn nearest_neighbour_accuracy(
    train: Labelled<'_>,
    test: Labelled<'_>,
    k: usize,
) -> Result<Accuracy, MetricError> {
    for set in [&train, &test] {
        set.features.check_rows(1, "a nearest-neighbour reader")?;
    }
    let neighbours = nearest_neighbours(test.features, train.features, k)?;
    // Samples and right readings of each class.
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (&class, found) in test.labels.iter().zip(&neighbours) {
        let (samples, right) = counts.entry(class).or_default();
        *samples += 1;
        *right += usize::from(vote(found, train.labels) == Some(class));
    }
    let right: usize = counts.values().map(|&(_, right)| right).sum();
    let per_class = counts.iter().map(|(&class, &(samples, right))| ClassAccuracy {
        class,
        samples,
        fraction: right as f64 / samples as f64,
    });
    Ok(Accuracy {
        overall: right as f64 / test.labels.len() as f64,
        per_class: per_class.collect(),
    })
}

/// The most frequent class; of equally frequent ones, the first met.
fn vote(neighbours: &[Neighbour], labels: &[usize]) -> Option<usize> {
    let classes = neighbours.iter().map(|n| labels[n.index]);
    let votes = |class: usize| classes.clone().filter(|&c| c == class).count();
    // `max_by_key` keeps the last maximum, so the nearest comes last.
    classes.clone().rev().max_by_key(|&class| votes(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Features {
        Features::new(values.len(), 1, values.to_vec()).unwrap()
    }

    #[test]
    fn neighbours_come_nearest_first_and_ties_by_index() {
        let references = column(&[5.0, 1.0, 3.0, 1.0, -1.0]);
        let found = nearest_neighbours(&column(&[1.0, 4.0]), &references, 3).unwrap();
        let indices = |i: usize| found[i].iter().map(|n| n.index).collect::<Vec<_>>();
        assert_eq!(indices(0), [1, 3, 2]);
        assert_eq!(indices(1), [0, 2, 1]);
        assert_eq!(found[0].iter().map(|n| n.distance).collect::<Vec<_>>(), [0.0, 0.0, 2.0]);
        assert_eq!(nearest_neighbours(&column(&[0.0]), &references, 9).unwrap()[0].len(), 5);
    }

    /// Against sorting all distances, over more than one block of queries.
    #[test]
    fn neighbours_agree_with_a_full_sort() {
        let value = |i: usize| ((i * i * 31 + i * 17) % 23) as f64;
        let queries = Features::new(50, 3, (0..150).map(value).collect()).unwrap();
        let references = Features::new(70, 3, (0..210).map(|i| value(i + 7)).collect()).unwrap();
        let found = nearest_neighbours(&queries, &references, 8).unwrap();
        assert_eq!(found.len(), 50);
        for (i, found) in found.iter().enumerate() {
            let mut all: Vec<Neighbour> = (0..70)
                .map(|index| Neighbour {
                    index,
                    distance: squared_distance(queries.row(i), references.row(index)).sqrt(),
                })
                .collect();
            all.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            assert_eq!(found[..], all[..8]);
        }
    }

    #[test]
    fn readers_vote_and_the_nearest_breaks_ties() {
        let train = column(&[0.0, 0.2, 0.9, 5.0, 5.1]);
        let train = Labelled::new(&train, &[3, 7, 7, 3, 3]).unwrap();
        let test = column(&[0.05, 0.05, 5.0]);
        let test = Labelled::new(&test, &[3, 7, 3]).unwrap();
        let read = |k| nearest_neighbour_accuracy(train, test, k).unwrap();
        let fractions =
            |k| read(k).per_class.iter().map(|c| (c.class, c.fraction)).collect::<Vec<_>>();
        assert_eq!(fractions(1), [(3, 1.0), (7, 0.0)]);
        assert_eq!(fractions(2), [(3, 1.0), (7, 0.0)]);
        assert_eq!(fractions(3), [(3, 0.5), (7, 1.0)]);
        assert_eq!(read(1).overall, 2.0 / 3.0);
        assert_eq!(read(1).per_class[0].samples, 2);
    }

    #[test]
    fn bad_input_is_refused() {
        let wide = Features::new(1, 2, vec![0.0; 2]).unwrap();
        let error = nearest_neighbours(&column(&[0.0]), &wide, 1).unwrap_err();
        assert_eq!(error, MetricError::Dimension { left: 1, right: 2 });
        let one = column(&[0.0]);
        assert_eq!(nearest_neighbours(&one, &one, 0), Err(MetricError::NoNeighbours));
        let none = column(&[]);
        let (none, one) = (Labelled::new(&none, &[]).unwrap(), Labelled::new(&one, &[0]).unwrap());
        for (train, test) in [(none, one), (one, none)] {
            let error = nearest_neighbour_accuracy(train, test, 1).unwrap_err();
            assert_eq!(
                error.to_string(),
                "a nearest-neighbour reader needs at least 1 samples, found 0"
            );
        }
    }
}
