//! The networks, one file or folder each. None knows processes, samplers or files.

pub mod classifier;
pub mod unet;
