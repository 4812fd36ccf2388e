//! Which extractor `--features` means.

use super::super::args::{ResizeArg, SeenArgs};
use super::sets::Set;
use crate::error::CliError;
use burn::tensor::Device;
use std::path::Path;
use sumi_features::{Choice, Extractor, Kind, Pixels, Resize};

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
    let choice: Choice =
        features.parse().map_err(|message| CliError::Usage(format!("--features: {message}")))?;
    let extractor = match choice {
        Choice::Weights(weights) => weights.open(resize, device)?,
        Choice::Pixels => {
            let pixels = sets.iter_mut().find_map(|set| set.pixels());
            Extractor::pixels(pixels.ok_or_else(|| {
                CliError::Failed(
                    "expected a picture whose size to go by, found none that can be read".into(),
                )
            })?)
        }
        Choice::Clip => match clip {
            Some(folder) => Extractor::clip(folder, device)?,
            None => {
                return Err(CliError::Usage(
                    "--features clip: expected --clip with the folder of a CLIPModel, found none"
                        .into(),
                ));
            }
        },
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
