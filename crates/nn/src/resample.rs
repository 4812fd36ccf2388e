//! Halving and doubling a feature map.

use crate::{Conv2d, Init, Padding, Stride};
use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};

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

    /// To any size: pixel `i` of `n` is what pixel `floor(i m / n)` of `m` was, before the convolution.
    ///
    /// # Shapes
    /// `[N, H, W, C]` to `[N, height, width, C]`.
    pub fn forward_to(&self, x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        match [height, width] == [2 * h, 2 * w] {
            true => self.forward(x),
            false => {
                let x = nearest(nearest(x, 1, height), 2, width);
                self.conv.without_upsampling().forward(x)
            }
        }
    }
}

/// Stretches a dimension to `size` by repeating what is nearest.
fn nearest(x: Tensor<4>, dim: usize, size: usize) -> Tensor<4> {
    let old = x.dims()[dim];
    let indices: Vec<i32> = (0..size).map(|i| (i * old / size.max(1)) as i32).collect();
    let indices = TensorData::new(indices, [size]);
    let indices = Tensor::<1, Int>::from_data(indices, &x.device());
    x.select(dim, indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn doubling_as_it_reads_or_before_is_the_same() {
        let mut init = Init::new(&Device::flex(), 3);
        let upsample = Upsample::new(&mut init, 5);
        let x = init.uniform([2, 3, 4, 5], 1.0).val();
        let whole = upsample.forward_to(x.clone(), [6, 8]);
        let doubled = nearest(nearest(x, 1, 6), 2, 8);
        let separate = upsample.conv.without_upsampling().forward(doubled);
        let difference = (whole - separate).abs().max().into_scalar::<f32>();
        // Two ways to tile the same sums of 45 products below 1.
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn an_odd_size_repeats_its_last_pixel_once() {
        let x = TensorData::new(vec![1.0f32, 2.0, 3.0], [1, 3, 1, 1]);
        let x = Tensor::<4>::from_data(x, &Device::flex());
        let y = nearest(x, 1, 5).try_into_vec_as::<f32>();
        assert_eq!(y.ok(), Some(vec![1.0, 1.0, 2.0, 2.0, 3.0]));
    }
}
