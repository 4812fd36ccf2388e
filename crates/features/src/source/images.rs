//! Pictures that are there: files of a folder, or an array.

use super::{Item, Source};
use crate::{FeatureError, Result};
use rayon::prelude::*;
use std::path::Path;
use sumi_data::{Image, ImageFile, Pictures, image_files, read_image};

/// Pictures of a folder or in memory.
#[derive(Debug)]
pub struct Images {
    store: Store,
    class_names: Vec<String>,
    next: usize,
    end: usize,
}

#[derive(Debug)]
enum Store {
    Files(Vec<ImageFile>),
    Array(Pictures),
}

impl Images {
    /// The image files below a folder, with a class a subfolder where it has any.
    ///
    /// # Errors
    /// A folder that cannot be listed or holds no images.
    pub fn folder(path: &Path) -> Result<Self> {
        let (files, class_names) = image_files(path)?;
        Ok(Self {
            end: files.len(),
            store: Store::Files(files),
            class_names: named(class_names),
            next: 0,
        })
    }

    /// Pictures in memory; errors call them `name`.
    ///
    /// # Errors
    /// Pictures that are neither grey nor colour, such as points of the plane.
    pub fn pictures(name: &Path, pictures: Pictures) -> Result<Self> {
        if !matches!(pictures.channels, 1 | 3) {
            let found = pictures.channels.to_string();
            return Err(FeatureError::set(name, "pictures with 1 or 3 channels", found));
        }
        let class_names = named(pictures.class_names.clone());
        Ok(Self { end: pictures.len(), store: Store::Array(pictures), class_names, next: 0 })
    }

    /// The first `count` only, where there are more.
    #[must_use]
    pub fn first(self, count: usize) -> Self {
        Self { end: self.end.min(count), ..self }
    }

    /// From the first again.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    fn item(&self, index: usize) -> Item {
        match &self.store {
            Store::Files(files) => {
                let ImageFile { path, label } = &files[index];
                let image = read_image(path).map_err(|error| error.to_string());
                Item { image, label: *label, path: Some(path.clone()) }
            }
            Store::Array(pictures) => Item {
                image: Ok(image_of(pictures, index)),
                label: pictures.labels[index],
                path: None,
            },
        }
    }
}

/// A single class is none.
fn named(class_names: Vec<String>) -> Vec<String> {
    if class_names.len() > 1 { class_names } else { Vec::new() }
}

impl Source for Images {
    fn count(&self) -> usize {
        self.end
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn next(&mut self, most: usize) -> Result<Vec<Item>> {
        let range = self.next..self.end.min(self.next.saturating_add(most));
        self.next = range.end;
        Ok(range.into_par_iter().map(|index| self.item(index)).collect())
    }
}

/// Picture `index` of an array, its white made 255.
fn image_of(pictures: &Pictures, index: usize) -> Image {
    let white = u32::from(pictures.max_value).max(1);
    let level = |value: u8| ((u32::from(value) * 255 + white / 2) / white) as u8;
    let values = pictures.picture(index).iter().map(|&value| level(value));
    let grey = pictures.channels == 1;
    let rgb = if grey { values.flat_map(|value| [value; 3]).collect() } else { values.collect() };
    let (width_px, height_px) = (pictures.width_px, pictures.height_px);
    Image { width_px, height_px, rgb, grey, alpha: false }
}
