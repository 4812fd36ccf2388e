//! The optimiser's elementwise passes, each one sweep over the memory.

use rayon::prelude::*;

use crate::simd::{Isa, Kernel, Simd};

/// Numbers to a piece of work; the partial sums of a norm are taken over such pieces.
const PIECE: usize = 16 * 1024;

/// The settings of one AdamW step, in PyTorch's terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the average of the gradients.
    pub beta1: f64,
    /// Decay of the average of their squares.
    pub beta2: f64,
    /// Added to the root of the averaged squares.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The number of this step; the first is 1.
    pub step: u64,
    /// What the gradient is multiplied with first (1, or the factor that clips its norm).
    pub grad_scale: f64,
}

impl AdamWStep {
    /// `1 - beta1^t` and `sqrt(1 - beta2^t)`.
    pub(crate) fn corrections(&self) -> (f64, f64) {
        let t = self.step as f64;
        (1.0 - self.beta1.powf(t), (1.0 - self.beta2.powf(t)).sqrt())
    }
}

struct AdamW<'a> {
    settings: AdamWStep,
    param: &'a mut [f32],
    grad: &'a [f32],
    exp_avg: &'a mut [f32],
    exp_avg_sq: &'a mut [f32],
}

impl Kernel for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let s = &self.settings;
        let (correction1, correction2) = s.corrections();
        // SAFETY: the four slices are equally long, and the masks end with them.
        unsafe {
            let keep = S::splat((1.0 - s.learning_rate * s.weight_decay) as f32);
            let scale = S::splat(s.grad_scale as f32);
            let weight1 = S::splat((1.0 - s.beta1) as f32);
            let beta2 = S::splat(s.beta2 as f32);
            let weight2 = S::splat((1.0 - s.beta2) as f32);
            let root = S::splat(correction2 as f32);
            let eps = S::splat(s.eps as f32);
            let pace = S::splat((-s.learning_rate / correction1) as f32);
            for at in (0..self.param.len()).step_by(S::LANES) {
                let left = self.param.len() - at;
                let g = S::mul(S::load_first(self.grad.as_ptr().add(at), left), scale);
                let m = S::load_first(self.exp_avg.as_ptr().add(at), left);
                let v = S::load_first(self.exp_avg_sq.as_ptr().add(at), left);
                let p = S::load_first(self.param.as_ptr().add(at), left);
                let m = S::mul_add(S::sub(g, m), weight1, m);
                let v = S::mul_add(S::mul(g, weight2), g, S::mul(v, beta2));
                let denominator = S::add(S::div(S::sqrt(v), root), eps);
                let p = S::mul_add(pace, S::div(m, denominator), S::mul(p, keep));
                S::store_first(self.exp_avg.as_mut_ptr().add(at), left, m);
                S::store_first(self.exp_avg_sq.as_mut_ptr().add(at), left, v);
                S::store_first(self.param.as_mut_ptr().add(at), left, p);
            }
        }
    }
}

/// One AdamW step in place.
pub(crate) fn adamw(
    isa: Isa,
    settings: AdamWStep,
    param: &mut [f32],
    grad: &[f32],
    [exp_avg, exp_avg_sq]: [&mut [f32]; 2],
) {
    assert!(param.len() == grad.len() && param.len() == exp_avg.len());
    assert_eq!(param.len(), exp_avg_sq.len());
    let run = |param, grad, exp_avg, exp_avg_sq| {
        isa.run(AdamW { settings, param, grad, exp_avg, exp_avg_sq });
    };
    if param.len() <= PIECE {
        return run(param, grad, exp_avg, exp_avg_sq);
    }
    (param.par_chunks_mut(PIECE), grad.par_chunks(PIECE))
        .into_par_iter()
        .zip((exp_avg.par_chunks_mut(PIECE), exp_avg_sq.par_chunks_mut(PIECE)))
        .for_each(|((param, grad), (m, v))| run(param, grad, m, v));
}

struct Lerp<'a> {
    average: &'a mut [f32],
    value: &'a [f32],
    weight: f32,
}

impl Kernel for Lerp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: both slices are equally long, and the masks end with them.
        unsafe {
            let weight = S::splat(self.weight);
            for at in (0..self.average.len()).step_by(S::LANES) {
                let left = self.average.len() - at;
                let average = S::load_first(self.average.as_ptr().add(at), left);
                let value = S::load_first(self.value.as_ptr().add(at), left);
                let next = S::mul_add(weight, S::sub(value, average), average);
                S::store_first(self.average.as_mut_ptr().add(at), left, next);
            }
        }
    }
}

/// `average + weight (value - average)` in place.
pub(crate) fn lerp(isa: Isa, average: &mut [f32], value: &[f32], weight: f64) {
    assert_eq!(average.len(), value.len());
    let weight = weight as f32;
    if average.len() <= PIECE {
        return isa.run(Lerp { average, value, weight });
    }
    (average.par_chunks_mut(PIECE), value.par_chunks(PIECE))
        .into_par_iter()
        .for_each(|(average, value)| isa.run(Lerp { average, value, weight }));
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let x = self.0;
        // SAFETY: the masks end with the slice.
        unsafe {
            let mut sums = [S::splat(0.0); 4];
            for at in (0..x.len()).step_by(4 * S::LANES) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let at = at + i * S::LANES;
                    let left = x.len().saturating_sub(at);
                    let v = S::load_first(x.as_ptr().wrapping_add(at), left);
                    *sum = S::mul_add(v, v, *sum);
                }
            }
            let [a, b, c, d] = sums;
            f64::from(S::sum(S::add(S::add(a, b), S::add(c, d))))
        }
    }
}

/// The sum of the squares, by pieces of fixed length in their order.
pub(crate) fn sum_of_squares(isa: Isa, x: &[f32]) -> f32 {
    let parts: Vec<f64> = if x.len() <= PIECE {
        vec![isa.run(Squares(x))]
    } else {
        x.par_chunks(PIECE).map(|piece| isa.run(Squares(piece))).collect()
    };
    parts.iter().sum::<f64>() as f32
}
