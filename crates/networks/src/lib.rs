//! The networks, one file or folder each. None knows processes, samplers or files.

pub mod bert;
pub mod classifier;
pub mod clip;
pub mod efficientnet_lite;
pub mod inception;
mod levels;
pub mod t5;
mod tokens;
pub mod unet;
pub mod unet_condition;
pub mod vae;

pub use tokens::TokensError;
pub use unet::UNetConfigError as ConfigError;
