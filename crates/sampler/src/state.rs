//! What a sampler moves.

/// A batch of samples that a sampler can move: a tensor, or plain numbers in a test.
///
/// The operations are element by element, or sample by sample, so sample `i` does not depend on
/// which samples stand beside it.
pub trait State: Clone {
    /// `a * self + b * other`; what has factor 0 does not count, even where it is not finite.
    fn combine(&self, a: f64, other: &Self, b: f64) -> Self;

    /// The product with `other`, element by element.
    fn times(&self, other: &Self) -> Self;

    /// `e^x` for every element.
    fn exp(&self) -> Self;

    /// `f(x)` for every element.
    fn map(&self, f: impl Fn(f64) -> f64) -> Self;

    /// The values of every sample, on the host.
    fn samples(&self) -> Vec<Vec<f64>>;

    /// The Euclidean norm of every sample.
    fn norms(&self) -> Vec<f64> {
        let norm = |sample: Vec<f64>| sample.iter().map(|x| x * x).sum::<f64>().sqrt();
        self.samples().into_iter().map(norm).collect()
    }

    /// The standard deviation of the elements of every sample, about their mean.
    fn deviations(&self) -> Vec<f64> {
        let deviation = |sample: Vec<f64>| {
            let n = sample.len() as f64;
            let mean = sample.iter().sum::<f64>() / n;
            (sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
        };
        self.samples().into_iter().map(deviation).collect()
    }

    /// Every sample multiplied by its own factor.
    fn scale_each(&self, factors: &[f64]) -> Self;

    /// Every element clamped to `[-limit, limit]`.
    fn clamp(&self, limit: f64) -> Self;

    /// Dynamic thresholding (Imagen, section 2.3): for each sample, `s` is the `quantile` of the
    /// absolute values, held between 1 and `max`; the sample is clamped to `[-s, s]` and divided
    /// by `s`.
    fn threshold(&self, quantile: f64, max: f64) -> Self;
}

/// Where fresh standard normals come from; sample `i` has a stream of its own.
pub trait Noise<S> {
    /// One standard normal for every element of `like`.
    fn standard_normal(&mut self, like: &S) -> S;
}

impl State for Vec<f64> {
    fn combine(&self, a: f64, other: &Self, b: f64) -> Self {
        let term = |factor: f64, x: f64| if factor == 0.0 { 0.0 } else { factor * x };
        self.iter().zip(other).map(|(&x, &y)| term(a, x) + term(b, y)).collect()
    }

    fn times(&self, other: &Self) -> Self {
        self.iter().zip(other).map(|(x, y)| x * y).collect()
    }

    fn exp(&self) -> Self {
        self.iter().map(|x| x.exp()).collect()
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        self.iter().map(|&x| f(x)).collect()
    }

    /// The vector is one sample.
    fn samples(&self) -> Vec<Vec<f64>> {
        vec![self.clone()]
    }

    fn scale_each(&self, factors: &[f64]) -> Self {
        let factor = factors.first().copied().unwrap_or(1.0);
        self.iter().map(|x| x * factor).collect()
    }

    fn clamp(&self, limit: f64) -> Self {
        self.iter().map(|x| x.clamp(-limit, limit)).collect()
    }

    /// The vector is one sample.
    fn threshold(&self, quantile: f64, max: f64) -> Self {
        let mut magnitudes: Vec<f64> = self.iter().map(|x| x.abs()).collect();
        magnitudes.sort_by(f64::total_cmp);
        let position = quantile * magnitudes.len().saturating_sub(1) as f64;
        let at = |i: f64| magnitudes.get(i as usize).copied().unwrap_or(1.0);
        let (low, high) = (at(position.floor()), at(position.ceil()));
        // The order of the two bounds is diffusers': where max is below 1, max wins.
        let s = (low + (high - low) * position.fract()).max(1.0).min(max);
        self.iter().map(|x| x.clamp(-s, s) / s).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholding_scales_only_what_is_out_of_range() {
        let inside = vec![0.5, -0.9, 0.1];
        assert_eq!(inside.threshold(0.995, 10.0), inside);
        let outside = vec![4.0, -2.0, 1.0];
        assert_eq!(outside.threshold(1.0, 10.0), vec![1.0, -0.5, 0.25]);
        assert_eq!(outside.threshold(1.0, 2.0), vec![1.0, -1.0, 0.5]);
    }
}
