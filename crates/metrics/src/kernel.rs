//! The kernel distance between two sets: KID where the features are Inception's.

use faer::MatRef;
use rayon::prelude::*;
use sumi_random::NumpyLegacy;

use crate::mean::mean_and_deviation;
use crate::order::countable;
use crate::pairs::{LEFT, blocks, inner_products};
use crate::{Features, MetricError};

/// Which subsets of two sets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubsetOptions {
    /// Pairs of subsets.
    pub subsets: usize,
    /// Samples of a subset.
    pub size: usize,
    /// Of `numpy.random.RandomState`, which chooses them.
    pub seed: u32,
}

impl Default for SubsetOptions {
    /// torch-fidelity's: 100 subsets of 1,000, seed 2020.
    fn default() -> Self {
        Self { subsets: 100, size: 1000, seed: 2020 }
    }
}

/// A pair of subsets: rows of the first set and rows of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Rows of the first set, at least two.
    pub first: Vec<usize>,
    /// Rows of the second set, at least two.
    pub second: Vec<usize>,
}

/// The kernel distance of two sets over pairs of subsets.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelDistance {
    /// The mean over the subsets. An unbiased estimate: between like sets it is below 0 as often as above.
    pub mean: f64,
    /// The standard deviation over the subsets, `numpy.std`. It is that of one subset's value; subsets overlap, so it says little
    /// about the error of the mean.
    pub deviation: f64,
    /// The value of each pair of subsets.
    pub values: Vec<f64>,
}

/// The squared maximum mean discrepancy with the kernel k(x, y) = (x.y / D + 1)^3, averaged over random subsets.
///
/// MMD^2 = sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1)) - 2 sum_{i, j} k(x_i, y_j) / (m n):
/// Gretton et al., 2012, equation 3; Binkowski et al., 2018, section 4. Subsets are drawn without replacement, from the first set and
/// from the second in turn, as torch-fidelity does: its numbers come out where the sets come in its order.
///
/// # Errors
/// If the sets differ in columns, a set is smaller than a subset, or there are no subsets or fewer than two samples in them.
pub fn kernel_distance(
    first: &Features,
    second: &Features,
    options: &SubsetOptions,
) -> Result<KernelDistance, MetricError> {
    let size = options.size;
    for (which, set) in [("first", first), ("second", second)] {
        if size > set.rows() {
            return Err(MetricError::SubsetSize { size, which, found: set.rows() });
        }
    }
    let (m, n) = (countable(first.rows())?, countable(second.rows())?);
    let mut generator = NumpyLegacy::new(options.seed);
    let mut choice =
        |n| generator.choice(n, size).into_iter().map(|i| i as usize).collect::<Vec<_>>();
    over(
        first,
        second,
        (0..options.subsets).map(|_| Subset { first: choice(m), second: choice(n) }),
    )
}

/// The same over subsets that were chosen before.
///
/// # Errors
/// If the sets differ in columns, there is no subset, or a subset has fewer than two samples or one that is not there.
pub fn kernel_distance_of(
    first: &Features,
    second: &Features,
    subsets: &[Subset],
) -> Result<KernelDistance, MetricError> {
    over(first, second, subsets.iter().cloned())
}

fn over(
    first: &Features,
    second: &Features,
    subsets: impl Iterator<Item = Subset>,
) -> Result<KernelDistance, MetricError> {
    first.check_columns(second)?;
    let values = subsets
        .map(|subset| discrepancy(&first.select(&subset.first)?, &second.select(&subset.second)?))
        .collect::<Result<Vec<f64>, _>>()?;
    if values.is_empty() {
        return Err(MetricError::NoSubsets);
    }
    let (mean, deviation) = mean_and_deviation(&values);
    Ok(KernelDistance { mean, deviation, values })
}

/// MMD^2 of all of `x` and `y`.
fn discrepancy(x: &Features, y: &Features) -> Result<f64, MetricError> {
    for set in [x, y] {
        set.check_rows(2, "a subset of the kernel distance")?;
    }
    // Strips of all three sums, each a sum of its own that one thread makes.
    let mut tasks = Vec::new();
    for (sum, set) in [x, y].into_iter().enumerate() {
        tasks.extend(blocks(set.rows(), LEFT).map(|strip| (sum, set, strip)));
    }
    tasks.extend(blocks(x.rows(), LEFT).map(|strip| (2, x, strip)));
    let parts: Vec<(usize, f64)> = tasks
        .into_par_iter()
        .map(|(sum, set, strip)| {
            let left = set.matrix(strip.clone());
            let part = match sum {
                2 => between(left, y.matrix(0..y.rows())),
                _ => within(left, set.matrix(0..strip.end), strip.start),
            };
            (sum, part)
        })
        .collect();
    let mut sums = [0.0; 3];
    for (sum, part) in parts {
        sums[sum] += part;
    }
    let (m, n) = (x.rows() as f64, y.rows() as f64);
    let value = sums[0] / (m * (m - 1.0)) + sums[1] / (n * (n - 1.0)) - 2.0 * sums[2] / (m * n);
    if value.is_finite() {
        Ok(value)
    } else {
        Err(MetricError::Overflow { what: "kernel distance" })
    }
}

/// The kernel's sum over the pairs of `left`, which are the rows from `start`, with all rows before them, both ways round.
fn within(left: MatRef<'_, f64>, rows: MatRef<'_, f64>, start: usize) -> f64 {
    let products = inner_products(rows, left);
    let columns = (0..products.ncols()).map(|j| &products.col_as_slice(j)[..start + j]);
    2.0 * columns.map(|column| kernel_sum(column, rows.ncols())).sum::<f64>()
}

/// The kernel's sum over all pairs.
fn between(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> f64 {
    let products = inner_products(right, left);
    let columns = (0..products.ncols()).map(|j| products.col_as_slice(j));
    columns.map(|column| kernel_sum(column, right.ncols())).sum()
}

/// The sum of (p / D + 1)^3 over inner products p.
fn kernel_sum(products: &[f64], dimension: usize) -> f64 {
    let scale = 1.0 / dimension.max(1) as f64;
    let kernel = |product: f64| {
        let base = product * scale + 1.0;
        base * base * base
    };
    // Eight independent sums, as in `squared_distance`.
    let (chunks, rest) = products.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for i in 0..8 {
            sums[i] += kernel(chunk[i]);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&p| kernel(p)).sum::<f64>()
}
