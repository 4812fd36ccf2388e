//! Pictures from words: text encoders, a denoiser over latents, a decoder.
//!
//! A [`Pipeline`] is what a Stable Diffusion checkpoint holds, as a diffusers folder or a single file. A
//! [`Request`] says what to draw; a [`Drawing`] is both, checked against one another and with the prompts
//! encoded, and draws one picture after the other.
//!
//! Nothing here moves noise: the plan, the grids and the samplers are those of `sumi-model` and
//! `sumi-sampler`, which meet a network with its prompts as just another denoiser.

mod condition;
mod draw;
mod edit;
mod encoder;
mod error;
mod lora;
mod open;
mod prompt;
mod request;

pub use condition::{Conditioning, Cut};
pub use draw::{Drawing, Drawn};
pub use encoder::TextEncoder;
pub use error::PipelineError;
pub use lora::AddedLora;
pub use open::{Decoded, Pipeline};
pub use request::{Generator, Init, Prompts, Request};

/// What everything here returns that can fail.
pub type Result<T> = std::result::Result<T, PipelineError>;
