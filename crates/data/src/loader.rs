use crate::shuffle::{SplitMix64, permutation};
use crate::{DataError, Result};
use serde::{Deserialize, Serialize};

/// Where a loader stands: `index` items of epoch `epoch` were handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Whole passes over the data that came before.
    pub epoch: u64,
    /// Items of this pass that were handed out.
    pub index: u64,
}

/// Hands out indices of items, every item once an epoch, in an order that depends only on the
/// seed and the epoch.
///
/// ```
/// # use sumi_data::Loader;
/// let mut loader = Loader::new(10, 7)?;
/// loader.next_batch(4);
/// let saved = loader.position();
/// let rest = loader.next_batch(9);
///
/// let mut resumed = Loader::new(10, 7)?;
/// resumed.seek(saved)?;
/// assert_eq!(resumed.next_batch(9), rest);
/// # Ok::<(), sumi_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    seed: u64,
    epoch: u64,
    index: usize,
    order: Vec<usize>,
}

impl Loader {
    /// A loader over items 0..n, at the start of epoch 0.
    ///
    /// # Errors
    /// [`DataError::Value`] where there are no items.
    pub fn new(n: usize, seed: u64) -> Result<Self> {
        if n == 0 {
            return Err(DataError::value("training pictures", "at least one", "none"));
        }
        Ok(Self { seed, epoch: 0, index: 0, order: epoch_order(n, seed, 0) })
    }

    /// The next `batch` indices, going on into the next epoch where this one ends.
    pub fn next_batch(&mut self, batch: usize) -> Vec<usize> {
        let mut indices = Vec::with_capacity(batch);
        while indices.len() < batch {
            let end = self.order.len().min(self.index + batch - indices.len());
            indices.extend_from_slice(&self.order[self.index..end]);
            self.index = end;
            if end == self.order.len() {
                self.start(self.epoch + 1, 0);
            }
        }
        indices
    }

    /// Where the loader stands; the index is always below the number of items.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, index: self.index as u64 }
    }

    /// Goes to a position that [`Loader::position`] gave.
    ///
    /// # Errors
    /// [`DataError::Value`] for an index that is not below the number of items: the data is not
    /// the data of the saved run.
    pub fn seek(&mut self, position: Position) -> Result<()> {
        let n = self.order.len();
        match usize::try_from(position.index) {
            Ok(index) if index < n => {
                self.start(position.epoch, index);
                Ok(())
            }
            _ => {
                let expected = format!("below the {n} training pictures");
                Err(DataError::value("the loader's saved index", expected, position.index))
            }
        }
    }

    fn start(&mut self, epoch: u64, index: usize) {
        self.order = epoch_order(self.order.len(), self.seed, epoch);
        self.epoch = epoch;
        self.index = index;
    }
}

/// Seeds an epoch's shuffle with SplitMix64's output for the run's seed plus the mixed epoch, so
/// that neither neighbouring seeds nor neighbouring epochs share an order.
fn epoch_order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mixed = SplitMix64::new(epoch).next();
    permutation(n, SplitMix64::new(seed.wrapping_add(mixed)).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_once_an_epoch() {
        let mut loader = Loader::new(10, 3).unwrap();
        let mut handed = Vec::new();
        for batch in [3, 3, 3, 3, 25, 1, 2] {
            handed.extend(loader.next_batch(batch));
        }
        assert_eq!(loader.position(), Position { epoch: 4, index: 0 });
        let mut orders = Vec::new();
        for epoch in handed.chunks(10) {
            orders.push(epoch.to_vec());
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..10));
        }
        orders.dedup();
        assert_eq!(orders.len(), 4);
    }

    #[test]
    fn a_resumed_run_equals_a_straight_one() {
        let mut straight = Loader::new(23, 5).unwrap();
        for cut in 0..60 {
            let mut first = Loader::new(23, 5).unwrap();
            first.next_batch(cut);
            let mut resumed = Loader::new(23, 5).unwrap();
            resumed.seek(first.position()).unwrap();
            assert_eq!(resumed.position(), first.position());
            straight.seek(Position::default()).unwrap();
            assert_eq!(resumed.next_batch(70), straight.next_batch(cut + 70)[cut..]);
        }
    }

    #[test]
    fn the_order_depends_on_the_seed_and_never_changes() {
        let order = |seed| Loader::new(8, seed).unwrap().next_batch(8);
        assert_ne!(order(0), order(1));
        // Frozen: a change here breaks every run that someone would resume.
        assert_eq!(order(0), [3, 5, 0, 2, 4, 7, 6, 1]);
    }

    #[test]
    fn no_items_and_a_foreign_position_are_errors() {
        assert!(Loader::new(0, 1).is_err());
        let mut loader = Loader::new(4, 1).unwrap();
        let error = loader.seek(Position { epoch: 0, index: 4 }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the loader's saved index: expected below the 4 training pictures, found 4"
        );
        assert!(loader.next_batch(0).is_empty());
    }
}
