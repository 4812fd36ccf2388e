//! The formats under test, and one small valid file of each.

use crate::build::{gzip, idx, torch_archive};
use crate::pipeline;
use std::path::{Path, PathBuf};
use sumi_formats::infotext::Infotext;
use sumi_formats::{
    Checkpoint, Dtype, FormatError, NamedTensor, SLACK_BYTES, StateDict, TensorMap, checkpoint,
    cifar, idx as idx_format, npz, png_text, safetensors, torch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Safetensors,
    Torch,
    Npz,
    Npy,
    Idx,
    Cifar,
    PngText,
    /// Safetensors and torch files as places in a file, every tensor then looked at.
    Located,
    /// The index of a checkpoint in several files, beside its one shard.
    ShardIndex,
    /// The `model_index.json` of a whole pipeline.
    PipelineIndex,
    /// The header of a whole pipeline in a single file.
    SingleFile,
}

impl Format {
    pub const ALL: [Self; 7] = [
        Self::Safetensors,
        Self::Torch,
        Self::Npz,
        Self::Npy,
        Self::Idx,
        Self::Cifar,
        Self::PngText,
    ];

    /// Reads from memory and holds what came of it against itself.
    pub fn read(self, bytes: &[u8]) -> Result<(), FormatError> {
        let map = match self {
            Self::Safetensors => safetensors::from_bytes(bytes)?,
            Self::Torch => torch::from_bytes(bytes)?,
            Self::Npz => npz::from_bytes(bytes)?,
            Self::Npy => TensorMap::new(vec![npz::from_npy_bytes("bad", bytes)?]),
            Self::Idx => {
                let idx = idx_format::from_bytes(bytes)?;
                assert_eq!(idx.dims.iter().product::<usize>(), idx.data.len());
                return Ok(());
            }
            Self::Cifar => return cifar::from_bytes(bytes).map(drop),
            Self::PngText => {
                let texts = png_text::from_bytes(bytes)?;
                // Whatever a text says, it is read.
                texts.iter().for_each(|(_, text)| drop(Infotext::parse(text)));
                return Ok(());
            }
            Self::Located => return look(&StateDict::from_bytes(bytes.to_vec())?),
            Self::ShardIndex => {
                return with_pipeline("unet/x.index.json", bytes, |path| {
                    look(&StateDict::open(path)?)
                });
            }
            Self::PipelineIndex => {
                return with_pipeline("model_index.json", bytes, |path| {
                    look_at_all(&Checkpoint::open(path.parent().unwrap())?)
                });
            }
            Self::SingleFile => {
                return with_pipeline("single", bytes, |path| {
                    look_at_all(&Checkpoint::open(path)?)
                });
            }
        };
        map.tensors.iter().try_for_each(NamedTensor::check)
    }

    /// Reads a file.
    pub fn open(self, path: &Path) -> Result<(), FormatError> {
        match self {
            Self::Safetensors => safetensors::read(path).map(drop),
            Self::Torch => torch::read(path).map(drop),
            Self::Npz => npz::read(path).map(drop),
            Self::Npy => npz::read_npy(path).map(drop),
            Self::Idx => idx_format::read(path).map(drop),
            Self::Cifar => cifar::read_batch(path).map(drop),
            Self::PngText => png_text::read(path).map(drop),
            Self::Located | Self::ShardIndex => StateDict::open(path).map(drop),
            Self::PipelineIndex | Self::SingleFile => Checkpoint::open(path).map(drop),
        }
    }
}

/// Reads every tensor, as it is and as numbers.
fn look(state: &StateDict) -> Result<(), FormatError> {
    for (name, entry) in state.iter() {
        let bytes = entry.bytes()?;
        assert_eq!(bytes.len(), entry.elements() * entry.dtype().size());
        for dtype in [Dtype::F32, Dtype::Bf16] {
            assert_eq!(entry.floats(name, dtype)?.len(), entry.elements());
        }
    }
    Ok(())
}

fn look_at_all(checkpoint: &Checkpoint) -> Result<(), FormatError> {
    checkpoint.parts.values().filter_map(|part| part.weights.as_ref()).try_for_each(look)?;
    checkpoint::to_single_file(checkpoint).map(drop)
}

thread_local! {
    /// A pipeline's folder with a shard in it, made once for each thread.
    static PIPELINE: (tempfile::TempDir, PathBuf) = {
        let place = tempfile::tempdir().unwrap();
        let folder = pipeline::write_folder("sd1", place.path());
        let map = TensorMap::new(tensors());
        safetensors::write(folder.join("unet/shard.safetensors"), &map).unwrap();
        (place, folder)
    };
}

/// Writes the bytes to a file of the pipeline's folder for as long as `read` runs.
fn with_pipeline(
    name: &str,
    bytes: &[u8],
    read: impl FnOnce(&Path) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    PIPELINE.with(|(_, folder)| {
        let path = folder.join(name);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, bytes).unwrap();
        let outcome = read(&path);
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        outcome
    })
}

/// A reader may hold four times its file and 16 MiB.
pub fn assert_memory(name: &str, peak: usize, length: usize) {
    let limit = 4 * length + SLACK_BYTES as usize;
    assert!(peak <= limit, "{name}: {peak} bytes for a file of {length}");
}

fn tensors() -> Vec<NamedTensor> {
    vec![
        NamedTensor::from_f32("weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        NamedTensor::from_i64("steps", &[1], &[7]),
        NamedTensor::from_u8("mask", &[3], &[1, 2, 3]),
    ]
}

fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path);
    std::fs::read(path).unwrap()
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    std::fs::read(folder.join(name)).unwrap()
}

fn with_pipeline_file(name: &str) -> Vec<u8> {
    PIPELINE.with(|(_, folder)| std::fs::read(folder.join(name)).unwrap())
}

/// One small valid file of every form of every format.
pub fn valid() -> Vec<(&'static str, Format, Vec<u8>)> {
    let mut map = TensorMap::new(tensors());
    map.metadata.insert("format".into(), "pt".into());
    let shard_index = br#"{"metadata":{"total_size":27},"weight_map":{"weight":"shard.safetensors","steps":"shard.safetensors"}}"#;
    let index = with_pipeline_file("model_index.json");
    let single = safetensors::to_bytes(&pipeline::single(&pipeline::golden("sd2"))).unwrap();
    let cifar_record = [&[3], &[128; cifar::PICTURE_BYTES][..]].concat();
    vec![
        ("safetensors", Format::Safetensors, safetensors::to_bytes(&map).unwrap()),
        ("npz", Format::Npz, written(|path| npz::write(path, &tensors()).unwrap())),
        ("npz, deflated", Format::Npz, golden("compressed.npz")),
        ("npy", Format::Npy, written(|path| npz::write_npy(path, &tensors()[0]).unwrap())),
        ("torch", Format::Torch, golden("linear.bin")),
        (
            "torch, minimal",
            Format::Torch,
            torch_archive(&crate::torch::valid_pickle(), &[("0", &[0; 16])]),
        ),
        ("torch, legacy", Format::Torch, golden("legacy.pth")),
        ("idx", Format::Idx, idx(&[2, 2, 3], &[7; 12])),
        ("idx, gzipped", Format::Idx, gzip(&idx(&[2, 2, 3], &[7; 12]))),
        ("cifar", Format::Cifar, cifar_record),
        ("png", Format::PngText, golden("texts.png")),
        ("safetensors, located", Format::Located, safetensors::to_bytes(&map).unwrap()),
        ("torch, located", Format::Located, golden("linear.bin")),
        ("torch, legacy, located", Format::Located, golden("legacy.pth")),
        ("shard index", Format::ShardIndex, shard_index.to_vec()),
        ("pipeline index", Format::PipelineIndex, index),
        ("single file", Format::SingleFile, single),
    ]
}
