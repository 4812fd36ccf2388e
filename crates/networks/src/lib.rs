//! The networks, one file or folder each. None knows processes, samplers or files.

pub mod classifier;
mod levels;
pub mod unet;
pub mod unet_condition;
