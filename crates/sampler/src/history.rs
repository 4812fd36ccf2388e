//! What a multistep method remembers.

use std::collections::VecDeque;
use sumi_process::NoiseLevel;

/// The last few values of a multistep method, each with the level at which it was taken.
#[derive(Clone, Debug)]
pub struct History<S> {
    latest_first: VecDeque<(NoiseLevel, S)>,
    capacity: usize,
}

impl<S> History<S> {
    /// Remembers nothing yet, and never more than `capacity` values.
    pub fn new(capacity: usize) -> Self {
        Self { latest_first: VecDeque::with_capacity(capacity), capacity }
    }

    /// Remembers `value`, and forgets the oldest where there are then too many.
    pub fn push(&mut self, level: NoiseLevel, value: S) {
        self.latest_first.push_front((level, value));
        self.latest_first.truncate(self.capacity);
    }

    /// The value of `i` steps before the latest; `None` where it is not known, or not any more.
    pub fn get(&self, i: usize) -> Option<&(NoiseLevel, S)> {
        self.latest_first.get(i)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.latest_first.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.latest_first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_first_and_the_oldest_is_forgotten() {
        let mut history = History::new(2);
        assert!(history.is_empty() && history.get(0).is_none());
        for i in 1..=3 {
            let sigma = f64::from(i);
            history.push(NoiseLevel { alpha: 1.0, sigma }, i);
        }
        assert_eq!(history.len(), 2);
        assert_eq!(history.get(0), Some(&(NoiseLevel { alpha: 1.0, sigma: 3.0 }, 3)));
        assert_eq!(history.get(1).map(|(level, value)| (level.sigma, *value)), Some((2.0, 2)));
        assert!(history.get(2).is_none());
        let mut nothing = History::new(0);
        nothing.push(NoiseLevel::CLEAN, 1);
        assert!(nothing.is_empty());
    }
}
