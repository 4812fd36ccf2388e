//! Resizing exactly as the programs do it whose numbers were published.
//!
//! Scores move by more than methods differ when pictures are resized in another way (Parmar et al., On Aliased
//! Resizing and Surprising Subtleties in GAN Evaluation, section 4), so each way has a name here.

mod bilinear;
mod pil;

use crate::{DataError, Result};
use serde::{Deserialize, Serialize};

/// The longest side that resizing gives, in pixels: far past any picture, and a bound on what a request allocates.
pub(crate) const MAX_SIDE_PX: usize = 65_536;

/// The kernel of a resize, widened when it scales down so that nothing aliases.
///
/// | filter | `w(x)`, 0 outside of the support | support |
/// |---|---|---|
/// | box | 1 | 1/2 |
/// | bilinear | `1 - abs(x)` | 1 |
/// | hamming | `sinc(x) (0.54 + 0.46 cos(pi x))` | 1 |
/// | bicubic | Keys, Cubic Convolution Interpolation for Digital Image Processing, Eq. 4, with a = -1/2 | 2 |
/// | lanczos | `sinc(x) sinc(x / 3)` | 3 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The mean of what a pixel covers.
    Box,
    /// A triangle.
    Bilinear,
    /// A windowed sinc as short as the triangle.
    Hamming,
    /// Catmull and Rom's spline.
    Bicubic,
    /// A sinc in the window of a wider one.
    Lanczos,
}

impl Filter {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Box, Self::Bilinear, Self::Hamming, Self::Bicubic, Self::Lanczos];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The filter of PIL's number, as `preprocessor_config.json` has it; `None` for 0, nearest, and for what is none.
    pub fn from_pil(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            4 => Some(Self::Box),
            5 => Some(Self::Hamming),
            _ => None,
        }
    }
}

/// Whose resize it is: what published numbers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resizing {
    /// Pillow's on 8-bit pixels, rounded and clipped between its two passes and after them: CLIP and diffusers.
    Pil(Filter),
    /// Pillow's mode `F`, which neither rounds nor clips: clean-fid.
    PilFloat(Filter),
    /// `F.interpolate(mode="bilinear", align_corners=False)`, which aliases when it scales down: pytorch-fid.
    TorchBilinear,
    /// TensorFlow 1's bilinear, whose pixels have no half-pixel centres: the first FID, and torch-fidelity.
    Tensorflow1Bilinear,
}

impl Resizing {
    /// The name that a result is reported with.
    pub fn name(self) -> String {
        match self {
            Self::Pil(filter) => format!("pil-{}", filter.name()),
            Self::PilFloat(filter) => format!("pil-float-{}", filter.name()),
            Self::TorchBilinear => "torch-bilinear".to_owned(),
            Self::Tensorflow1Bilinear => "tensorflow1-bilinear".to_owned(),
        }
    }

    /// Planes of numbers in another size; [`Resizing::Pil`] first rounds them to 0 to 255.
    ///
    /// # Shapes
    /// `[C, H, W]` to `[C, height, width]`.
    ///
    /// # Errors
    /// A side of 0, or beyond 65,536 pixels in what comes out; another count of numbers than `dims` says.
    pub fn planes(self, planes: &[f32], dims: [usize; 3], size_px: [usize; 2]) -> Result<Vec<f32>> {
        let [c, h, w] = dims;
        check(planes.len(), [h, w, c], size_px)?;
        let mut resized = Vec::with_capacity(c * size_px[0] * size_px[1]);
        for plane in planes.chunks_exact(h * w) {
            resized.extend(self.plane(plane, [h, w], size_px));
        }
        Ok(resized)
    }

    /// 8-bit pixels as planes of another size, from 0 to 255 but for what filters overshoot.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[C, height, width]`.
    ///
    /// # Errors
    /// As [`resize`].
    pub fn pixels(self, pixels: &[u8], dims: [usize; 3], size_px: [usize; 2]) -> Result<Vec<f32>> {
        if let Self::Pil(filter) = self {
            let resized = resize(pixels, dims, size_px, filter)?;
            return Ok(deinterleaved(&resized, dims[2]));
        }
        check(pixels.len(), dims, size_px)?;
        let [h, w, c] = dims;
        self.planes(&deinterleaved(pixels, c), [c, h, w], size_px)
    }

    fn plane(self, plane: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
        match self {
            Self::Pil(filter) => {
                let rounded = plane.iter().map(|&x| x.round() as u8).collect::<Vec<_>>();
                let resized = pil::resize::<u8, 1>(&rounded, from, to, filter);
                resized.into_iter().map(f32::from).collect()
            }
            Self::PilFloat(filter) => pil::resize::<f32, 1>(plane, from, to, filter),
            Self::TorchBilinear => bilinear::torch(plane, from, to),
            Self::Tensorflow1Bilinear => bilinear::tensorflow1(plane, from, to),
        }
    }
}

/// 8-bit pixels in another size, to the bit as `PIL.Image.resize` gives them for modes `L` and `RGB`.
///
/// # Shapes
/// `[H, W, C]` to `[height, width, C]`.
///
/// # Errors
/// A side of 0, or beyond 65,536 pixels in what comes out, or not 1 to 4 channels; another count of pixels than `dims` says.
pub fn resize(
    pixels: &[u8],
    dims: [usize; 3],
    size_px: [usize; 2],
    filter: Filter,
) -> Result<Vec<u8>> {
    check(pixels.len(), dims, size_px)?;
    let [h, w, c] = dims;
    match c {
        1 => Ok(pil::resize::<u8, 1>(pixels, [h, w], size_px, filter)),
        2 => Ok(pil::resize::<u8, 2>(pixels, [h, w], size_px, filter)),
        3 => Ok(pil::resize::<u8, 3>(pixels, [h, w], size_px, filter)),
        4 => Ok(pil::resize::<u8, 4>(pixels, [h, w], size_px, filter)),
        _ => Err(DataError::value("channels of a picture to resize", "1 to 4", c)),
    }
}

fn check(found: usize, [h, w, c]: [usize; 3], size_px: [usize; 2]) -> Result<()> {
    if h == 0 || w == 0 {
        let expected = "at least 1 px on a side";
        return Err(DataError::value("picture to resize", expected, format!("{w} x {h}")));
    }
    let [height, width] = size_px;
    if height == 0 || width == 0 || height.max(width) > MAX_SIDE_PX {
        let expected = format!("1 to {MAX_SIDE_PX} px on a side");
        let found = format!("{width} x {height}");
        return Err(DataError::value("size to resize to", expected, found));
    }
    match h.checked_mul(w).and_then(|area| area.checked_mul(c)) {
        Some(expected) if expected == found => Ok(()),
        _ => {
            let expected = format!("{w} x {h} pixels of {c} channels");
            Err(DataError::value("picture to resize", expected, format!("{found} numbers")))
        }
    }
}

/// `[H, W, C]` as `[C, H, W]`.
fn deinterleaved(pixels: &[u8], channels: usize) -> Vec<f32> {
    let channel = |c| pixels.iter().skip(c).step_by(channels).map(|&value| f32::from(value));
    (0..channels).flat_map(channel).collect()
}
