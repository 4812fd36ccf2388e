//! The stream of pickles that torch wrote before version 1.6: a magic number, a version, a
//! description of the machine, the object, the storages' keys; then each storage's length and
//! bytes.

use super::build::{Spot, Storages, Stored};
use super::pickle::Machine;
use super::value::{Budget, Node, Pickle, StorageRef};
use crate::{FormatError, Result, source};
use std::collections::HashMap;
use std::io::{BufRead, Seek, SeekFrom};
use std::path::Path;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;

/// Opens a whole file of the legacy form.
pub(super) fn open<R: BufRead + Seek>(
    path: &Path,
    mut reader: R,
    length: u64,
) -> Result<(Vec<Stored>, Tail<R>)> {
    let mut budget = Budget::new(path, length);
    let mut stream = Stream { path, reader: &mut reader, position: 0, length };
    let field = "the start of the file";
    let magic = stream.pickle(&mut budget).map_err(|error| match error {
        FormatError::Io { .. } => error,
        _ => FormatError::malformed(
            path,
            field,
            0,
            "a file that torch.save wrote",
            error.to_string(),
        ),
    })?;
    if !matches!(magic.nodes[magic.root], Node::Int(MAGIC)) {
        let found = "another number";
        return Err(FormatError::malformed(path, field, 0, "torch's magic number", found));
    }
    let version = stream.pickle(&mut budget)?;
    if !matches!(version.nodes[version.root], Node::Int(VERSION)) {
        let expected = "version 1001 of the legacy form";
        return Err(FormatError::unsupported(path, field, None, expected, "another version"));
    }
    // The machine's description says whether it was little-endian, which every machine that torch
    // runs on is; the storages' lengths would not add up on another.
    stream.pickle(&mut budget)?;
    let (tensors, places) = stream.object(&mut budget)?;
    Ok((tensors, Tail { reader, places }))
}

struct Stream<'a, R> {
    path: &'a Path,
    reader: &'a mut R,
    position: u64,
    length: u64,
}

impl<R: BufRead + Seek> Stream<'_, R> {
    /// Runs the next pickle of the stream.
    fn pickle(&mut self, budget: &mut Budget) -> Result<Pickle> {
        let mut machine =
            Machine::new(self.path, &mut *self.reader, self.length, self.position, budget);
        let pickle = machine.run()?;
        self.position = machine.position();
        Ok(pickle)
    }

    /// Runs the object's pickle and that of the storages' keys; only the tensors' and the storages'
    /// places outlive them.
    fn object(&mut self, budget: &mut Budget) -> Result<(Vec<Stored>, HashMap<String, u64>)> {
        let object = self.pickle(budget)?;
        let tensors = object.tensors(self.path, budget)?;
        let order = self.pickle(budget)?;
        let places = self.places(&object, &order)?;
        Ok((tensors, places))
    }

    /// Where each storage's bytes begin: the storages follow one another in the listed order, each
    /// behind the number of its elements.
    fn places(&mut self, object: &Pickle, order: &Pickle) -> Result<HashMap<String, u64>> {
        let storages: HashMap<&str, &StorageRef> =
            object.storages().map(|s| (&s.key[..], s)).collect();
        let Node::List(keys) = &order.nodes[order.root] else {
            let (field, expected) = ("the storages' keys", "a list");
            return Err(FormatError::malformed(
                self.path,
                field,
                self.position,
                expected,
                "another value",
            ));
        };
        let mut places = HashMap::new();
        for key in keys {
            let found = match &order.nodes[*key] {
                Node::Text(key) => storages.get(&key[..]),
                _ => None,
            };
            let Some(storage) = found else {
                let (field, expected) = ("the storages' keys", "the key of a storage");
                return Err(FormatError::malformed(
                    self.path,
                    field,
                    self.position,
                    expected,
                    "another value",
                ));
            };
            let start = self.skip_storage(storage)?;
            if places.insert(storage.key.clone(), start).is_some() {
                let field = format!("storage `{}`", storage.key);
                return Err(FormatError::malformed(self.path, &field, start, "one storage", "two"));
            }
        }
        if self.position != self.length {
            let found = format!("{} bytes more", self.length - self.position);
            let expected = "the end of the file";
            return Err(FormatError::malformed(
                self.path,
                "the storages",
                self.position,
                expected,
                found,
            ));
        }
        Ok(places)
    }

    /// Steps over one storage and returns where its bytes begin.
    fn skip_storage(&mut self, storage: &StorageRef) -> Result<u64> {
        let field = format!("storage `{}`", storage.key);
        let left = self.length - self.position;
        let bytes = storage.bytes();
        let Some(bytes) =
            bytes.filter(|&bytes| bytes.checked_add(8).is_some_and(|all| all <= left))
        else {
            let expected = format!("{} elements of {}", storage.numel, storage.dtype.name());
            let found = format!("{left} bytes");
            return Err(FormatError::malformed(self.path, &field, self.position, expected, found));
        };
        let mut numel = [0; 8];
        let read = |error| FormatError::io(self.path, "read the file", error);
        self.reader.seek(SeekFrom::Start(self.position)).map_err(read)?;
        self.reader.read_exact(&mut numel).map_err(read)?;
        if u64::from_le_bytes(numel) != storage.numel {
            let expected = format!("{} elements", storage.numel);
            let found = format!("{}", u64::from_le_bytes(numel));
            return Err(FormatError::malformed(self.path, &field, self.position, expected, found));
        }
        let start = self.position + 8;
        self.position = start + bytes;
        Ok(start)
    }
}

/// Storages that lie at the end of a file.
pub(super) struct Tail<R> {
    reader: R,
    places: HashMap<String, u64>,
}

impl<R: BufRead + Seek> Storages for Tail<R> {
    fn take(&mut self, path: &Path, storage: &StorageRef) -> Result<Vec<u8>> {
        let Spot { start, bytes, .. } = self.place(path, storage)?;
        self.reader
            .seek(SeekFrom::Start(start))
            .map_err(|e| FormatError::io(path, "read the file", e))?;
        source::read_exact(path, &mut self.reader, bytes)
    }

    fn place(&mut self, path: &Path, storage: &StorageRef) -> Result<Spot> {
        let (Some(&start), Some(bytes)) = (self.places.get(&storage.key), storage.bytes()) else {
            let field = format!("storage `{}`", storage.key);
            let expected = "a listed storage";
            return Err(FormatError::malformed(path, &field, None, expected, "none"));
        };
        Ok(Spot { start, bytes, checksum: None })
    }
}
