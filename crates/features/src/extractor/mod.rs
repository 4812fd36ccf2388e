//! What a network sees in a picture: one vector a picture.

mod choice;
mod pixels;
mod weights;

pub use choice::{Choice, Weights};
pub use pixels::Pixels;
pub use weights::find_weights;

use crate::Result;
use serde::Serialize;
use std::path::PathBuf;
use sumi_data::Image;

/// Which extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// FID's Inception-v3.
    Inception,
    /// EfficientNet-Lite0 of ImageNet.
    EfficientNetLite0,
    /// The image tower of a CLIP.
    Clip,
    /// No network: the pixels.
    Pixels,
}

/// How pictures are brought to Inception's 299 x 299 px, which published numbers differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Resize {
    /// Bilinear without antialiasing, on numbers from 0 to 1, as pytorch-fid does it.
    #[default]
    PytorchFid,
    /// Bilinear on TensorFlow 1's grid, as the first FID and torch-fidelity do it.
    TorchFidelity,
    /// Bicubic with antialiasing, channel by channel in floats, as clean-fid does it (Parmar et al., On Aliased
    /// Resizing and Surprising Subtleties in GAN Evaluation).
    CleanFid,
}

/// What features depend on, beside the pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// The network.
    pub name: String,
    /// The file of its weights.
    pub weights: Option<PathBuf>,
    /// The SHA-256 of that file, in hexadecimal.
    pub sha256: Option<String>,
    /// How pictures are brought to the network's size.
    pub resize: String,
    /// That size, width and height.
    pub input_px: (usize, usize),
    /// Features a picture, D.
    pub dims: usize,
}

/// Features of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// `[N, D]`.
    pub features: Vec<f32>,
    /// The network's opinion on what the pictures show, before the softmax, `[N, C]`; empty where it has none.
    pub scores: Vec<f32>,
}

/// A network, and how pictures are made its input.
pub struct Extractor {
    info: Info,
    network: Network,
}

enum Network {
    Pixels(Pixels),
}

impl Extractor {
    /// No network: pixels from 0 to 1, pictures of another size resized to `pixels`.
    pub fn pixels(pixels: Pixels) -> Self {
        Self { info: pixels.info(), network: Network::Pixels(pixels) }
    }

    /// TEMPORARY
    pub fn open(
        path: &std::path::Path,
        _resize: Resize,
        _device: &burn::tensor::Device,
    ) -> Result<Self> {
        Err(crate::FeatureError::set(path, "a", "b"))
    }
    /// TEMPORARY
    pub fn clip(path: &std::path::Path, _device: &burn::tensor::Device) -> Result<Self> {
        Err(crate::FeatureError::set(path, "a", "b"))
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        match &self.network {
            Network::Pixels(_) => Kind::Pixels,
        }
    }

    /// What its features depend on.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The features of pictures of any size, the same for a picture in any company.
    ///
    /// # Errors
    /// A picture that the network cannot take.
    pub fn extract(&self, images: &[Image]) -> Result<Extracted> {
        match &self.network {
            Network::Pixels(pixels) => pixels.extract(images),
        }
    }
}
