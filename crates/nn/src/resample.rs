//! Halving and doubling a feature map.

use crate::{Conv2d, Init, Padding};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

/// Halves height and width with a 3x3 convolution of stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    /// The convolution.
    pub conv: Conv2d,
}

impl Downsample {
    /// `padding` 1 pads every side; 0 pads a row below and a column to the right, as DDPM does.
    pub fn new(init: &mut Init, channels: usize, padding: usize) -> Self {
        let padding = match padding {
            0 => Padding { top: 0, bottom: 1, left: 0, right: 1 },
            pixels => Padding::all(pixels),
        };
        Self { conv: Conv2d::new(init, [channels, channels], 3, 2, padding) }
    }

    /// # Shapes
    /// `[N, C, H, W]` to `[N, C, H/2, W/2]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// Doubles height and width by repeating pixels, then convolves 3x3.
#[derive(Module, Debug)]
pub struct Upsample {
    /// The convolution.
    pub conv: Conv2d,
}

impl Upsample {
    /// Keeps the number of channels.
    pub fn new(init: &mut Init, channels: usize) -> Self {
        Self { conv: Conv2d::new(init, [channels, channels], 3, 1, Padding::all(1)) }
    }

    /// # Shapes
    /// `[N, C, H, W]` to `[N, C, 2 H, 2 W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        self.conv.forward(interpolate(x, options.with_output_size([2 * h, 2 * w])))
    }
}
