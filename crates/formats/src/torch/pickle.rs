//! A pickle machine that can build dictionaries of tensors and nothing else.

use super::value::{Budget, Global, Id, Node, Pickle, StorageRef, View};
use crate::limits::MAX_RANK;
use crate::strided::Layout;
use crate::{FormatError, Result};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::rc::Rc;

/// The longest module or function name that is read.
const MAX_NAME: usize = 256;

/// The machine: a program counter, a stack with marks, and a memo.
pub(super) struct Machine<'a, 'b, R> {
    path: &'a Path,
    program: R,
    position: u64,
    end: u64,
    /// Where the opcode being run stands, for errors.
    at: u64,
    budget: &'a mut Budget<'b>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a, 'b, R: BufRead> Machine<'a, 'b, R> {
    /// A machine for a program that may reach from `position` to `end`.
    pub fn new(
        path: &'a Path,
        program: R,
        end: u64,
        position: u64,
        budget: &'a mut Budget<'b>,
    ) -> Self {
        Self {
            path,
            program,
            position,
            end,
            at: position,
            budget,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        }
    }

    /// The offset of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes follow the next one's offset.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// Runs to the end of one pickle.
    pub fn run(&mut self) -> Result<Pickle> {
        loop {
            self.at = self.position;
            let [opcode] = self.bytes()?;
            if opcode == b'.' {
                let root = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() {
                    return Err(self.malformed("one value at the end", "several"));
                }
                let nodes = std::mem::take(&mut self.nodes);
                self.memo.clear();
                return Ok(Pickle { nodes, root });
            }
            self.execute(opcode)?;
        }
    }

    /// Runs one opcode of the closed list.
    fn execute(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO and FRAME: a version, and a length that only helps buffering.
            0x80 => self.protocol(),
            0x95 => self.bytes::<8>().map(drop),
            b'(' => self.mark(),
            // Plain values.
            b'N' => self.push(Node::None),
            0x88 | 0x89 => self.push(Node::Bool),
            b'G' => {
                self.bytes::<8>()?;
                self.push(Node::Float)
            }
            b'J' | b'K' | b'M' | 0x8a => self.integer(opcode),
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(opcode),
            // Containers.
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b't' | 0x85..=0x87 => self.tuple(opcode),
            b'a' | b'e' => self.append(opcode),
            b's' | b'u' => self.set(opcode),
            // The memo.
            b'q' | b'r' | 0x94 => self.remember(opcode),
            b'h' | b'j' => self.recall(opcode),
            // Names, calls and storages.
            b'c' | 0x93 => self.global(opcode),
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'Q' => self.storage(),
            _ => Err(self.unsupported(
                "the opcodes that build a dictionary of tensors",
                format!("the opcode {opcode:#04x} ({:?})", char::from(opcode)),
            )),
        }
    }

    fn protocol(&mut self) -> Result<()> {
        let [version] = self.bytes()?;
        if (2..=5).contains(&version) {
            return Ok(());
        }
        Err(self.unsupported("pickle protocol 2 to 5", format!("protocol {version}")))
    }

    fn mark(&mut self) -> Result<()> {
        self.budget.charge(0)?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn integer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'J' => i128::from(i32::from_le_bytes(self.bytes()?)),
            b'K' => i128::from(u8::from_le_bytes(self.bytes()?)),
            b'M' => i128::from(u16::from_le_bytes(self.bytes()?)),
            _ => {
                let [length] = self.bytes()?;
                let bytes = self.run_of(u64::from(length))?;
                if bytes.len() > 16 {
                    let found = format!("one of {length} bytes");
                    return Err(self.unsupported("an integer of at most 16 bytes", found));
                }
                let sign = bytes.last().map_or(0, |&last| if last < 128 { 0 } else { 255 });
                let mut wide = [sign; 16];
                wide[..bytes.len()].copy_from_slice(&bytes);
                i128::from_le_bytes(wide)
            }
        };
        self.push(Node::Int(value))
    }

    fn text(&mut self, opcode: u8) -> Result<()> {
        let length = match opcode {
            0x8c | b'U' => u64::from(u8::from_le_bytes(self.bytes()?)),
            0x8d => u64::from_le_bytes(self.bytes()?),
            _ => u64::from(u32::from_le_bytes(self.bytes()?)),
        };
        let bytes = self.run_of(length)?;
        match String::from_utf8(bytes) {
            Ok(text) => self.push(Node::Text(text)),
            Err(_) => Err(self.malformed("a string in UTF-8", "other bytes")),
        }
    }

    fn tuple(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b't' {
            self.pop_to_mark()?
        } else {
            let count = usize::from(opcode - 0x84);
            self.pop_several(count)?
        };
        self.push(Node::Tuple(items))
    }

    fn append(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b'a' { self.pop_several(1)? } else { self.pop_to_mark()? };
        let list = self.top()?;
        match &mut self.nodes[list] {
            Node::List(held) => held.extend(items),
            other => {
                let found = other.kind();
                return Err(self.malformed("a list to append to", found));
            }
        }
        Ok(())
    }

    fn set(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b's' { self.pop_several(2)? } else { self.pop_to_mark()? };
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(self.malformed("a value for every key", "a key without one"));
        }
        let dict = self.top()?;
        match &mut self.nodes[dict] {
            Node::Dict(held) => held.extend(pairs.iter().map(|&[key, value]| (key, value))),
            other => {
                let found = other.kind();
                return Err(self.malformed("a dictionary to set items of", found));
            }
        }
        Ok(())
    }

    fn remember(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            b'q' => u32::from(u8::from_le_bytes(self.bytes()?)),
            b'r' => u32::from_le_bytes(self.bytes()?),
            _ => self.memo.len() as u32,
        };
        self.budget.charge(0)?;
        let id = self.top()?;
        self.memo.insert(index, id);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            b'h' => u32::from(u8::from_le_bytes(self.bytes()?)),
            _ => u32::from_le_bytes(self.bytes()?),
        };
        let Some(&id) = self.memo.get(&index) else {
            return Err(self.malformed("a value in the memo", format!("none at {index}")));
        };
        self.budget.charge(0)?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<()> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let names = self.pop_several(2)?;
            match (&self.nodes[names[0]], &self.nodes[names[1]]) {
                (Node::Text(module), Node::Text(name)) => (module.clone(), name.clone()),
                _ => return Err(self.malformed("a module and a name", "other values")),
            }
        };
        match Global::find(&module, &name) {
            Some(global) => self.push(Node::Global(global)),
            None => Err(self.unsupported(
                "torch tensors, torch storages and OrderedDict",
                format!("the opcode 0x{opcode:02x} with the global `{module}.{name}`"),
            )),
        }
    }

    /// Calls a global: the only calls are those that make a dictionary, a tensor or a parameter.
    fn reduce(&mut self) -> Result<()> {
        let operands = self.pop_several(2)?;
        let (Node::Global(global), Node::Tuple(arguments)) =
            (&self.nodes[operands[0]], &self.nodes[operands[1]])
        else {
            return Err(self.malformed("a global and its arguments", "other values"));
        };
        let node = match (global, &arguments[..]) {
            (Global::OrderedDict, []) => Node::Dict(Vec::new()),
            (Global::OrderedDict, [pairs]) => Node::Dict(self.pairs(*pairs)?),
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                self.tensor([*storage, *offset, *shape, *strides])?
            }
            (Global::RebuildParameter, [tensor, ..])
                if matches!(self.nodes[*tensor], Node::Tensor(_)) =>
            {
                self.stack.push(*tensor);
                return Ok(());
            }
            (global, arguments) => {
                let found = format!("{global:?} with {} arguments", arguments.len());
                return Err(self.malformed("a call that makes a tensor or a dictionary", found));
            }
        };
        self.push(node)
    }

    /// The pairs of a dictionary that was pickled as a list of them.
    fn pairs(&self, list: Id) -> Result<Vec<(Id, Id)>> {
        let malformed = || self.malformed("a list of pairs", "another value");
        let (Node::List(items) | Node::Tuple(items)) = &self.nodes[list] else {
            return Err(malformed());
        };
        let pair = |id: &Id| match &self.nodes[*id] {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(malformed()),
        };
        items.iter().map(pair).collect()
    }

    fn tensor(&mut self, [storage, offset, shape, strides]: [Id; 4]) -> Result<Node> {
        let Node::Storage(storage) = &self.nodes[storage] else {
            let found = self.nodes[storage].kind();
            return Err(self.malformed("a storage to view", found));
        };
        let layout = Layout {
            offset: self.count(offset)?,
            shape: self.counts(shape)?,
            strides: self.counts(strides)?,
        };
        let storage = storage.clone();
        let node = Node::Tensor(Rc::new(View { storage, layout }));
        self.budget.charge(2 * MAX_RANK * size_of::<usize>())?;
        Ok(node)
    }

    fn counts(&self, tuple: Id) -> Result<Vec<usize>> {
        match &self.nodes[tuple] {
            Node::Tuple(items) if items.len() <= MAX_RANK => {
                items.iter().map(|id| self.count(*id)).collect()
            }
            Node::Tuple(items) => {
                let found = format!("{}", items.len());
                Err(self.malformed(format!("at most {MAX_RANK} dimensions"), found))
            }
            other => Err(self.malformed("a tuple of counts", other.kind())),
        }
    }

    fn count(&self, id: Id) -> Result<usize> {
        match &self.nodes[id] {
            Node::Int(number) => usize::try_from(*number)
                .map_err(|_| self.malformed("a count from 0 up", number.to_string())),
            other => Err(self.malformed("a count", other.kind())),
        }
    }

    /// Sets an object's attributes: `state_dict()` hangs version numbers on its dictionary, which
    /// are dropped.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let object = self.top()?;
        match (&self.nodes[object], &self.nodes[state]) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (object, _) => {
                let found = format!("attributes of {}", object.kind());
                Err(self.unsupported("attributes of a dictionary", found))
            }
        }
    }

    /// Resolves a persistent id: `('storage', type, key, device, elements)`.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let malformed = "('storage', type, key, device, elements)";
        let Node::Tuple(items) = &self.nodes[id] else {
            return Err(self.malformed(malformed, self.nodes[id].kind()));
        };
        let items: Vec<&Node> = items.iter().map(|item| &self.nodes[*item]).collect();
        let (kind, dtype, key, numel) = match items[..] {
            // The legacy form ends in the view that the storage is of another one, always None
            // since torch 0.4.
            [
                Node::Text(kind),
                Node::Global(Global::Storage(dtype)),
                Node::Text(key),
                Node::Text(_),
                Node::Int(numel),
            ]
            | [
                Node::Text(kind),
                Node::Global(Global::Storage(dtype)),
                Node::Text(key),
                Node::Text(_),
                Node::Int(numel),
                Node::None,
            ] => (kind, *dtype, key, numel),
            _ => return Err(self.malformed(malformed, "another tuple")),
        };
        let Ok(numel) = u64::try_from(*numel) else {
            return Err(self.malformed(malformed, format!("{numel} elements")));
        };
        if kind != "storage" {
            return Err(self.malformed(malformed, format!("{kind:?}")));
        }
        let key = key.clone();
        self.budget.charge(key.len())?;
        self.push(Node::Storage(Rc::new(StorageRef { key, dtype, numel })))
    }

    fn push(&mut self, node: Node) -> Result<()> {
        self.budget.charge(0)?;
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// Where the stack may be popped to: not below the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id> {
        self.pop_several(1).map(|ids| ids[0])
    }

    fn pop_several(&mut self, count: usize) -> Result<Vec<Id>> {
        if self.stack.len() - self.floor() < count {
            return Err(self.malformed(format!("{count} values on the stack"), "fewer"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.malformed("a mark on the stack", "none")),
        }
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => Err(self.malformed("a value on the stack", "none")),
        }
    }

    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a run of bytes whose length the file gave.
    fn run_of(&mut self, length: u64) -> Result<Vec<u8>> {
        let held = usize::try_from(length).ok().filter(|_| length <= self.remaining());
        let Some(length) = held else {
            let expected = format!("at most the {} bytes that are left", self.remaining());
            return Err(self.malformed(expected, format!("a run of {length}")));
        };
        self.budget.charge(length)?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        loop {
            match self.bytes()? {
                [b'\n'] => return Ok(line),
                [byte @ 0x20..=0x7e] if line.len() < MAX_NAME => line.push(char::from(byte)),
                [byte] => {
                    let expected = format!("a name of at most {MAX_NAME} ASCII characters");
                    return Err(self.malformed(expected, format!("{line:?} and {byte:#04x}")));
                }
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() as u64 > self.remaining() {
            return Err(self.malformed("more of the pickle", "the end"));
        }
        self.program
            .read_exact(bytes)
            .map_err(|e| FormatError::io(self.path, "read the pickle", e))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn malformed(&self, expected: impl Into<String>, found: impl Into<String>) -> FormatError {
        FormatError::malformed(self.path, "the pickle", self.at, expected, found)
    }

    fn unsupported(&self, expected: &str, found: String) -> FormatError {
        FormatError::unsupported(self.path, "the pickle", self.at, expected, found)
    }
}
