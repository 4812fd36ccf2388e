//! Folders of tokenizers, small and sound.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is gone when it is dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, bytes)| folder.write(name, bytes));
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        // A file that is written over is flushed to the disk by ext4; a new one is not.
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names.into_iter().map(|name| (name.clone(), self.read(&name))).collect()
    }

    pub fn bytes(&self) -> usize {
        let length = |entry: fs::DirEntry| entry.metadata().unwrap().len() as usize;
        fs::read_dir(self.path()).unwrap().map(|entry| length(entry.unwrap())).sum()
    }

    pub fn copy(&self) -> Self {
        let files = self.files();
        let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &bytes[..])).collect();
        Self::of(&files)
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/folders").join(name)
}

fn copied(name: &str) -> Folder {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let files: Vec<_> =
        fs::read_dir(golden(name)).unwrap().map(|entry| read(entry.unwrap())).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &bytes[..])).collect();
    Folder::of(&files)
}

/// A number of a protocol buffer.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat()
}

pub fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    let score = [&[0x15][..], &score.to_le_bytes()].concat();
    field(1, &[field(1, text.as_bytes()), score, vec![0x18, kind]].concat())
}

/// A compiled normalisation that makes `b` of `a`: a root, the unit of `a` at its label, and its leaf.
pub fn charsmap() -> Vec<u8> {
    let mut units = vec![0_u32; 256];
    // The children of the root lie at 0 ^ label; the leaf of `a` lies one further, at 0x61 ^ 0x01.
    units[0x61] = 0x61 | 1 << 8 | 1 << 10;
    units[0x60] = 0x8000_0000;
    let bytes = units.iter().flat_map(|unit| unit.to_le_bytes());
    let length = (units.len() as u32 * 4).to_le_bytes();
    length.into_iter().chain(bytes).chain(*b"b\0").collect()
}

/// T5's tokenizer in miniature.
pub fn spiece() -> Vec<u8> {
    let pieces = [
        piece("<pad>", 0.0, 3),
        piece("</s>", 0.0, 3),
        piece("<unk>", 0.0, 2),
        piece("▁", -2.0, 1),
        piece("ph", -3.0, 1),
        piece("b", -4.0, 1),
        piece("▁ca", -5.0, 1),
    ];
    let trainer = field(2, &[0x18, 1]);
    let normalizer = field(3, &field(2, &charsmap()));
    [pieces.concat(), trainer, normalizer].concat()
}

/// A sound folder of every layout.
pub fn valid() -> Vec<(&'static str, Folder)> {
    let config = br#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 3, "model_max_length": 8}"#;
    let t5 = Folder::of(&[("spiece.model", &spiece()), ("tokenizer_config.json", config)]);
    let mut all = vec![("t5", t5)];
    for name in [
        "clip-old",
        "clip-middle",
        "clip-new",
        "bert-old",
        "bert-new",
        "general-unigram",
        "general-bytes",
    ] {
        all.push((name, copied(name)));
    }
    all
}
