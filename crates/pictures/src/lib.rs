//! Everything that a user looks at: grids, films, plots, report pages and TensorBoard event files.
//!
//! The one type that all of it meets in is [`Picture`]: 8-bit pixels, grey or RGB, ready for a file. Tensors
//! become pictures through [`Picture::from_unit_range`], which rounds as Python's diffusers does. Files are
//! written under a temporary name and renamed, so a reader never meets half of one.

mod error;
mod film;
mod grid;
mod heat;
mod picture;
mod plane;
pub mod plot;
pub mod report;
pub mod tensorboard;
mod text;

pub use error::PictureError;
pub use film::gif;
pub use grid::{GridOptions, grid, sheet_layout, side_by_side, stacked};
pub use picture::{Picture, to_byte};
pub use plane::Plane;
