//! Where the pictures that are measured come from.

mod drawn;
mod images;

pub use drawn::Drawn;
pub use images::Images;

use crate::Result;
use std::path::PathBuf;
use sumi_data::Image;

/// Pictures in a fixed order, a few at a time.
pub trait Source {
    /// How many there are, those that will turn out unreadable among them.
    fn count(&self) -> usize;

    /// The names of the classes; none for a set without classes.
    fn class_names(&self) -> &[String];

    /// The next pictures, `most` at most; none after the last.
    ///
    /// # Errors
    /// A set that cannot go on. A single picture that cannot be read is [`Item::image`]'s.
    fn next(&mut self, most: usize) -> Result<Vec<Item>>;
}

/// One picture of a set.
#[derive(Debug)]
pub struct Item {
    /// The picture, or why it cannot be read.
    pub image: std::result::Result<Image, String>,
    /// Its class, an index into the names of the classes; 0 where there are none.
    pub label: u32,
    /// The file, where it is one.
    pub path: Option<PathBuf>,
}
