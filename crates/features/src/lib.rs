//! Sets of pictures, streamed, and what networks see in them: the input of every metric.
//!
//! A [`Source`] hands out pictures of their own size, a few at a time, from a folder, an array or a model that draws
//! them. An [`Extractor`] makes each a vector: it resizes as the published numbers did, normalises, and asks a
//! network. [`collect`] leads the one through the other and keeps the vectors, never the pictures.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use sumi_features::{Collect, Extractor, Images, Pixels, collect};
//! # fn main() -> Result<(), sumi_features::FeatureError> {
//! let mut real = Images::folder("pets".as_ref())?;
//! let extractor = Extractor::pixels(Pixels { width_px: 32, height_px: 32, channels: 3 });
//! let collected = collect(&mut real, &extractor, &Collect::default(), &mut |_| Ok(()))?;
//! assert_eq!(collected.features.columns(), 32 * 32 * 3);
//! # let _ = Device::flex();
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod captions;
pub mod clip;
mod collect;
mod diversity;
mod error;
mod extractor;
mod files;
mod source;

pub use captions::Captions;
pub use collect::{Collect, Collected, Facts, MAX_UNREADABLE_SHARE, Seen, collect};
pub use error::FeatureError;
pub use extractor::{
    Choice, Extracted, Extractor, Info, Kind, Pixels, Resize, Weights, find_weights,
};
pub use files::{Npz, read_features, read_npz, write_statistics};
pub use source::{Drawn, Images, Item, Source};

/// What everything here returns.
pub type Result<T> = std::result::Result<T, FeatureError>;
