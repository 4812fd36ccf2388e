//! Every operation against a plain `f64` reference, against Burn's own, and against itself with
//! another batch, another number of threads, another instruction set.

mod convolution;
mod others;
mod pictures;
mod tokens;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::simd::Isa;

/// Reproducible numbers in [-1, 1).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }
}

/// Fails unless the largest difference is within `tolerance` of the largest reference.
#[track_caller]
pub(crate) fn assert_near(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1e-30f64, |a, b| a.max(b.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs() / largest;
        assert!(error <= tolerance, "{what}: element {i} is {a}, expected {e} (error {error:e})");
    }
}

/// Fails unless both are the same, bit for bit.
#[track_caller]
pub(crate) fn assert_same(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: length");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "{what}: element {i}: {a} and {b}");
    }
}

/// Runs `work` with every instruction set, and each with one and with two threads, whose results
/// must be the same.
pub(crate) fn everywhere(work: impl Fn(Isa) -> Vec<Vec<f32>> + Sync) {
    for isa in Isa::available() {
        let results: Vec<_> = [1, 2]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| work(isa))
            })
            .collect();
        for (one, two) in results[0].iter().zip(&results[1]) {
            assert_same(one, two, &format!("{isa:?}, one and two threads"));
        }
    }
}

/// A tensor of these numbers on the CPU, differentiated or not.
pub(crate) fn tensor<const D: usize>(data: &[f32], shape: [usize; D], tracked: bool) -> Tensor<D> {
    let data = TensorData::new(data.to_vec(), shape);
    if tracked {
        Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
    } else {
        Tensor::from_data(data, &Device::flex())
    }
}

/// The numbers of a tensor.
pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().unwrap()
}

/// The numbers as `f64`.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The derivative of `f` at each of `x`, times `dy` and summed, by central differences.
pub(crate) fn slopes(x: &[f32], dy: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let x = wide(x);
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let at = |offset: f64| {
                let mut x = x.clone();
                x[i] += offset;
                f(&x).iter().zip(dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>()
            };
            (at(step) - at(-step)) / (2.0 * step)
        })
        .collect()
}
