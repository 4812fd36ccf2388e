//! PyTorch's CUDA generator.

use crate::NormalSource;
use crate::philox::{halves, philox4x32_10};

/// Threads of one block of PyTorch's random kernels.
const BLOCK_THREADS: usize = 256;

/// Values that a thread takes from one Philox block.
const VALUES: usize = 4;

/// PyTorch's CUDA generator: the draws of `torch.Generator("cuda").manual_seed(seed)`.
///
/// One draw is one grid-stride launch (`distribution_nullary_kernel` in
/// `ATen/native/cuda/DistributionTemplates.h`): of G threads, thread i owns Philox4x32-10 with key = seed and
/// counter = (offset / 4 + pass, i), and its values of pass p are elements i + G (4 p + 0..4). Then the offset grows by 4
/// for each pass. Two normals come from two words x, y as sqrt(-2 ln u) (sin v, cos v) with u = (x + 1/2) / 2^32 and
/// v = 2 pi (y + 1/2) / 2^32 (cuRAND, `curand_box_muller`).
///
/// G is the length rounded up to a multiple of 256, but at most what the device runs at once, so **draws of more values
/// than that depend on the device**: give the number with [`with_resident_threads`](Self::with_resident_threads).
///
/// Values are within 1e-5 of PyTorch's: its kernels use the GPU's fast logarithm, sine and cosine.
///
/// ```
/// use sumi_random::{NormalSource, TorchCuda};
/// let mut z = [0.0; 2];
/// TorchCuda::new(0).fill_normal(&mut z);
/// assert!((z[0] - -0.924_662_6).abs() < 1e-5 && (z[1] - -0.425_344_15).abs() < 1e-5);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorchCuda {
    seed: u64,
    /// Philox words used by each thread; a multiple of 4.
    offset: u64,
    resident_threads: usize,
}

impl TorchCuda {
    /// Seeds the generator as `manual_seed(seed)` does, for a device that runs a whole draw at once.
    pub fn new(seed: u64) -> Self {
        Self::with_resident_threads(seed, usize::MAX)
    }

    /// The same for a device that runs at most `threads` threads at once: multiprocessors times
    /// `max_threads_per_multi_processor` (221,184 on an A100), rounded down to blocks of 256.
    pub fn with_resident_threads(seed: u64, threads: usize) -> Self {
        Self { seed, offset: 0, resident_threads: (threads / BLOCK_THREADS).max(1) * BLOCK_THREADS }
    }

    /// The four normals of thread `thread` at offset `offset`.
    fn normals(&self, offset: u64, thread: u64) -> [f32; VALUES] {
        let [o0, o1] = halves(offset / VALUES as u64);
        let [t0, t1] = halves(thread);
        let words = philox4x32_10([[o0], [o1], [t0], [t1]], halves(self.seed));
        let [a, b, c, d] = words.map(|[word]| word);
        let ([z0, z1], [z2, z3]) = (box_muller(a, b), box_muller(c, d));
        [z0, z1, z2, z3]
    }
}

impl NormalSource for TorchCuda {
    fn fill_normal(&mut self, out: &mut [f32]) {
        let threads = out.len().next_multiple_of(BLOCK_THREADS).min(self.resident_threads);
        for pass in out.chunks_mut(threads.saturating_mul(VALUES).max(1)) {
            for thread in 0..threads.min(pass.len()) {
                let normals = self.normals(self.offset, thread as u64);
                for (z, normal) in pass[thread..].iter_mut().step_by(threads).zip(normals) {
                    *z = normal;
                }
            }
            self.offset += VALUES as u64;
        }
    }
}

/// cuRAND's Box-Muller transform of two words, sine first.
fn box_muller(x: u32, y: u32) -> [f32; 2] {
    const STEP: f32 = 1.0 / 4_294_967_296.0;
    let u = x as f32 * STEP + STEP / 2.0;
    let v = (y as f32 * STEP + STEP / 2.0) * std::f32::consts::TAU;
    let radius = (-2.0 * u.ln()).sqrt();
    [radius * v.sin(), radius * v.cos()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_pytorch_on_a_gpu() {
        // torch.randn(3, 4, device="cuda") with seed 0.
        let expected = [
            -0.92466259,
            -0.42534415,
            -2.6438457,
            0.14518388,
            -0.12086647,
            -0.57972564,
            -0.62285122,
            -0.32838709,
            -1.07454231,
            -0.36314407,
            -1.67105067,
            2.26550497,
        ];
        let mut z = [0.0; 12];
        TorchCuda::new(0).fill_normal(&mut z);
        sumi_testkit::assert_close(&z.map(f64::from), &expected, 1e-6);
    }

    #[test]
    fn a_draw_beyond_the_resident_threads_takes_more_values_a_thread() {
        let source = TorchCuda::with_resident_threads(3, 600);
        assert_eq!(source.resident_threads, 512);
        let mut z = vec![0.0; 3000];
        let mut drawn = source.clone();
        drawn.fill_normal(&mut z);
        assert_eq!(drawn.offset, 8);
        assert_eq!(z[511], source.normals(0, 511)[0]);
        assert_eq!(z[512 + 5], source.normals(0, 5)[1]);
        assert_eq!(z[3 * 512 + 7], source.normals(0, 7)[3]);
        assert_eq!(z[4 * 512 + 9], source.normals(4, 9)[0]);
        assert_eq!(z[2999], source.normals(4, 2999 - 5 * 512)[1]);
    }

    #[test]
    fn draws_follow_each_other() {
        let mut source = TorchCuda::new(1);
        let (mut a, mut b) = ([0.0; 8], [0.0; 8]);
        source.fill_normal(&mut a);
        source.fill_normal(&mut b);
        assert_ne!(a, b);
        assert_eq!(source.offset, 8);
        source.fill_normal(&mut []);
        assert_eq!(source.offset, 8);
    }
}
