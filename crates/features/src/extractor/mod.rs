//! What a network sees in a picture: one vector a picture.

mod choice;
mod imagenet;
mod pixels;
mod weights;

pub use choice::{Choice, Weights};
pub(crate) use imagenet::numbers;
pub use pixels::Pixels;
pub use weights::find_weights;

use crate::clip::Clip;
use crate::{FeatureError, Result};
use burn::tensor::{Device, Tensor};
use imagenet::ImageNet;
use serde::Serialize;
use std::path::{Path, PathBuf};
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
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// `[N, D]`.
    pub features: Vec<f32>,
    /// The network's opinion on what the pictures show, before the softmax, `[N, C]`; empty where it has none.
    pub scores: Vec<f32>,
    /// The maps of some stages, from fine to coarse, `[N, H, W, C]` each; none where there are none or none were asked
    /// for.
    pub maps: Vec<Tensor<4>>,
}

/// A network, and how pictures are made its input.
pub struct Extractor {
    info: Info,
    network: Network,
}

enum Network {
    Pixels(Pixels),
    Clip(Box<Clip>),
    ImageNet(ImageNet),
}

impl Extractor {
    /// No network: pixels from 0 to 1, pictures of another size resized to `pixels`.
    pub fn pixels(pixels: Pixels) -> Self {
        Self { info: pixels.info(), network: Network::Pixels(pixels) }
    }

    /// The network whose weights a file holds: FID's Inception-v3, whose pictures come to its size by `resize`, or
    /// EfficientNet-Lite0.
    ///
    /// # Errors
    /// A file that cannot be read, or holds other weights.
    pub fn open(path: &Path, resize: Resize, device: &Device) -> Result<Self> {
        let (network, info) = ImageNet::open(path, resize, device)?;
        Ok(Self { info, network: Network::ImageNet(network) })
    }

    /// The image tower of a `CLIPModel` folder.
    ///
    /// # Errors
    /// A folder that cannot be opened.
    pub fn clip(folder: &Path, device: &Device) -> Result<Self> {
        let clip = Clip::open(folder, device)?;
        let [_, height_px, width_px] = clip.preprocess().dims();
        let info = Info {
            name: "clip".into(),
            weights: Some(clip.weights().into()),
            sha256: Some(clip.sha256().into()),
            resize: clip.preprocess().describe(),
            input_px: (width_px, height_px),
            dims: clip.dims(),
        };
        Ok(Self { info, network: Network::Clip(Box::new(clip)) })
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        match &self.network {
            Network::Pixels(_) => Kind::Pixels,
            Network::Clip(_) => Kind::Clip,
            Network::ImageNet(network) => network.kind(),
        }
    }

    /// What its features depend on.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The features of pictures of any size, the same for a picture in any company; with `maps` also the network's maps,
    /// where it has some.
    ///
    /// # Errors
    /// A picture that the network cannot take.
    pub fn extract(&self, images: &[Image], maps: bool) -> Result<Extracted> {
        match &self.network {
            Network::Pixels(pixels) => pixels.extract(images),
            Network::Clip(clip) => {
                let features = clip.image_embeds(images)?;
                Ok(Extracted { features, ..Extracted::default() })
            }
            Network::ImageNet(network) => network.extract(images, maps),
        }
    }

    /// The vectors of texts, `[N, D]`, in the space of the pictures', and how many of them were cut off; only CLIP reads.
    ///
    /// # Errors
    /// A network that does not read.
    pub fn texts(&self, texts: &[&str]) -> Result<(Vec<f32>, usize)> {
        match &self.network {
            Network::Clip(clip) => Ok((clip.text_embeds(texts)?, clip.too_long(texts)?)),
            _ => Err(FeatureError::Network {
                network: "the extractor",
                message: format!("expected clip, which reads texts, found {}", self.info.name),
            }),
        }
    }
}
