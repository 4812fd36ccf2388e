//! What an image says about itself.

use crate::error::CliError;
use crate::generate::recipe::{KEYWORD, Recipe, Source};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use sumi_formats::hash::{sha256_of, short_hash};
use sumi_formats::{atomic, png_text, webui};
use sumi_model::Plan;
use sumi_pictures::Picture;

/// A hash that is computed while the first image is drawn.
pub type Hashing = JoinHandle<Option<String>>;
