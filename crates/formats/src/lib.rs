//! Files that Sumi reads and writes: safetensors, torch pickles, whole checkpoints, npz, IDX, CIFAR-10 binaries.
//!
//! Every reader takes its input for hostile: sizes are checked with checked arithmetic and against
//! the length of the file before anything is allocated, and a bad file is a [`FormatError`] that
//! names the file, the tensor or field, the byte offset where it is known, what was expected and
//! what was found. No reader panics, whatever the bytes.
//!
//! | module | files | reads | writes |
//! |---|---|---|---|
//! | [`safetensors`] | `.safetensors` | yes | yes |
//! | [`torch`] | `.bin`, `.pt`, `.pth`, `.ckpt`, zip and legacy | yes | |
//! | [`StateDict`] | the two above, whole or in shards, mapped | yes | |
//! | [`checkpoint`] | diffusers folders and single-file checkpoints | yes | |
//! | [`npz`] | `.npz`, `.npy` | yes | yes |
//! | [`lora`] | LoRAs, as safetensors or torch files | yes | yes |
//! | [`idx`] | MNIST's IDX, plain or `.gz` | yes | |
//! | [`cifar`] | CIFAR-10 binaries | yes | |
//! | [`png_text`], [`infotext`] | what a PNG says it was made from | yes | yes |
//!
//! Whatever is written goes through [`atomic`], so a reader never meets half a file.

#![deny(unsafe_code)]

mod archive;
pub mod atomic;
pub mod checkpoint;
pub mod cifar;
mod error;
pub mod hash;
pub mod idx;
pub mod infotext;
mod json;
mod limits;
pub mod lora;
mod mapped;
pub mod npz;
pub mod png_text;
pub mod safetensors;
mod source;
mod state;
mod strided;
mod tensor;
pub mod torch;

pub use checkpoint::{Checkpoint, present_name};
pub use error::{FormatError, Place};
pub use json::python_numbers;
pub use limits::{
    MAX_ARCHIVE_ENTRIES, MAX_CONFIG_BYTES, MAX_EXPANSION, MAX_HEADER_BYTES, MAX_INDEX_BYTES,
    MAX_RANK, MAX_SHARDS, MAX_TENSORS, SLACK_BYTES,
};
pub use state::{Edit, Entry, Floats, StateDict};
pub use tensor::{Dtype, NamedTensor, TensorInfo, TensorMap};

/// What every reader and writer here returns.
pub type Result<T> = std::result::Result<T, FormatError>;
