//! Networks that were trained on ImageNet.

use super::{Extracted, Info, Kind, Resize};
use crate::{FeatureError, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::path::Path;
use sumi_data::{Filter, Image, Resizing};
use sumi_formats::{StateDict, hash};
use sumi_model::from_tensors;
use sumi_networks::efficientnet_lite::EfficientNetLite;
use sumi_networks::inception::Inception;

/// Features of Inception, and its side in pixels.
const INCEPTION: (usize, usize) = (2048, 299);
/// The same of EfficientNet-Lite0.
const EFFICIENTNET: (usize, usize) = (1280, 224);

/// A network that was trained on ImageNet, and how pictures are made its input.
pub(super) struct ImageNet {
    network: Network,
    resizing: Resizing,
    /// A byte v becomes `(v - centre) / half_range`.
    centre: f32,
    half_range: f32,
    side_px: usize,
}

enum Network {
    Inception(Box<Inception>),
    EfficientNet(Box<EfficientNetLite>),
}

impl ImageNet {
    /// The network whose weights a file holds.
    pub(super) fn open(path: &Path, resize: Resize, device: &Device) -> Result<(Self, Info)> {
        let state = StateDict::open(path)?;
        let (kind, name) = if state.has_prefix("Conv2d_1a_3x3.") {
            (Kind::Inception, "inception-v3 (FID's)")
        } else if state.has_prefix("_conv_stem.") {
            (Kind::EfficientNetLite0, "efficientnet-lite0")
        } else {
            let first: Vec<&str> = state.names().take(3).collect();
            let expected = "the weights of FID's Inception-v3 (Conv2d_1a_3x3...) or of EfficientNet-Lite0 \
                            (_conv_stem...)";
            return Err(FeatureError::set(path, expected, format!("{first:?}")));
        };
        let (network, (dims, side_px), resizing) = match kind {
            Kind::Inception => {
                let network = from_tensors(state, path, |w| Inception::load(w, device))?;
                (Network::Inception(Box::new(network)), INCEPTION, resize.resizing())
            }
            _ => {
                let network = from_tensors(state, path, |w| EfficientNetLite::load(w, device))?;
                let bicubic = Resizing::Pil(Filter::Bicubic);
                (Network::EfficientNet(Box::new(network)), EFFICIENTNET, bicubic)
            }
        };
        let (centre, half_range) = match (kind, resize) {
            // 2 v / 255 - 1
            (Kind::Inception, Resize::PytorchFid) => (127.5, 127.5),
            (Kind::Inception, _) => (128.0, 128.0),
            _ => (127.0, 128.0),
        };
        let info = Info {
            name: name.into(),
            weights: Some(path.into()),
            sha256: Some(hash::sha256_of(path)?),
            resize: format!("{}, stretched to {side_px} x {side_px} px", resizing.name()),
            input_px: (side_px, side_px),
            dims,
        };
        Ok((Self { network, resizing, centre, half_range, side_px }, info))
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.network {
            Network::Inception(_) => Kind::Inception,
            Network::EfficientNet(_) => Kind::EfficientNetLite0,
        }
    }

    pub(super) fn extract(&self, images: &[Image], maps: bool) -> Result<Extracted> {
        let x = self.input(images)?;
        let (features, scores, maps) = match &self.network {
            Network::Inception(network) => {
                let output = network.forward(x, maps);
                // Without the bias, as torch-fidelity's Inception Score is computed.
                (output.features, output.logits_unbiased, output.maps)
            }
            Network::EfficientNet(network) => {
                let output = network.forward(x, maps);
                (output.features, output.logits, output.maps)
            }
        };
        Ok(Extracted { features: numbers(features)?, scores: numbers(scores)?, maps })
    }

    /// `[N, 3, side, side]`.
    fn input(&self, images: &[Image]) -> Result<Tensor<4>> {
        let side = self.side_px;
        let one = |image: &Image| -> Result<Vec<f32>> {
            let dims = [image.height_px, image.width_px, 3];
            let mut values = self.resizing.pixels(&image.rgb, dims, [side; 2])?;
            for value in &mut values {
                // clean-fid holds what bicubic overshoots in range; nothing else leaves it.
                *value = (value.clamp(0.0, 255.0) - self.centre) / self.half_range;
            }
            Ok(values)
        };
        let rows: Vec<Vec<f32>> = images.par_iter().map(one).collect::<Result<_>>()?;
        let device = match &self.network {
            Network::Inception(network) => network.device(),
            Network::EfficientNet(network) => network.device(),
        };
        Ok(Tensor::from_data(
            TensorData::new(rows.concat(), [images.len(), 3, side, side]),
            &device,
        ))
    }
}

impl Resize {
    fn resizing(self) -> Resizing {
        match self {
            Self::PytorchFid => Resizing::TorchBilinear,
            Self::TorchFidelity => Resizing::Tensorflow1Bilinear,
            Self::CleanFid => Resizing::PilFloat(Filter::Bicubic),
        }
    }
}

/// What a tensor holds.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec::<f32>().map_err(|error| FeatureError::Network {
        network: "the extractor",
        message: format!("expected f32 features, found {error:?}"),
    })
}
