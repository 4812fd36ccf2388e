//! The files that `torch.save` writes: `.bin`, `.pt`, `.pth`, `.ckpt`.
//!
//! A checkpoint is a pickle, a program for a small stack machine that can call any Python function.
//! What runs here is another machine: it knows a closed list of opcodes and of names, and can
//! build dictionaries of tensors and nothing else. Any other opcode or name is an error.
//!
//! Both forms are read: the zip archive that torch has written since version 1.6, and the legacy
//! stream of pickles before it. Dictionaries in dictionaries become dotted names
//! (`state_dict.conv.weight`); numbers, strings, lists and tuples beside the tensors are skipped.
//!
//! Source: `pickletools` for the opcodes; `torch/serialization.py` and `torch/_utils.py` for the
//! layout of the file and of `_rebuild_tensor_v2`.

mod build;
mod legacy;
mod pickle;
mod value;

use crate::archive::{Archive, Compression};
use crate::state::{OpenFile, StateDict};
use crate::{FormatError, Result, TensorMap, source};
use build::{Spot, Storages, Stored, materialise};
use pickle::Machine;
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;
use std::sync::Arc;
use value::{Budget, StorageRef};

/// The suffix of the archive entry that holds the pickle.
const PICKLE: &str = "data.pkl";

/// Reads a checkpoint's tensors.
///
/// # Errors
/// [`FormatError::Unsupported`] naming the opcode or the global, and its byte offset in the pickle,
/// for anything that is not a tensor, a dictionary or a plain value;
/// [`FormatError::Malformed`] for a damaged file, and for a tensor that reaches outside its storage;
/// [`FormatError::TooLarge`] for a file that asks for more memory than its length can back.
pub fn read(path: impl AsRef<Path>) -> Result<TensorMap> {
    let path = path.as_ref();
    let (reader, length) = source::open(path)?;
    parse(path, reader, length)
}

/// Reads the tensors of a checkpoint in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<TensorMap> {
    parse(Path::new(""), Cursor::new(bytes), bytes.len() as u64)
}

fn parse(path: &Path, mut reader: impl BufRead + Seek, length: u64) -> Result<TensorMap> {
    let limit = build::limit(length);
    if is_archive(path, &mut reader)? {
        let (tensors, mut records) = open_archive(path, reader, length)?;
        return materialise(path, tensors, limit, &mut records);
    }
    let (tensors, mut tail) = legacy::open(path, reader, length)?;
    materialise(path, tensors, limit, &mut tail)
}

/// The tensors of a file, as places in it.
pub(crate) fn locate(file: &Arc<OpenFile>) -> Result<StateDict> {
    let (path, length, mut reader) = (file.path(), file.length(), file.reader());
    let limit = build::limit(length);
    if is_archive(path, &mut reader)? {
        let (tensors, mut records) = open_archive(path, reader, length)?;
        return build::locate(file, tensors, limit, &mut records);
    }
    let (tensors, mut tail) = legacy::open(path, reader, length)?;
    build::locate(file, tensors, limit, &mut tail)
}

fn is_archive(path: &Path, reader: &mut impl BufRead) -> Result<bool> {
    let start = reader.fill_buf().map_err(|e| FormatError::io(path, "read the file", e))?;
    Ok(start.starts_with(b"PK"))
}

fn open_archive<R: BufRead + Seek>(
    path: &Path,
    reader: R,
    length: u64,
) -> Result<(Vec<Stored>, Records<R>)> {
    let mut archive = Archive::open(path, reader, length, Compression::Stored)?;
    let mut pickles = archive.names().iter().filter_map(|name| {
        let folder = name.strip_suffix(PICKLE)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    });
    let (Some(folder), None) = (pickles.next(), pickles.next()) else {
        let expected = format!("one entry {PICKLE}");
        return Err(FormatError::malformed(path, "the archive", None, expected, "none or several"));
    };
    let folder = folder.to_owned();
    let byte_order = format!("{folder}byteorder");
    if archive.size(&byte_order).is_some() {
        let order = archive.take(&byte_order)?;
        if order != b"little" {
            let found = format!("the byte order {:?}", String::from_utf8_lossy(&order));
            return Err(FormatError::unsupported(path, &byte_order, None, "`little`", found));
        }
    }
    let tensors = unpickle(path, &mut archive, &format!("{folder}{PICKLE}"))?;
    Ok((tensors, Records { archive, folder }))
}

/// Runs the archive's pickle; only the tensors' places outlive it.
fn unpickle<R: BufRead + Seek>(
    path: &Path,
    archive: &mut Archive<R>,
    entry: &str,
) -> Result<Vec<Stored>> {
    let program = archive.take(entry)?;
    let mut budget = Budget::new(path, archive.length());
    let mut machine = Machine::new(path, &program[..], program.len() as u64, 0, &mut budget);
    let pickle = machine.run()?;
    if machine.remaining() != 0 {
        let found = format!("{} bytes more", machine.remaining());
        let expected = "the end of the pickle";
        return Err(FormatError::malformed(path, PICKLE, machine.position(), expected, found));
    }
    pickle.tensors(path, &mut budget)
}

/// Storages that are entries of an archive.
struct Records<R> {
    archive: Archive<R>,
    folder: String,
}

impl<R: BufRead + Seek> Records<R> {
    /// The entry of a storage, once its size is known to be right.
    fn entry(&self, path: &Path, storage: &StorageRef) -> Result<String> {
        let name = format!("{}data/{}", self.folder, storage.key);
        let found = self.archive.size(&name);
        if found.is_some() && found == storage.bytes() {
            return Ok(name);
        }
        let field = format!("storage `{name}`");
        let expected = format!("{} elements of {}", storage.numel, storage.dtype.name());
        let found = match found {
            Some(bytes) => format!("{bytes} bytes"),
            None => "no such entry".to_owned(),
        };
        Err(FormatError::malformed(path, &field, None, expected, found))
    }
}

impl<R: BufRead + Seek> Storages for Records<R> {
    fn take(&mut self, path: &Path, storage: &StorageRef) -> Result<Vec<u8>> {
        let name = self.entry(path, storage)?;
        self.archive.take(&name)
    }

    fn place(&mut self, path: &Path, storage: &StorageRef) -> Result<Spot> {
        let name = self.entry(path, storage)?;
        match self.archive.locate(&name)? {
            Some((start, bytes, checksum)) => Ok(Spot { start, bytes, checksum: Some(checksum) }),
            None => Err(FormatError::malformed(path, &name, None, "a zip entry", "none")),
        }
    }
}
