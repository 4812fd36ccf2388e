//! Which extractor `--features` means.

use super::super::args::{ResizeArg, SeenArgs};
use super::sets::Set;
use crate::error::CliError;
use burn::tensor::Device;
use std::path::Path;
use sumi_features::{Extractor, Kind, Pixels, Resize, find_weights};

/// The extractor that `features` names for `sets`, or `None` where none of them has pictures.
///
/// # Errors
/// Weights that are not there or cannot be read, an unknown name.
pub fn extractor(
    features: &str,
    args: &SeenArgs,
    clip: Option<&Path>,
    sets: &mut [&mut Set],
    device: &Device,
) -> Result<Option<Extractor>, CliError> {
    if !sets.iter().any(|set| set.has_pictures()) {
        return Ok(None);
    }
    let resize = match args.resize {
        ResizeArg::PytorchFid => Resize::PytorchFid,
        ResizeArg::TorchFidelity => Resize::TorchFidelity,
        ResizeArg::CleanFid => Resize::CleanFid,
    };
    let named = |kind| -> Result<Extractor, CliError> {
        Ok(Extractor::open(&find_weights(kind)?, resize, device)?)
    };
    let extractor = match features {
        "inception" => named(Kind::Inception)?,
        "efficientnet-lite0" => named(Kind::EfficientNetLite0)?,
        "pixels" => {
            let pixels = sets.iter_mut().find_map(|set| set.pixels());
            Extractor::pixels(pixels.ok_or_else(|| {
                CliError::Failed(
                    "expected a picture whose size to go by, found none that can be read".into(),
                )
            })?)
        }
        "clip" => match clip {
            Some(folder) => Extractor::clip(folder, device)?,
            None => {
                return Err(CliError::Usage(
                    "--features clip: expected --clip with the folder of a CLIPModel, found none"
                        .into(),
                ));
            }
        },
        file if Path::new(file).is_file() => Extractor::open(Path::new(file), resize, device)?,
        other => {
            return Err(CliError::Usage(format!(
                "--features: expected inception, efficientnet-lite0, clip, pixels or a file of weights, found \
                 {other}"
            )));
        }
    };
    if resize != Resize::default() && extractor.kind() != Kind::Inception {
        return Err(CliError::Usage(
            "--resize: expected nothing (only Inception's pictures are resized in several ways)"
                .into(),
        ));
    }
    Ok(Some(extractor))
}

impl Set {
    /// The size and the channels of its pictures: of the first, or of those that a model draws.
    fn pixels(&mut self) -> Option<Pixels> {
        match self {
            Self::Model(drawing) => {
                let [channels, height_px, width_px] = drawing.picture_dims()?;
                Some(Pixels { width_px, height_px, channels })
            }
            other => other.first_picture().map(|image| Pixels::of(&image)),
        }
    }
}
