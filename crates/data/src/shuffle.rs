//! Permutations that stay the same for ever: a checkpoint's position means nothing in another
//! order, and a held-out picture must never drift into training.

/// The seed of the split into training and held-out pictures that every config uses.
pub const SPLIT_SEED: u64 = 0x5153;

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`: the high half of the 128-bit product. Its bias is at most
    /// bound / 2^64, which no data set can show.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// A permutation of 0..n by Fisher and Yates' shuffle, from the last place down.
pub(crate) fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut random = SplitMix64::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

/// Splits 0..n into training and held-out indices, both ascending; `round(n * held_out_fraction)`
/// are held out, and which they are depends only on `n` and the seed.
///
/// ```
/// let (train, held_out) = sumi_data::split(10, 0.2, sumi_data::SPLIT_SEED);
/// assert_eq!((train.len(), held_out.len()), (8, 2));
/// ```
///
/// A fraction outside 0 to 1 counts as the nearer end.
pub fn split(n: usize, held_out_fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let count = (n as f64 * held_out_fraction.clamp(0.0, 1.0)).round() as usize;
    let mut train = permutation(n, seed);
    let mut held_out = train.split_off(n - count.min(n));
    train.sort_unstable();
    held_out.sort_unstable();
    (train, held_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_published_numbers() {
        let mut random = SplitMix64::new(1_234_567);
        let first: [u64; 3] = std::array::from_fn(|_| random.next());
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, published);
    }

    #[test]
    fn a_split_covers_everything_once() {
        let (train, held_out) = split(1_797, 0.2, SPLIT_SEED);
        assert_eq!((train.len(), held_out.len()), (1_438, 359));
        let mut all = [train, held_out].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1_797));
        assert!(split(5, 0.0, 1).1.is_empty());
        assert!(split(5, 1.0, 1).0.is_empty());
        assert_eq!(split(0, 0.5, 1), (vec![], vec![]));
    }

    #[test]
    fn the_order_never_changes() {
        assert_eq!(permutation(8, 1), FIRST_ORDER);
        assert_eq!(&split(1_797, 0.2, SPLIT_SEED).1[..4], FIRST_HELD_OUT);
    }

    /// Frozen: a change here breaks every run that someone would resume.
    const FIRST_ORDER: [usize; 8] = [0, 3, 7, 1, 2, 6, 5, 4];
    const FIRST_HELD_OUT: [usize; 4] = [2, 15, 18, 21];
}
