//! Normalisation by the root mean square.

use crate::Init;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `y = x / sqrt(mean(x^2) + eps) * gamma` over each row (Zhang and Sennrich, Root Mean Square Layer Normalization, Eq. 4).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `gamma`, `[C]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl RmsNorm {
    /// `gamma` 1.
    pub fn new(init: &mut Init, width: usize, eps: f64) -> Self {
        Self { weight: init.constant([width], 1.0), eps }
    }

    /// # Shapes
    /// `[R, C]`, kept.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let square = x.clone().square().mean_dim(1);
        x / (square + self.eps).sqrt() * self.weight.val().unsqueeze()
    }
}
