//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong when a picture, film, page or event file is made.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The pixels do not fill the size that was claimed.
    #[error(
        "a picture of {height_px}x{width_px} with {channels} channel(s) needs {expected} values, found {found}"
    )]
    Length {
        /// Claimed height.
        height_px: usize,
        /// Claimed width.
        width_px: usize,
        /// Claimed channels.
        channels: usize,
        /// Values that this size needs.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// A picture is neither grey nor RGB.
    #[error("a picture has 1 channel (grey) or 3 (RGB), found {found}")]
    Channels {
        /// The channel count that came.
        found: usize,
    },
    /// A height, width, column count or scale lies outside its range.
    #[error("{what} must be from {low} to {high}, found {found}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// The least that is allowed.
        low: usize,
        /// The most that is allowed.
        high: usize,
        /// What came.
        found: usize,
    },
    /// A picture in a grid or film differs in size from the first.
    #[error("picture {index} is {}x{} pixels, the first is {}x{}: all must have one size", found.0, found.1, expected.0, expected.1)]
    SizesDiffer {
        /// Position of the first picture that differs.
        index: usize,
        /// Height and width of the first picture.
        expected: (usize, usize),
        /// Height and width of this one.
        found: (usize, usize),
    },
    /// Nothing to draw.
    #[error("{what} needs at least one picture, found none")]
    Empty {
        /// What was to be drawn.
        what: &'static str,
    },
    /// A list of labels does not match what it labels.
    #[error("{found} {what} for {expected} of them: give one each, or none")]
    Labels {
        /// Which labels.
        what: &'static str,
        /// How many rows or columns there are.
        expected: usize,
        /// How many labels came.
        found: usize,
    },
    /// Bytes that should be a PNG or a GIF are not.
    #[error("expected the bytes of a {expected}, found {found}")]
    NotAnImage {
        /// The formats that are taken here.
        expected: &'static str,
        /// What the bytes begin with.
        found: String,
    },
    /// A file that cannot be written.
    #[error(transparent)]
    File(#[from] sumi_formats::FormatError),
    /// The encoder refused.
    #[error("cannot encode a {format}: {reason}")]
    Encode {
        /// PNG or GIF.
        format: &'static str,
        /// The encoder's own words.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "create", "write", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

impl PictureError {
    /// An `Io` error maker for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Refuses a number outside `low..=high`.
pub(crate) fn within(
    what: &'static str,
    found: usize,
    low: usize,
    high: usize,
) -> Result<usize, PictureError> {
    if (low..=high).contains(&found) {
        Ok(found)
    } else {
        Err(PictureError::OutOfRange { what, low, high, found })
    }
}
