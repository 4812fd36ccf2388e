//! The safetensors format: an 8-byte header length, a JSON header, the tensors' bytes.
//!
//! Source: the format's description in the `safetensors` repository's README. The header may take
//! at most 100,000,000 bytes; the tensors' ranges must cover the data without a gap or an overlap,
//! in whatever order.

mod header;

pub use header::Header;

use crate::state::{OpenFile, Run, StateDict};
use crate::strided::Layout;
use crate::{Dtype, FormatError, NamedTensor, Result, TensorInfo, TensorMap, atomic, source};
use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Reads a file's tensors and metadata.
///
/// # Errors
/// [`crate::FormatError::Io`] for a file that cannot be opened; [`crate::FormatError::Malformed`] and
/// [`crate::FormatError::TooLarge`] for one that breaks the format; [`crate::FormatError::Unsupported`] for an
/// element type that [`crate::Dtype`] lacks, such as `F8_E4M3`.
pub fn read(path: impl AsRef<Path>) -> Result<TensorMap> {
    let path = path.as_ref();
    let (mut reader, length) = source::open(path)?;
    parse(path, &mut reader, length)
}

/// Reads only a file's header: names, types, shapes and metadata.
///
/// # Errors
/// As [`read`]: the header is held against the file's length.
pub fn read_header(path: impl AsRef<Path>) -> Result<Header> {
    let path = path.as_ref();
    let (mut reader, length) = source::open(path)?;
    Header::parse(path, &mut reader, length)
}

/// Reads tensors and metadata from bytes in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<TensorMap> {
    parse(Path::new(""), &mut &*bytes, bytes.len() as u64)
}

/// The tensors of a file, as places in it.
pub(crate) fn locate(file: &Arc<OpenFile>) -> Result<StateDict> {
    let (path, length) = (file.path(), file.length());
    let mut reader = file.reader();
    let header = Header::parse(path, &mut reader, length)?;
    let data_bytes = header.tensors.iter().map(|info| info.bytes).sum::<u64>();
    // The header was held against the file: its data ends where the file ends.
    let mut start = length - data_bytes;
    let mut state = StateDict::default();
    for info in header.tensors {
        let Some(run) = Run::new(file, start, info.bytes) else {
            let field = format!("tensor `{}`", info.name);
            let found = format!("{} bytes at {start}", info.bytes);
            let expected = "data within the file";
            return Err(FormatError::malformed(path, &field, None, expected, found));
        };
        start += info.bytes;
        state.insert_run(info.name, info.dtype, Layout::row_major(0, info.shape), run)?;
    }
    state.set_metadata(header.metadata);
    Ok(state)
}

fn parse(path: &Path, reader: &mut impl Read, length: u64) -> Result<TensorMap> {
    let header = Header::parse(path, reader, length)?;
    // The header's ranges follow one another, so the data is read front to back.
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for info in header.tensors {
        let data = source::read_exact(path, reader, info.bytes)?;
        tensors.push(NamedTensor { name: info.name, dtype: info.dtype, shape: info.shape, data });
    }
    Ok(TensorMap { tensors, metadata: header.metadata })
}

/// Writes tensors and metadata to a file, whole or not at all.
///
/// Tensors are stored widest element type first, otherwise in the given order, so that each one is
/// aligned to its elements; the same map always gives the same bytes.
///
/// # Errors
/// [`crate::FormatError::Tensor`] for a tensor whose data does not fit its shape, for a name used twice
/// and for the reserved name `__metadata__`; [`crate::FormatError::Io`] where the file cannot be written.
pub fn write(path: impl AsRef<Path>, map: &TensorMap) -> Result<()> {
    let path = path.as_ref();
    let (header, order) = header::compose(path, map)?;
    atomic::write_file(path, |file| {
        let mut writer = BufWriter::new(file);
        writer.write_all(&header)?;
        for tensor in order {
            writer.write_all(&tensor.data)?;
        }
        writer.flush()
    })
}

/// Writes the tensors of a state dict to a file, whole or not at all, one chunk at a time; those of
/// floating-point numbers in `dtype`, where one is given.
///
/// `progress` is told how many bytes were written since it was last told, and may stop the writing
/// with an error.
///
/// # Errors
/// [`FormatError::Io`] where a file cannot be read or written; [`FormatError::Tensor`] for a number
/// that is not finite in `dtype`; whatever `progress` fails with.
pub fn write_state(
    path: impl AsRef<Path>,
    state: &StateDict,
    dtype: Option<Dtype>,
    metadata: &BTreeMap<String, String>,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let tensors: Vec<(&str, &crate::Entry)> = state.iter().collect();
    let infos: Vec<TensorInfo> =
        tensors.iter().map(|(name, entry)| entry.info(name, dtype)).collect();
    let (header, order) = header::compose_infos(path, &infos, metadata)?;
    // An error on the way is of this crate, which an error of the writer cannot carry unharmed.
    let mut failed = None;
    let written = atomic::write_file(path, |file| {
        let mut writer = BufWriter::new(file);
        writer.write_all(&header)?;
        for index in order {
            let ((name, entry), wanted) = (tensors[index], infos[index].dtype);
            let streamed = entry.stream(name, Some(wanted), |chunk| {
                let written = writer.write_all(chunk);
                written.map_err(|error| FormatError::io(path, "write the file", error))?;
                progress(chunk.len() as u64)
            });
            if let Err(error) = streamed {
                failed = Some(error);
                return Err(std::io::ErrorKind::Other.into());
            }
        }
        writer.flush()
    });
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}

/// The bytes that [`write()`] would put into a file.
///
/// ```
/// use sumi_formats::{NamedTensor, TensorMap, safetensors};
///
/// let map = TensorMap::new(vec![NamedTensor::from_f32("x", &[2], &[1.0, -0.5])]);
/// let bytes = safetensors::to_bytes(&map)?;
/// assert_eq!(safetensors::from_bytes(&bytes)?.get("x").unwrap().to_f32()?, [1.0, -0.5]);
/// # Ok::<(), sumi_formats::FormatError>(())
/// ```
///
/// # Errors
/// [`crate::FormatError::Tensor`], as [`write()`].
pub fn to_bytes(map: &TensorMap) -> Result<Vec<u8>> {
    let (mut bytes, order) = header::compose(Path::new(""), map)?;
    for tensor in order {
        bytes.extend_from_slice(&tensor.data);
    }
    Ok(bytes)
}
