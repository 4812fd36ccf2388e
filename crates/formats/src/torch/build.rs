//! From a pickle's values to tensors.

use super::value::{Budget, Id, Node, Pickle, StorageRef, View};
use crate::limits::{MAX_TENSORS, SLACK_BYTES};
use crate::state::{OpenFile, Run, StateDict};
use crate::{FormatError, NamedTensor, Result, TensorMap, tensor};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// How deep dictionaries may lie in dictionaries; a training checkpoint needs four.
const MAX_DEPTH: usize = 16;

/// What a tensor costs in memory beside its name and its data, in bytes.
const TENSOR_COST: u64 = 256;

/// What all the tensors of a file of `length` bytes may take: tensors may share storages, but a
/// file that makes more than twice its length of them is no checkpoint.
pub(super) fn limit(length: u64) -> u64 {
    length.saturating_mul(2).saturating_add(SLACK_BYTES * 3 / 8)
}

/// A tensor whose elements still lie in its storage.
pub(super) struct Stored {
    name: String,
    view: Rc<View>,
}

/// Where storages' bytes come from.
pub(super) trait Storages {
    /// The bytes of a storage, exactly as many as its elements take; asked for once.
    fn take(&mut self, path: &Path, storage: &StorageRef) -> Result<Vec<u8>>;

    /// Where a storage's bytes lie, exactly as many as its elements take.
    fn place(&mut self, path: &Path, storage: &StorageRef) -> Result<Spot>;
}

/// Where a storage lies in its file.
pub(super) struct Spot {
    pub start: u64,
    pub bytes: u64,
    /// The CRC-32 of the bytes, where the file has one.
    pub checksum: Option<u32>,
}

impl Pickle {
    /// The tensors in the root's dictionaries, by dotted name, in order.
    pub fn tensors(&self, path: &Path, budget: &mut Budget) -> Result<Vec<Stored>> {
        let mut found = Vec::new();
        let mut flatten = Flatten { pickle: self, path, budget, found: &mut found };
        flatten.visit(self.root, String::new(), 0)?;
        let mut names: Vec<&str> = found.iter().map(|stored| stored.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let field = format!("tensor `{}`", pair[0]);
            return Err(FormatError::malformed(path, &field, None, "one tensor", "two"));
        }
        Ok(found)
    }
}

struct Flatten<'a, 'b> {
    pickle: &'a Pickle,
    path: &'a Path,
    budget: &'a mut Budget<'b>,
    found: &'a mut Vec<Stored>,
}

impl Flatten<'_, '_> {
    fn visit(&mut self, id: Id, name: String, depth: usize) -> Result<()> {
        // A dictionary may appear in many places, so what counts is each visit, not each node.
        self.budget.charge(name.len())?;
        match &self.pickle.nodes[id] {
            Node::Tensor(view) => {
                if self.found.len() == MAX_TENSORS {
                    let (limit, field) = (MAX_TENSORS as u64, "the number of tensors");
                    return Err(FormatError::too_large(self.path, field, limit, limit + 1));
                }
                let name = if name.is_empty() { "tensor".to_owned() } else { name };
                self.found.push(Stored { name, view: view.clone() });
            }
            Node::Dict(pairs) => {
                if depth == MAX_DEPTH {
                    let (limit, field) = (MAX_DEPTH as u64, "the depth of dictionaries");
                    return Err(FormatError::too_large(self.path, field, limit, limit + 1));
                }
                for (key, value) in pairs {
                    let key = match &self.pickle.nodes[*key] {
                        Node::Text(text) => text.clone(),
                        Node::Int(number) => number.to_string(),
                        _ => continue,
                    };
                    let child = if name.is_empty() { key } else { format!("{name}.{key}") };
                    self.visit(*value, child, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Finds each tensor's place in the file; no storage is read.
pub(super) fn locate(
    file: &Arc<OpenFile>,
    tensors: Vec<Stored>,
    limit: u64,
    storages: &mut impl Storages,
) -> Result<StateDict> {
    let path = file.path();
    check_total(path, &tensors, limit)?;
    let mut runs: HashMap<String, (Rc<StorageRef>, Run)> = HashMap::new();
    let mut state = StateDict::default();
    for Stored { name, view } in tensors {
        let storage = &view.storage;
        if !runs.contains_key(&storage.key) {
            let Spot { start, bytes, checksum } = storages.place(path, storage)?;
            let Some(run) = Run::new(file, start, bytes) else {
                let field = format!("storage `{}`", storage.key);
                let (expected, found) = ("bytes within the file", format!("{bytes} at {start}"));
                return Err(FormatError::malformed(path, &field, None, expected, found));
            };
            let run = match checksum {
                Some(checksum) => run.with_checksum(checksum),
                None => run,
            };
            runs.insert(storage.key.clone(), (storage.clone(), run));
        }
        let (first, run) = &runs[&storage.key];
        if first != storage {
            return Err(two_storages(path, &name, first));
        }
        state.insert_run(name, storage.dtype, view.layout.clone(), run.clone())?;
    }
    Ok(state)
}

/// Two tensors name one storage, and differ on what it is.
fn two_storages(path: &Path, name: &str, storage: &StorageRef) -> FormatError {
    let field = format!("tensor `{name}`");
    let (key, numel, dtype) = (&storage.key, storage.numel, storage.dtype.name());
    let expected = format!("storage `{key}` of {numel} {dtype}");
    FormatError::malformed(path, &field, None, expected, "another size or type")
}

/// Reads each storage once and copies its tensors out of it.
///
/// Tensors may share a storage, or repeat its elements with strides of 0, so their total size is
/// held against `limit` before any storage is read.
pub(super) fn materialise(
    path: &Path,
    tensors: Vec<Stored>,
    limit: u64,
    storages: &mut impl Storages,
) -> Result<TensorMap> {
    check_total(path, &tensors, limit)?;
    let mut by_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, stored) in tensors.iter().enumerate() {
        let key = &stored.view.storage.key;
        by_key.entry(key).or_default().push(index);
    }
    let mut data = vec![Vec::new(); tensors.len()];
    for users in by_key.into_values() {
        let storage = &tensors[users[0]].view.storage;
        if let Some(&other) = users.iter().find(|&&user| tensors[user].view.storage != *storage) {
            return Err(two_storages(path, &tensors[other].name, storage));
        }
        let bytes = storages.take(path, storage)?;
        match users[..] {
            [only] if tensors[only].is_whole_storage(bytes.len()) => data[only] = bytes,
            _ => {
                for user in users {
                    data[user] = tensors[user].view.layout.gather(storage.dtype, &bytes);
                }
            }
        }
    }
    let named = |(stored, data): (Stored, Vec<u8>)| NamedTensor {
        name: stored.name,
        dtype: stored.view.storage.dtype,
        shape: stored.view.layout.shape.clone(),
        data,
    };
    Ok(TensorMap::new(tensors.into_iter().zip(data).map(named).collect()))
}

/// Holds every tensor against its storage, and all of them against the limit.
fn check_total(path: &Path, tensors: &[Stored], limit: u64) -> Result<()> {
    let mut total: u64 = 0;
    for stored in tensors {
        let cost = TENSOR_COST + stored.name.len() as u64;
        total = total.saturating_add(stored.check(path)?).saturating_add(cost);
    }
    if total > limit {
        let field = "the tensors' total size";
        return Err(FormatError::too_large(path, field, limit, total));
    }
    Ok(())
}

impl Stored {
    /// The tensor's size in bytes, once it is known to lie within its storage.
    fn check(&self, path: &Path) -> Result<u64> {
        let numel = usize::try_from(self.view.storage.numel).unwrap_or(usize::MAX);
        let bytes = tensor::bytes(self.view.storage.dtype, &self.view.layout.shape);
        match bytes {
            Some(bytes) if self.view.layout.fits(numel) => Ok(bytes as u64),
            _ => Err(FormatError::malformed(
                path,
                &format!("tensor `{}`", self.name),
                None,
                format!("elements within the {numel} of storage `{}`", self.view.storage.key),
                format!(
                    "shape {:?}, strides {:?}, offset {}",
                    self.view.layout.shape, self.view.layout.strides, self.view.layout.offset
                ),
            )),
        }
    }

    fn is_whole_storage(&self, bytes: usize) -> bool {
        self.view.layout.offset == 0
            && self.view.layout.is_contiguous()
            && tensor::bytes(self.view.storage.dtype, &self.view.layout.shape) == Some(bytes)
    }
}
