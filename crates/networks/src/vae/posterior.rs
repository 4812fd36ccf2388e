//! The distribution that the encoder puts out.

use burn::tensor::Tensor;

/// A normal distribution over latents, each number on its own.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// Its mean, which is its mode too: `[N, C, h, w]`.
    pub mean: Tensor<4>,
    /// Its standard deviation, of the same shape.
    pub std: Tensor<4>,
}

impl Posterior {
    /// From mean and log-variance, side by side in the channels; the log-variance is clamped to [-30, 20].
    pub(super) fn new(moments: Tensor<4>) -> Self {
        let channels = moments.dims()[1] / 2;
        let mean = moments.clone().narrow(1, 0, channels);
        let log_variance = moments.narrow(1, channels, channels).clamp(-30.0, 20.0);
        Self { mean, std: (log_variance / 2.0).exp() }
    }

    /// `mean + std * eps` (Kingma and Welling, Auto-Encoding Variational Bayes, section 2.4), with `eps` standard
    /// normals of the mean's shape.
    pub fn sample(&self, eps: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.std.clone() * eps
    }
}
