//! One file a kind of source.

mod cifar;
mod folder;
mod idx;
mod points;

pub use points::PointShape;

pub use folder::{Image, ImageFile, image_files, read_image, read_own_size, read_picture};

use crate::{DataConfig, DataError, Pictures, Result, SPLIT_SEED, Source, digits, split};

/// Loads all the pictures that a config names.
///
/// # Errors
/// [`DataError`] naming the file, the field, what was expected and what was found: for a value out
/// of range, a missing or damaged file, an empty folder, a picture that does not fit.
pub fn load(config: &DataConfig) -> Result<Pictures> {
    config.check()?;
    let pictures = match &config.source {
        Source::Digits => digits::load(),
        Source::Idx { images, labels, image_size_px, fit } => {
            idx::load(images, labels.as_deref(), *image_size_px, *fit)?
        }
        Source::Folder { path, image_size_px, channels, fit } => {
            folder::load(path, *image_size_px, *channels, *fit)?
        }
        Source::Cifar10 { path } => cifar::load(path)?,
        Source::Points { shape, count } => points::load(*shape, *count),
    };
    pictures.check()?;
    Ok(pictures)
}

/// Loads a config's pictures, those to train on and those held out.
///
/// # Errors
/// As [`load`], and where nothing would be left to train on.
pub fn load_split(config: &DataConfig) -> Result<(Pictures, Pictures)> {
    let pictures = load(config)?;
    let (train, held_out) = split(pictures.len(), config.held_out_fraction, SPLIT_SEED);
    if train.is_empty() {
        let expected = "pictures left to train on";
        return Err(DataError::value("held_out_fraction", expected, config.held_out_fraction));
    }
    if held_out.is_empty() {
        let none = pictures.subset(&[]);
        return Ok((pictures, none));
    }
    Ok((pictures.subset(&train), pictures.subset(&held_out)))
}

/// The one class of a set without classes.
fn one_class() -> Vec<String> {
    vec!["all".to_owned()]
}
