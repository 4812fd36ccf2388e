//! PyTorch's CPU generator.

use crate::NormalSource;
use crate::box_muller::{box_muller, uniform_24};

const N: usize = 624;
const M: usize = 397;

/// PyTorch's CPU generator: the draws of `torch.Generator("cpu").manual_seed(seed)`.
///
/// MT19937 (Matsumoto and Nishimura, 1998), initialised as `init_genrand` does from the low 32 bits
/// of the seed. As in PyTorch, [`fill_normal`](NormalSource::fill_normal) has two paths:
///
/// - 16 values or more: one 24-bit uniform a value, then Box-Muller over blocks of 16, in which value
///   j < 8 is sqrt(-2 ln(1 - u_j)) cos(2 pi u_{j+8}) and value j + 8 the sine; if 16 does not divide
///   the length, the last 16 values are drawn again from new uniforms
///   (`normal_fill_AVX2` in `ATen/native/cpu/DistributionTemplates.h`);
/// - fewer: one pair of normals from two 53-bit uniforms at a time, the second of which is kept for
///   the next short draw (`normal_distribution` in `ATen/core/DistributionsHelper.h`).
///
/// So one draw of 32 values and two draws of 16 agree, but other splits do not.
///
/// The values are bit for bit those of PyTorch for x86-64 with AVX2 or AVX-512: the long path on every platform, the
/// short one as long as the logarithm, sine and cosine of f64 round to the same f32 as the C library's. PyTorch
/// itself, without AVX2, calls the C library's functions and differs in the last bit of some.
///
/// ```
/// let mut generator = sumi_random::TorchCpu::new(0);
/// assert_eq!(generator.normal_f32(3), [1.540_996_1, -0.293_428_9, -2.178_789_4]); // torch.randn(3)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TorchCpu {
    state: [u32; N],
    /// Words of `state` already used.
    used: usize,
    /// The second value of the last scalar pair.
    spare: Option<f64>,
}

/// Why bytes are not a saved [`TorchCpu`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The number of bytes is wrong.
    #[error("a saved CPU generator has {expected} bytes, found {found}")]
    Length {
        /// Bytes of every saved state.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The number of words used is outside the state.
    #[error("a saved CPU generator has used 0 to {N} words, found {found}: the bytes are damaged")]
    Position {
        /// Position given.
        found: u32,
    },
    /// The flag before the spare normal is neither 0 nor 1, or the spare normal is not finite.
    #[error("the spare normal of a saved CPU generator is damaged")]
    Spare,
}

impl TorchCpu {
    /// Bytes of a saved state: 624 words, the position, a flag and the two halves of the spare normal.
    pub const STATE_BYTES: usize = 4 * (N + 4);

    /// Seeds the generator as `manual_seed(seed)` does; only the low 32 bits of `seed` count.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; N];
        state[0] = seed as u32;
        for j in 1..N {
            let previous = state[j - 1];
            state[j] =
                1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(j as u32);
        }
        Self { state, used: N, spare: None }
    }

    /// The next 32 random bits.
    pub fn random_u32(&mut self) -> u32 {
        if self.used == N {
            self.twist();
        }
        let mut y = self.state[self.used];
        self.used += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// The next uniform in [0, 1), a multiple of 2^-24: `torch.rand(1)`.
    pub fn uniform_f32(&mut self) -> f32 {
        uniform_24(self.random_u32())
    }

    /// The next `n` standard normals: `torch.randn(n)`.
    pub fn normal_f32(&mut self, n: usize) -> Vec<f32> {
        let mut out = vec![0.0; n];
        self.fill_normal(&mut out);
        out
    }

    /// Saves the state as little-endian words.
    pub fn to_bytes(&self) -> Vec<u8> {
        let spare = self.spare.unwrap_or(0.0).to_bits();
        let tail =
            [self.used as u32, u32::from(self.spare.is_some()), spare as u32, (spare >> 32) as u32];
        let words = self.state.iter().chain(&tail);
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Restores a state that [`to_bytes`](Self::to_bytes) saved.
    ///
    /// # Errors
    /// If the length, the position or the spare normal cannot be those of a saved state.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let wrong_length = StateError::Length { expected: Self::STATE_BYTES, found: bytes.len() };
        let (chunks, []) = bytes.as_chunks::<4>() else {
            return Err(wrong_length);
        };
        let words: Vec<u32> = chunks.iter().map(|&w| u32::from_le_bytes(w)).collect();
        let Some((&state, tail)) = words.split_first_chunk::<N>() else {
            return Err(wrong_length);
        };
        let &[used, has_spare, low, high] = tail else {
            return Err(wrong_length);
        };
        if used as usize > N {
            return Err(StateError::Position { found: used });
        }
        let spare = f64::from_bits(u64::from(high) << 32 | u64::from(low));
        if has_spare > 1 || !spare.is_finite() {
            return Err(StateError::Spare);
        }
        Ok(Self { state, used: used as usize, spare: (has_spare == 1).then_some(spare) })
    }

    /// The next uniform in [0, 1), a multiple of 2^-53.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.random_u32());
        let low = u64::from(self.random_u32());
        let bits = ((high << 32) | low) & ((1 << 53) - 1);
        bits as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next normal of the path for short draws.
    fn scalar_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let u1 = self.uniform_f64();
        let u2 = self.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = std::f64::consts::TAU * u1;
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Overwrites `out` with uniforms.
    fn uniforms(&mut self, out: &mut [f32]) {
        for u in out {
            *u = self.uniform_f32();
        }
    }

    /// Replaces all 624 words of the state by the next ones.
    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.used = 0;
    }
}

impl NormalSource for TorchCpu {
    fn fill_normal(&mut self, out: &mut [f32]) {
        if out.len() < 16 {
            for z in out {
                *z = self.scalar_normal() as f32;
            }
            return;
        }
        self.uniforms(out);
        let (blocks, rest) = out.as_chunks_mut::<16>();
        blocks.iter_mut().for_each(normal_block);
        if !rest.is_empty()
            && let Some(last) = out.last_chunk_mut::<16>()
        {
            self.uniforms(last);
            normal_block(last);
        }
    }
}

/// Turns 16 uniforms into 16 normals.
fn normal_block(block: &mut [f32; 16]) {
    for j in 0..8 {
        (block[j], block[j + 8]) = box_muller::<true>(block[j], block[j + 8]);
    }
}
