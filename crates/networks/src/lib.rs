//! The networks, one file or folder each. None knows processes, samplers or files.

pub mod classifier;
pub mod clip;
mod levels;
mod tokens;
pub mod unet;
pub mod unet_condition;
pub mod vae;

pub use tokens::TokensError;
pub use unet::UNetConfigError as ConfigError;
