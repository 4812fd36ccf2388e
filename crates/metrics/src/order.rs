//! Random orders and halves.

use sumi_random::NumpyLegacy;

use crate::MetricError;

/// `rows` as the generators of random orders count them.
pub(crate) fn countable(rows: usize) -> Result<u32, MetricError> {
    u32::try_from(rows).map_err(|_| MetricError::TooManyRows { rows })
}

/// Two disjoint random sets of `count` of `n` samples: what a score is between the real data and itself is the noise floor
/// of that score at `count` samples.
///
/// The first and the next `count` numbers of `numpy.random.RandomState(seed).permutation(n)`.
///
/// # Errors
/// A `count` of 0, or more than half of `n`.
pub fn halves(n: usize, count: usize, seed: u32) -> Result<(Vec<usize>, Vec<usize>), MetricError> {
    if count == 0 || count > n / 2 {
        return Err(MetricError::Halves { count, rows: n });
    }
    let order = NumpyLegacy::new(seed).permutation(countable(n)?);
    let half = |from: usize| order[from..from + count].iter().map(|&i| i as usize).collect();
    Ok((half(0), half(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_disjoint_and_of_one_size() {
        let (first, second) = halves(11, 5, 3).unwrap();
        assert_eq!((first.len(), second.len()), (5, 5));
        let mut all = [first, second].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|&i| i < 11));
        assert_ne!(halves(11, 5, 3), halves(11, 5, 4));
        assert_eq!(
            halves(11, 6, 3).unwrap_err().to_string(),
            "two halves of 6 samples need a set of 12, found 11; choose halves of 1 to 5"
        );
        assert!(halves(11, 0, 3).is_err() && halves(0, 1, 3).is_err());
    }
}
