//! State dicts: the tensors of one or several files by name, none of them read before it is asked
//! for.

mod entry;
mod floats;
mod index;
mod run;

pub use entry::{Edit, Entry};
pub use floats::Floats;
pub(crate) use floats::widen;
pub(crate) use run::{OpenFile, Run};

use crate::strided::Layout;
use crate::{FormatError, Result, safetensors, torch};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

#[cfg(not(target_endian = "little"))]
compile_error!("files hold little-endian numbers, which are borrowed as they are");

/// How the form of a file shows: its first bytes.
const PROBE_BYTES: usize = 64;

/// What a Git LFS pointer begins with, which stands in a clone for a file that was not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Tensors by name.
///
/// ```
/// use sumi_formats::{Dtype, NamedTensor, StateDict, TensorMap, safetensors};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("x.safetensors");
/// safetensors::write(&path, &TensorMap::new(vec![NamedTensor::from_f32("x", &[2], &[1.0, -0.5])]))?;
/// let state = StateDict::open(&path)?;
/// let x = state.get("x").unwrap();
/// assert_eq!((x.dtype(), x.shape()), (Dtype::F32, &[2][..]));
/// assert_eq!(x.floats("x", Dtype::Bf16)?.as_bytes(), [0x80, 0x3f, 0x00, 0xbf]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl StateDict {
    /// Opens a safetensors file, a file of `torch.save`, or the index of several of them
    /// (`*.safetensors.index.json`, `*.bin.index.json`).
    ///
    /// Headers are held against the files' lengths; no tensor is read.
    ///
    /// # Errors
    /// A file that is missing, cut short or of neither form; a shard that is missing or lacks a
    /// tensor that the index promises.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match path.extension().is_some_and(|ending| ending == "json") {
            true => index::open(path),
            false => Self::of_file(&Arc::new(OpenFile::open(path)?)),
        }
    }

    /// The tensors of a file in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self> {
        Self::of_file(&Arc::new(OpenFile::from_bytes(bytes.into())))
    }

    fn of_file(file: &Arc<OpenFile>) -> Result<Self> {
        let mut start = [0; PROBE_BYTES];
        let probed = PROBE_BYTES.min(usize::try_from(file.length()).unwrap_or(PROBE_BYTES));
        let start = &mut start[..probed];
        file.read_at(0, start)?;
        // Names lie: many a checkpoint was renamed to `.ckpt` or to `.safetensors`.
        if start.starts_with(b"PK") || start.starts_with(&[0x80, 0x02]) {
            return torch::locate(file);
        }
        if start.starts_with(LFS_POINTER) {
            return Err(FormatError::unsupported(
                file.path(),
                "the file",
                0,
                "the tensors themselves; `git lfs pull` fetches them",
                "a Git LFS pointer",
            ));
        }
        safetensors::locate(file)
    }

    pub(crate) fn insert(&mut self, path: &Path, name: String, entry: Entry) -> Result<()> {
        match self.entries.insert(name.clone(), entry) {
            None => Ok(()),
            Some(_) => {
                let field = format!("tensor `{name}`");
                Err(FormatError::malformed(path, &field, None, "one tensor", "two"))
            }
        }
    }

    /// Adds the elements in a run, row-major and without gaps.
    pub(crate) fn insert_run(
        &mut self,
        name: String,
        dtype: crate::Dtype,
        layout: Layout,
        run: Run,
    ) -> Result<()> {
        let path = run.path().to_owned();
        let (expected, found) =
            (format!("elements within {} bytes", run.bytes()), format!("{:?}", layout.shape));
        let Some(entry) = Entry::new(dtype, layout, run) else {
            let field = format!("tensor `{name}`");
            return Err(FormatError::malformed(&path, &field, None, expected, found));
        };
        self.insert(&path, name, entry)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Takes a tensor out, so that what is left over can be told.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    /// Every tensor, by name in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Every name, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Free-form strings of a safetensors file, such as `format` = `pt`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    pub(crate) fn set_metadata(&mut self, metadata: BTreeMap<String, String>) {
        self.metadata = metadata;
    }

    /// How many numbers all tensors hold.
    pub fn parameters(&self) -> u64 {
        self.entries.values().map(|entry| entry.elements() as u64).fold(0, u64::saturating_add)
    }

    /// Whether any name begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        let mut from = self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The tensors whose names begin so, without that beginning.
    pub fn under(&self, prefix: &str) -> Self {
        let tensors = self
            .entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map_while(|(name, entry)| Some((name.strip_prefix(prefix)?, entry)));
        let entries = tensors.map(|(name, entry)| (name.to_owned(), entry.clone())).collect();
        Self { entries, metadata: self.metadata.clone() }
    }

    /// The same names with what `change` makes of their tensors.
    pub fn mapped(mut self, change: impl Fn(&str, &Entry) -> Entry) -> Self {
        self.entries.iter_mut().for_each(|(name, entry)| *entry = change(name, entry));
        self
    }

    /// The same tensors under the names that `present` gives them; those without are left out.
    ///
    /// # Errors
    /// Two tensors of one name.
    pub fn renamed(self, mut present: impl FnMut(&str) -> Option<String>) -> Result<Self> {
        let mut renamed = Self { entries: BTreeMap::new(), metadata: self.metadata };
        for (name, entry) in self.entries {
            if let Some(name) = present(&name) {
                let path = entry.path().to_owned();
                renamed.insert(&path, name, entry)?;
            }
        }
        Ok(renamed)
    }
}

impl FromIterator<(String, Entry)> for StateDict {
    fn from_iter<T: IntoIterator<Item = (String, Entry)>>(entries: T) -> Self {
        Self { entries: entries.into_iter().collect(), metadata: BTreeMap::new() }
    }
}
