//! Which extractor a word means.

use super::{Extractor, Kind, Resize, find_weights};
use crate::Result;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What an extractor is asked for by, in a command and in a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `pixels`: no network.
    Pixels,
    /// `clip`: the image tower of a CLIP, whose folder is named apart.
    Clip,
    /// `inception`, `efficientnet-lite0` or a file: a network that its weights tell all about.
    Weights(Weights),
}

/// Where the weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Where those of this network usually lie ([`find_weights`]).
    Usual(Kind),
    /// In this file.
    File(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    /// # Errors
    /// Neither a known word nor a file; what was expected and found, without the option's name.
    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "pixels" => Ok(Self::Pixels),
            "clip" => Ok(Self::Clip),
            "inception" => Ok(Self::Weights(Weights::Usual(Kind::Inception))),
            "efficientnet-lite0" => Ok(Self::Weights(Weights::Usual(Kind::EfficientNetLite0))),
            file if Path::new(file).is_file() => Ok(Self::Weights(Weights::File(file.into()))),
            other => Err(format!(
                "expected inception, efficientnet-lite0, clip, pixels or a file of weights, found {other}"
            )),
        }
    }
}

impl Weights {
    /// The extractor that has them.
    ///
    /// # Errors
    /// Weights that are not there or cannot be read.
    pub fn open(&self, resize: Resize, device: &Device) -> Result<Extractor> {
        match self {
            Self::Usual(kind) => Extractor::open(&find_weights(*kind)?, resize, device),
            Self::File(path) => Extractor::open(path, resize, device),
        }
    }
}
