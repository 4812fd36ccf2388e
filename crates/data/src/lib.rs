//! Where training pictures come from, and a loader whose position can be saved.
//!
//! [`load`] turns a [`DataConfig`] into [`Pictures`] in memory; [`Loader`] hands out their indices
//! in an order that depends only on a seed and the epoch, so that an interrupted run goes on
//! exactly where it stopped. Flipping is left to whoever trains.

#![forbid(unsafe_code)]

mod config;
pub mod digits;
mod error;
mod fit;
mod loader;
mod pictures;
mod resize;
mod shuffle;
mod sources;

pub use config::{DataConfig, Source};
pub use error::DataError;
pub use fit::Fit;
pub use loader::{Loader, Position};
pub use pictures::{Item, Pictures};
pub use resize::{Filter, Resizing, resize};
pub use shuffle::{SPLIT_SEED, split};
pub use sources::{
    Image, ImageFile, PointShape, image_files, load, load_split, read_image, read_own_size,
    read_picture,
};

/// What loading returns.
pub type Result<T> = std::result::Result<T, DataError>;
