//! The limits that bound what a file can make a reader do, whatever the file says of itself.

/// The longest safetensors header that is read, in bytes: the safetensors format's own cap.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The most tensors one file may hold. Stable Diffusion XL in a single file holds 2,515.
pub const MAX_TENSORS: usize = 65_536;

/// The most dimensions a tensor may have.
pub const MAX_RANK: usize = 16;

/// The most entries a zip archive (`.npz`, `.bin`, `.pt`) may hold.
pub const MAX_ARCHIVE_ENTRIES: usize = 16_384;

/// The most a compressed file may expand, as a multiple of its length, beyond [`SLACK_BYTES`].
///
/// MNIST's training images expand 4.7 times.
pub const MAX_EXPANSION: u64 = 16;

/// What any file, however short, may make a reader allocate: 16 MiB.
pub const SLACK_BYTES: u64 = 16 << 20;

/// The longest `*.index.json` that is read, in bytes. That of Stable Diffusion XL has 150,000.
pub const MAX_INDEX_BYTES: u64 = 1 << 21;

/// The most files that an index may name.
pub const MAX_SHARDS: usize = 1_024;

/// The longest `config.json`, `model_index.json` and the like that is read, in bytes: a JSON value
/// may take 48 times the memory of its text, which [`SLACK_BYTES`] covers.
pub const MAX_CONFIG_BYTES: u64 = 1 << 18;

/// The longest file of a tokenizer that is copied, in bytes: `tokenizer.json` of a large vocabulary
/// has 17 million.
pub const MAX_TOKENIZER_BYTES: u64 = 1 << 26;

/// The longest run of bytes that one deflated byte can stand for, from the format: a match of 258
/// bytes in as few as two bits.
const DEFLATE_RATIO: u64 = 1_032;

/// The most bytes that a compressed file of `length` bytes may expand to.
pub(crate) fn expansion_limit(length: u64) -> u64 {
    length
        .saturating_mul(MAX_EXPANSION)
        .saturating_add(SLACK_BYTES)
        .min(length.saturating_mul(DEFLATE_RATIO))
}
