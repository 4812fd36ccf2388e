//! The formats under test, and one small valid file of each.

use crate::build::{gzip, idx, torch_archive};
use std::path::Path;
use sumi_formats::infotext::Infotext;
use sumi_formats::{
    FormatError, NamedTensor, SLACK_BYTES, TensorMap, cifar, idx as idx_format, npz, png_text,
    safetensors, torch,
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
        }
    }
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

/// One small valid file of every form of every format.
pub fn valid() -> Vec<(&'static str, Format, Vec<u8>)> {
    let mut map = TensorMap::new(tensors());
    map.metadata.insert("format".into(), "pt".into());
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
    ]
}
