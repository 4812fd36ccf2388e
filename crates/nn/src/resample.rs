//! Halving and doubling a feature map.

use crate::{Conv2d, Init, Padding, Stride};
use burn::module::Module;
use burn::tensor::Tensor;

/// Halves height and width with a 3x3 convolution of stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    /// The convolution.
    pub conv: Conv2d,
}

crate::layers!(Downsample { conv });

impl Downsample {
    /// `padding` 1 pads every side; 0 pads a row below and a column to the right, as DDPM does.
    pub fn new(init: &mut Init, channels: usize, padding: usize) -> Self {
        let padding = match padding {
            0 => Padding { top: 0, bottom: 1, left: 0, right: 1 },
            pixels => Padding::all(pixels),
        };
        let stride = Stride { step: 2, padding, upsample: false };
        Self { conv: Conv2d::new(init, [channels, channels], 3, stride) }
    }

    /// # Shapes
    /// `[N, H, W, C]` to `[N, H/2, W/2, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// Doubles height and width by repeating pixels, then convolves 3x3.
#[derive(Module, Debug)]
pub struct Upsample {
    /// The convolution, which repeats the pixels as it reads them.
    pub conv: Conv2d,
}

crate::layers!(Upsample { conv });

impl Upsample {
    /// Keeps the number of channels.
    pub fn new(init: &mut Init, channels: usize) -> Self {
        let stride = Stride { step: 1, padding: Padding::all(1), upsample: true };
        Self { conv: Conv2d::new(init, [channels, channels], 3, stride) }
    }

    /// # Shapes
    /// `[N, H, W, C]` to `[N, 2 H, 2 W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}
