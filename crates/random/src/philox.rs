//! Counter-based random numbers.

use crate::NormalSource;
use crate::box_muller::{box_muller, uniform_24};

/// Multipliers and key increments of Philox4x32 (Salmon et al., table 2 and section 4.3).
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Words of one block.
const WORDS: u64 = 4;

/// Blocks that one pass of [`Philox::fill_normal`](NormalSource::fill_normal) computes side by side.
const LANES: usize = 16;

/// Philox4x32-10 on `L` counters at once, word by word: `counter[w][lane]`.
///
/// One round maps (c0, c1, c2, c3) to (hi(m1 c2) ^ c1 ^ k0, lo(m1 c2), hi(m0 c0) ^ c3 ^ k1, lo(m0 c0)); between
/// rounds the key grows by the Weyl constants (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011).
#[inline(always)]
pub(crate) fn philox4x32_10<const L: usize>(
    mut counter: [[u32; L]; 4],
    mut key: [u32; 2],
) -> [[u32; L]; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(WEYL[0]);
            key[1] = key[1].wrapping_add(WEYL[1]);
        }
        let [c0, c1, c2, c3] = &mut counter;
        for (((c0, c1), c2), c3) in c0.iter_mut().zip(c1).zip(c2).zip(c3) {
            let p0 = u64::from(MULTIPLIERS[0]) * u64::from(*c0);
            let p1 = u64::from(MULTIPLIERS[1]) * u64::from(*c2);
            *c0 = (p1 >> 32) as u32 ^ *c1 ^ key[0];
            *c1 = p1 as u32;
            *c2 = (p0 >> 32) as u32 ^ *c3 ^ key[1];
            *c3 = p0 as u32;
        }
    }
    counter
}

/// Splits a 64-bit number into its low and high words.
pub(crate) fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// A counter-based generator with random access: word `p` of stream `stream` of seed `seed`.
///
/// Philox4x32-10 with key = seed and counter = (p / 4, stream), low words first: 2^64 streams a seed, of 2^64
/// words each, so every use of randomness in a run can own a stream, and a run resumes from three numbers: [`seed`](Self::seed),
/// [`stream`](Self::stream) and [`position`](Self::position).
///
/// Only exactly rounded operations are used, so every value has the same bits on every platform.
///
/// ```
/// use sumi_random::Philox;
/// let mut whole = Philox::new(0, 3);
/// let words: Vec<u32> = (0..10).map(|_| whole.next_u32()).collect();
/// let mut resumed = Philox::new(0, 3);
/// resumed.set_position(7);
/// assert_eq!(resumed.next_u32(), words[7]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Philox {
    seed: u64,
    stream: u64,
    /// The next word.
    position: u64,
    /// The block that holds the next word, unless the next word is the first of its block.
    block: [u32; 4],
}

impl Philox {
    /// The first word of stream `stream` of seed `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, position: 0, block: [0; 4] }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// The number of 32-bit words drawn so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Moves to word `position` of the stream, forwards or backwards, at once.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
        if !position.is_multiple_of(WORDS) {
            self.block = self.block_at(position / WORDS);
        }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = (self.position % WORDS) as usize;
        if word == 0 {
            self.block = self.block_at(self.position / WORDS);
        }
        self.position = self.position.wrapping_add(1);
        self.block[word]
    }

    /// The next uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform_f32(&mut self) -> f32 {
        uniform_24(self.next_u32() >> 8)
    }

    /// The next uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32());
        let low = u64::from(self.next_u32());
        ((high << 32 | low) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next unbiased integer in [0, n); 0 for `n` = 0.
    ///
    /// The high word of n w, where words whose low word is below 2^32 mod n are drawn again (Lemire, "Fast
    /// random integer generation in an interval", 2019, algorithm 5).
    pub fn below(&mut self, n: u32) -> u32 {
        loop {
            let product = u64::from(n) * u64::from(self.next_u32());
            let low = product as u32;
            // 2^32 mod n < n, so the division is rarely needed.
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 32) as u32;
            }
        }
    }

    /// True with probability `p`: never for p <= 0, always for p >= 1, else to a resolution of 2^-32.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        f64::from(self.next_u32()) * (1.0 / 4_294_967_296.0) < p
    }

    /// Puts `items` into an order drawn uniformly from all orders (Fisher and Yates).
    ///
    /// At most 2^32 - 1 items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1);
            items.swap(last, other as usize);
        }
    }

    /// Block `index` of this stream.
    fn block_at(&self, index: u64) -> [u32; 4] {
        let [i0, i1] = halves(index);
        let [s0, s1] = halves(self.stream);
        philox4x32_10([[i0], [i1], [s0], [s1]], halves(self.seed)).map(|[word]| word)
    }

    /// Sixteen blocks from `index` on, word by word.
    fn blocks_at(&self, index: u64) -> [[u32; LANES]; 4] {
        let mut counter = [[0; LANES]; 4];
        let [s0, s1] = halves(self.stream);
        for lane in 0..LANES {
            let [i0, i1] = halves(index.wrapping_add(lane as u64));
            for (row, word) in counter.iter_mut().zip([i0, i1, s0, s1]) {
                row[lane] = word;
            }
        }
        philox4x32_10(counter, halves(self.seed))
    }
}

impl NormalSource for Philox {
    /// Overwrites `out` with standard normals by Box-Muller, four a block: (cos, sin) of words 0 and 1, then of words 2 and 3.
    ///
    /// Starts at the next whole block and uses whole blocks, so a draw split into pieces gives the same
    /// values only if every piece but the last is a multiple of four long.
    fn fill_normal(&mut self, out: &mut [f32]) {
        let mut block = self.position.div_ceil(WORDS);
        for chunk in out.chunks_mut(4 * LANES) {
            let normals = normal_blocks(&self.blocks_at(block));
            chunk.copy_from_slice(&normals.as_flattened()[..chunk.len()]);
            block = block.wrapping_add(chunk.len().div_ceil(4) as u64);
        }
        self.position = block.wrapping_mul(WORDS);
    }
}

/// The four normals of each block.
fn normal_blocks(words: &[[u32; LANES]; 4]) -> [[f32; 4]; LANES] {
    let mut rows = [[0.0; LANES]; 4];
    for pair in [0, 2] {
        for lane in 0..LANES {
            let u1 = uniform_24(words[pair][lane] >> 8);
            let u2 = uniform_24(words[pair + 1][lane] >> 8);
            (rows[pair][lane], rows[pair + 1][lane]) = box_muller::<false>(u1, u2);
        }
    }
    std::array::from_fn(|lane| rows.map(|row| row[lane]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three `philox4x32 10` lines of Random123's `tests/kat_vectors`: counter, key, result.
    const KNOWN_ANSWERS: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];

    #[test]
    fn known_answers() {
        for (counter, key, expected) in KNOWN_ANSWERS {
            let got = philox4x32_10(counter.map(|word| [word]), key);
            assert_eq!(got.map(|[word]| word), expected);

            let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
            let mut stream = Philox::new(join(key[0], key[1]), join(counter[2], counter[3]));
            let block = join(counter[0], counter[1]);
            // Only blocks that 2^64 words hold have a position.
            if let Some(position) = block.checked_mul(WORDS) {
                stream.set_position(position);
                assert_eq!([0; 4].map(|_| stream.next_u32()), expected);
            }
            assert_eq!(stream.block_at(block), expected);
        }
    }

    #[test]
    fn every_position_can_be_reached() {
        let mut whole = Philox::new(5, 1 << 40);
        let words: Vec<u32> = (0..40).map(|_| whole.next_u32()).collect();
        let mut other = Philox::new(5, 1 << 40);
        for p in (0..40).rev() {
            other.set_position(p);
            assert_eq!(other.position(), p);
            assert_eq!(other.next_u32(), words[p as usize]);
        }
        assert_ne!(Philox::new(5, 1).next_u32(), Philox::new(5, 2).next_u32());
        assert_ne!(Philox::new(5, 1).next_u32(), Philox::new(6, 1).next_u32());
    }

    #[test]
    fn normals_do_not_depend_on_lanes_and_follow_the_documented_formula() {
        let mut whole = vec![0.0; 1000];
        Philox::new(9, 2).fill_normal(&mut whole);
        let mut pieces = vec![0.0; 1000];
        let mut source = Philox::new(9, 2);
        let mut rest = &mut pieces[..];
        for n in [4, 8, 64, 68, 256, 600] {
            let (piece, tail) = rest.split_at_mut(n);
            source.fill_normal(piece);
            rest = tail;
        }
        assert!(rest.is_empty());
        assert_eq!(whole, pieces);
        assert_eq!(source.position(), 1000);

        let mut uniforms = Philox::new(9, 2);
        for pair in whole.chunks(2) {
            let radius = (-2.0 * (1.0 - f64::from(uniforms.uniform_f32())).ln()).sqrt();
            let angle = std::f64::consts::TAU * f64::from(uniforms.uniform_f32());
            assert!((f64::from(pair[0]) - radius * angle.cos()).abs() < 2e-6);
            assert!((f64::from(pair[1]) - radius * angle.sin()).abs() < 2e-6);
        }
    }

    #[test]
    fn a_short_draw_uses_whole_blocks() {
        let mut source = Philox::new(0, 0);
        source.next_u32();
        source.fill_normal(&mut [0.0; 5]);
        assert_eq!(source.position(), 12);
        source.fill_normal(&mut []);
        assert_eq!(source.position(), 12);
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let n = 1 << 20;
        let mut z = vec![0.0_f32; n];
        Philox::new(1, 0).fill_normal(&mut z);
        let moment =
            |power: i32| z.iter().map(|&z| f64::from(z).powi(power)).sum::<f64>() / n as f64;
        // Five standard errors: Var z^k = E z^2k - (E z^k)^2 = 1, 2, 15, 96.
        for (power, mean, variance) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)]
        {
            let error = (moment(power) - mean).abs();
            assert!(error < 5.0 * (variance / n as f64).sqrt(), "moment {power}: {error}");
        }
        let lag: f64 = z.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / n as f64;
        assert!(lag.abs() < 5.0 / (n as f64).sqrt(), "neighbours correlate: {lag}");
    }

    #[test]
    fn integers_are_in_range_and_even() {
        let mut source = Philox::new(3, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[source.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!(source.below(1), 0);
        assert_eq!(source.below(0), 0);
        // A third of all words is rejected here: n is just above 2^32 / 3 * 2.
        let n = 2_863_311_531;
        let mean = (0..20_000).map(|_| f64::from(source.below(n))).sum::<f64>() / 20_000.0;
        assert!((mean / f64::from(n) - 0.5).abs() < 0.0103, "{mean}");
    }

    #[test]
    fn probabilities_and_uniforms_keep_their_bounds() {
        let mut source = Philox::new(4, 0);
        assert!((0..1000).all(|_| !source.bernoulli(0.0) && source.bernoulli(1.0)));
        let hits = (0..40_000).filter(|_| source.bernoulli(0.25)).count();
        assert!(hits.abs_diff(10_000) < 450, "{hits}");
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&source.uniform_f32()));
            assert!((0.0..1.0).contains(&source.uniform_f64()));
        }
    }

    #[test]
    fn shuffle_reaches_every_order_alike() {
        let mut source = Philox::new(5, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            source.shuffle(&mut items);
            *counts.entry(items).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|c| c.abs_diff(1000) < 160), "{counts:?}");
        source.shuffle::<u8>(&mut []);
    }
}
