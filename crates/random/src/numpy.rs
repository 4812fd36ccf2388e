//! NumPy's legacy generator.

use crate::TorchCpu;

/// NumPy's legacy generator: the permutations of `numpy.random.RandomState(seed)`, in which published numbers draw their subsets.
///
/// MT19937 seeded as [`TorchCpu`] is. A number below n comes from the low bits of a word, as many as n - 1 has, drawn
/// again until it is below n; a permutation is Fisher and Yates' shuffle from the last place to the second.
///
/// ```
/// let mut generator = sumi_random::NumpyLegacy::new(2020);
/// assert_eq!(generator.permutation(5), [3, 1, 2, 4, 0]); // numpy.random.RandomState(2020).permutation(5)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NumpyLegacy {
    words: TorchCpu,
}

impl NumpyLegacy {
    /// Seeds the generator as `RandomState(seed)` does.
    pub fn new(seed: u32) -> Self {
        Self { words: TorchCpu::new(u64::from(seed)) }
    }

    /// The numbers below `n` in random order: `permutation(n)`.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last as usize, self.up_to(last) as usize);
        }
        order
    }

    /// `size` different numbers below `n`, all of them where there are fewer: `choice(n, size, replace=False)`.
    pub fn choice(&mut self, n: u32, size: usize) -> Vec<u32> {
        let mut order = self.permutation(n);
        order.truncate(size);
        order
    }

    /// A number from 0 to `largest`.
    fn up_to(&mut self, largest: u32) -> u32 {
        let mask = u32::MAX.checked_shr(largest.leading_zeros()).unwrap_or(0);
        loop {
            let drawn = self.words.random_u32() & mask;
            if drawn <= largest {
                return drawn;
            }
        }
    }
}
