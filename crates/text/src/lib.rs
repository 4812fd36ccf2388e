//! Prompts: tokenizers with transformers' ids, and the weights and chunks of WebUI users.
//!
//! [`Tokenizer`] turns a text into the ids that a text encoder was trained on, exactly as
//! `transformers` does; [`prompt`] reads `(word:1.2)` and `[word]`, and [`chunks`] cuts a text of
//! any length into the pieces that an encoder takes.
//!
//! Every file is taken for hostile, as in `sumi-formats`: sizes are limited before anything is
//! allocated, what is not served is refused by name, and no reader panics, whatever the bytes.

#![forbid(unsafe_code)]

mod added;
mod bpe;
mod characters;
mod charsmap;
mod chunk;
mod clip;
mod config;
mod decode;
mod error;
mod folder;
mod json;
mod limits;
mod normalize;
mod parts;
pub mod prompt;
mod sentencepiece;
mod split;
mod tables;
mod tokenizer;
mod unigram;
mod vocabulary;
mod wordpiece;

pub use chunk::{COMMA_REACH, Chunk, MAX_CHUNKS, chunks, pad_chunks};
pub use clip::{ClipPad, clip_files};
pub use error::TextError;
pub use limits::{MAX_FILE_BYTES, MAX_MERGES, MAX_TOKENS};
pub use tokenizer::{Encoding, Tokenizer};

/// What everything here returns that can fail.
pub type Result<T> = std::result::Result<T, TextError>;
