//! The values that a pickle may build, and what they may cost.

use crate::limits::SLACK_BYTES;
use crate::strided::Layout;
use crate::{Dtype, FormatError, Result};
use std::path::Path;
use std::rc::Rc;

/// An index into [`Pickle::nodes`]. Values refer to one another by index, so that deep nesting
/// cannot overflow the stack when they are dropped and cycles cannot leak.
pub(super) type Id = usize;

/// What a value costs beside its text, in bytes: the node, and its places on the stack, in the memo
/// and in the list that holds it.
const NODE_COST: usize = 128;

/// A run of elements that tensors view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorageRef {
    pub key: String,
    pub dtype: Dtype,
    pub numel: u64,
}

impl StorageRef {
    /// Its size in bytes, or nothing where that overflows.
    pub fn bytes(&self) -> Option<u64> {
        self.numel.checked_mul(self.dtype.size() as u64)
    }
}

/// A tensor: where its elements lie in a storage.
#[derive(Debug)]
pub(super) struct View {
    pub storage: Rc<StorageRef>,
    pub layout: Layout,
}

/// A name that a pickle may use: the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    pub fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => Self::Storage(match storage.strip_suffix("Storage")? {
                "Double" => Dtype::F64,
                "Float" => Dtype::F32,
                "Half" => Dtype::F16,
                "BFloat16" => Dtype::Bf16,
                "Long" => Dtype::I64,
                "Int" => Dtype::I32,
                "Short" => Dtype::I16,
                "Char" => Dtype::I8,
                "Byte" => Dtype::U8,
                "Bool" => Dtype::Bool,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// A value that a pickle built.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool,
    Float,
    Int(i128),
    Text(String),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Rc<StorageRef>),
    Tensor(Rc<View>),
}

impl Node {
    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a boolean",
            Self::Float => "a float",
            Self::Int(_) => "an integer",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a global",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// What one pickle built.
pub(super) struct Pickle {
    pub nodes: Vec<Node>,
    pub root: Id,
}

impl Pickle {
    /// Every storage that was named, more than once where it was named more than once.
    pub fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }
}

/// What a file may still make the machine allocate: three quarters of the slack, and twice the
/// file's length.
pub(super) struct Budget<'a> {
    path: &'a Path,
    limit: u64,
    left: u64,
}

impl<'a> Budget<'a> {
    pub fn new(path: &'a Path, file_length: u64) -> Self {
        let limit = file_length.saturating_mul(2).saturating_add(SLACK_BYTES / 4 * 3);
        Self { path, limit, left: limit }
    }

    /// Pays for one value and its text.
    pub fn charge(&mut self, text: usize) -> Result<()> {
        let cost = (NODE_COST as u64).saturating_add(text as u64);
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(FormatError::too_large(
                self.path,
                "the memory that the pickle asks for",
                self.limit,
                self.limit.saturating_add(cost - self.left),
            )),
        }
    }
}
