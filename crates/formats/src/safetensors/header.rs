use crate::limits::{MAX_HEADER_BYTES, MAX_RANK, MAX_TENSORS};
use crate::{Dtype, FormatError, NamedTensor, Result, TensorInfo, TensorMap, source, tensor};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

/// The length field and the alignment of the data, in bytes.
const LENGTH_BYTES: u64 = 8;

/// The one header key that is not a tensor.
const METADATA: &str = "__metadata__";

/// What a safetensors file says of itself before its data begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order in which their data is stored.
    pub tensors: Vec<TensorInfo>,
    /// Free-form strings.
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads the header and leaves the reader at the first byte of data.
    pub(super) fn parse(path: &Path, reader: &mut impl Read, length: u64) -> Result<Self> {
        let header_bytes = header_length(path, reader, length)?;
        let json = source::read_exact(path, reader, header_bytes)?;
        if json.first() != Some(&b'{') {
            return Err(FormatError::malformed(
                path,
                "the header",
                LENGTH_BYTES,
                "`{`",
                format!("{:?}", json.first().map(|&byte| char::from(byte))),
            ));
        }
        let raw: RawHeader = serde_json::from_slice(&json).map_err(|error| {
            let offset = LENGTH_BYTES + byte_of(&json, error.line(), error.column());
            FormatError::malformed(path, "the header", offset, "a JSON header", error.to_string())
        })?;
        drop(json);
        raw.check(path, LENGTH_BYTES + header_bytes, length)
    }
}

/// Reads the length field and holds it against the cap and the file.
fn header_length(path: &Path, reader: &mut impl Read, length: u64) -> Result<u64> {
    let field = "the header length";
    if length < LENGTH_BYTES {
        let found = format!("a file of {length} bytes");
        return Err(FormatError::malformed(path, field, 0, "8 bytes", found));
    }
    let mut bytes = [0; LENGTH_BYTES as usize];
    reader.read_exact(&mut bytes).map_err(|e| FormatError::io(path, "read the file", e))?;
    let header_bytes = u64::from_le_bytes(bytes);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(FormatError::too_large(path, field, MAX_HEADER_BYTES, header_bytes));
    }
    if header_bytes > length - LENGTH_BYTES {
        return Err(FormatError::malformed(
            path,
            field,
            0,
            format!("at most the {} bytes that follow it", length - LENGTH_BYTES),
            format!("{header_bytes}"),
        ));
    }
    Ok(header_bytes)
}

/// The byte that a JSON error's line and column, both counted from 1, point at.
fn byte_of(json: &[u8], line: usize, column: usize) -> u64 {
    let start = json
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(index, _)| index + 1)
        .nth(line.saturating_sub(2))
        .filter(|_| line > 1)
        .unwrap_or(0);
    (start + column.saturating_sub(1)) as u64
}

/// The header as its JSON spells it, with nothing checked but its form and its limits.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

impl RawHeader {
    /// Holds the entries against one another and against the file's length.
    fn check(mut self, path: &Path, data_start: u64, length: u64) -> Result<Header> {
        let mut names = HashSet::with_capacity(self.tensors.len());
        for (name, _) in &self.tensors {
            if !names.insert(name) {
                let field = format!("tensor `{name}`");
                return Err(FormatError::malformed(path, &field, None, "one entry", "two"));
            }
        }
        self.tensors.sort_by_key(|(_, raw)| raw.data_offsets);
        let mut end = 0;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, raw) in self.tensors {
            let info = raw.check(path, name, end, length - data_start)?;
            end += info.bytes;
            tensors.push(info);
        }
        if end != length - data_start {
            return Err(FormatError::malformed(
                path,
                "the data",
                data_start + end,
                format!("the end of the file, {end} bytes into the data"),
                format!("{} bytes that belong to no tensor", length - data_start - end),
            ));
        }
        Ok(Header { tensors, metadata: self.metadata })
    }
}

impl RawTensor {
    fn check(self, path: &Path, name: String, start: u64, data_bytes: u64) -> Result<TensorInfo> {
        let field = format!("tensor `{name}`");
        let Some(dtype) = Dtype::from_name(&self.dtype) else {
            let expected = Dtype::ALL.map(Dtype::name).join(", ");
            let found = format!("the type {:?}", self.dtype);
            return Err(FormatError::unsupported(path, &field, None, expected, found));
        };
        let malformed = |expected: String, found: String| {
            FormatError::malformed(path, &field, None, expected, found)
        };
        let Shape(shape) = self.shape;
        let (begin, end) = self.data_offsets;
        let bytes = tensor::bytes(dtype, &shape).ok_or_else(|| {
            malformed("a size that fits 64 bits".into(), format!("{} {shape:?}", dtype.name()))
        })? as u64;
        if begin != start {
            let expected = format!("data that begins where the tensor before it ends, at {start}");
            return Err(malformed(expected, format!("data_offsets [{begin}, {end}]")));
        }
        if end.checked_sub(begin) != Some(bytes) {
            let expected = format!("{bytes} bytes for {} {shape:?}", dtype.name());
            return Err(malformed(expected, format!("data_offsets [{begin}, {end}]")));
        }
        if end > data_bytes {
            let expected = format!("data within the {data_bytes} bytes that the file holds");
            return Err(malformed(expected, format!("data_offsets [{begin}, {end}]")));
        }
        Ok(TensorInfo { name, dtype, shape, bytes })
    }
}

/// Dimensions, no more than [`MAX_RANK`] of them.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> std::result::Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = sequence.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}

/// Strings by string, no more than [`MAX_TENSORS`] of them, no key twice.
struct Strings(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_TENSORS} strings by name")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Strings, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if strings.len() == MAX_TENSORS {
                        return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
                    }
                    if strings.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key `{key}` twice")));
                    }
                    strings.insert(key, value);
                }
                Ok(Strings(strings))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_TENSORS} tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    let in_tensor = |error| A::Error::custom(format!("`{name}`: {error}"));
                    if name == METADATA {
                        if metadata.is_some() {
                            return Err(A::Error::duplicate_field(METADATA));
                        }
                        let Strings(strings) = map.next_value().map_err(in_tensor)?;
                        metadata = Some(strings);
                        continue;
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
                    }
                    let raw = map.next_value().map_err(in_tensor)?;
                    tensors.push((name, raw));
                }
                Ok(RawHeader { tensors, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The length field and the header for a map, and its tensors in the order of their data.
pub(super) fn compose<'a>(
    path: &Path,
    map: &'a TensorMap,
) -> Result<(Vec<u8>, Vec<&'a NamedTensor>)> {
    map.check_for(path)?;
    let infos: Vec<TensorInfo> = map.tensors.iter().map(NamedTensor::info).collect();
    let (header, order) = compose_infos(path, &infos, &map.metadata)?;
    Ok((header, order.into_iter().map(|index| &map.tensors[index]).collect()))
}

/// The length field and the header for tensors whose names differ, and their order.
pub(super) fn compose_infos(
    path: &Path,
    infos: &[TensorInfo],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    if infos.iter().any(|info| info.name == METADATA) {
        return Err(FormatError::tensor(path, METADATA, "another name", "a reserved one"));
    }
    let mut order: Vec<usize> = (0..infos.len()).collect();
    // Readers map the file and view each tensor in place, which needs data aligned to its elements.
    order.sort_by_key(|&index| std::cmp::Reverse(infos[index].dtype.size()));
    let json = |error: serde_json::Error| FormatError::io(path, "compose the header", error.into());
    let mut header = vec![0; LENGTH_BYTES as usize];
    header.push(b'{');
    if !metadata.is_empty() {
        header.extend_from_slice(format!("\"{METADATA}\":").as_bytes());
        serde_json::to_writer(&mut header, metadata).map_err(json)?;
        header.push(b',');
    }
    let mut begin = 0;
    for info in order.iter().map(|&index| &infos[index]) {
        let end = begin + info.bytes;
        serde_json::to_writer(&mut header, &info.name).map_err(json)?;
        header.push(b':');
        let entry =
            Entry { dtype: info.dtype.name(), shape: &info.shape, data_offsets: (begin, end) };
        serde_json::to_writer(&mut header, &entry).map_err(json)?;
        header.push(b',');
        begin = end;
    }
    if header.last() == Some(&b',') {
        header.pop();
    }
    header.push(b'}');
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    let header_bytes = header.len() as u64 - LENGTH_BYTES;
    if header_bytes > MAX_HEADER_BYTES {
        return Err(FormatError::too_large(path, "the header", MAX_HEADER_BYTES, header_bytes));
    }
    header[..LENGTH_BYTES as usize].copy_from_slice(&header_bytes.to_le_bytes());
    Ok((header, order))
}
