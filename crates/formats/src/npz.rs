//! NumPy's `.npy` arrays and `.npz` archives of them.
//!
//! Source: NumPy's `numpy.lib.format` documentation, versions 1.0 to 3.0 of the format.

use crate::archive::{Archive, Compression};
use crate::limits::MAX_RANK;
use crate::strided::Layout;
use crate::{Dtype, FormatError, NamedTensor, Result, TensorMap, atomic, source, tensor};
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Cursor, Seek, Write};
use std::ops::Range;
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The magic, the version and version 1's header length.
const PREFIX_BYTES: usize = 10;

/// NumPy pads the header so that the data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// The longest array header that is read, in bytes; NumPy's own headers take 118.
const MAX_ARRAY_HEADER: usize = 65_536;

/// Reads every array of an `.npz` archive; `arr_0.npy` becomes the tensor `arr_0`.
///
/// # Errors
/// [`FormatError::Malformed`] and [`FormatError::TooLarge`] for a damaged or hostile archive;
/// [`FormatError::Unsupported`] for big-endian, structured or object arrays, which are never
/// unpickled.
pub fn read(path: impl AsRef<Path>) -> Result<TensorMap> {
    let path = path.as_ref();
    let (reader, length) = source::open(path)?;
    parse_archive(path, reader, length)
}

/// Reads every array of an `.npz` archive in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<TensorMap> {
    parse_archive(Path::new(""), Cursor::new(bytes), bytes.len() as u64)
}

fn parse_archive(path: &Path, reader: impl BufRead + Seek, length: u64) -> Result<TensorMap> {
    let mut archive = Archive::open(path, reader, length, Compression::Deflated)?;
    let names = archive.names().to_vec();
    let mut tensors = Vec::with_capacity(names.len());
    for entry in names {
        let Some(name) = entry.strip_suffix(".npy") else {
            let field = format!("zip entry `{entry}`");
            return Err(FormatError::unsupported(path, &field, None, "a name in .npy", "another"));
        };
        let bytes = archive.take(&entry)?;
        tensors.push(parse(path, name, bytes)?);
    }
    Ok(TensorMap::new(tensors))
}

/// Reads an `.npy` file.
///
/// # Errors
/// As [`read`].
pub fn read_npy(path: impl AsRef<Path>) -> Result<NamedTensor> {
    let path = path.as_ref();
    let (mut reader, length) = source::open(path)?;
    let bytes = source::read_exact(path, &mut reader, length)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(path, &name, bytes)
}

/// Reads the bytes of an `.npy` file as a tensor of this name.
///
/// # Errors
/// As [`read`].
pub fn from_npy_bytes(name: &str, bytes: &[u8]) -> Result<NamedTensor> {
    parse(Path::new(""), name, bytes.to_vec())
}

/// Writes tensors as an uncompressed `.npz` archive that `numpy.load` opens, whole or not at all;
/// the tensor `arr_0` becomes `arr_0.npy`.
///
/// # Errors
/// [`FormatError::Tensor`] for a tensor whose data does not fit its shape, for a name used twice
/// and for [`Dtype::Bf16`], which NumPy lacks; [`FormatError::Io`] where the file cannot be written.
pub fn write(path: impl AsRef<Path>, tensors: &[NamedTensor]) -> Result<()> {
    let path = path.as_ref();
    let mut headers = Vec::with_capacity(tensors.len());
    for (index, tensor) in tensors.iter().enumerate() {
        if tensors[..index].iter().any(|other| other.name == tensor.name) {
            return Err(FormatError::tensor(
                path,
                &tensor.name,
                "a name of its own",
                "a name used twice",
            ));
        }
        headers.push(header(path, tensor)?);
    }
    atomic::write_file(path, |file| write_archive(file, tensors, &headers))
}

/// Writes one tensor as an `.npy` file, whole or not at all.
///
/// # Errors
/// As [`write()`].
pub fn write_npy(path: impl AsRef<Path>, tensor: &NamedTensor) -> Result<()> {
    let path = path.as_ref();
    let header = header(path, tensor)?;
    atomic::write_file(path, |file| {
        file.write_all(&header)?;
        file.write_all(&tensor.data)
    })
}

fn write_archive(file: &mut File, tensors: &[NamedTensor], headers: &[Vec<u8>]) -> io::Result<()> {
    let mut archive = ZipWriter::new(BufWriter::new(file));
    for (tensor, header) in tensors.iter().zip(headers) {
        // The largest entry that 32-bit zip sizes hold, less room for the header.
        let large = tensor.data.len() as u64 > u64::from(u32::MAX) - (1 << 20);
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(large);
        archive.start_file(format!("{}.npy", tensor.name), options)?;
        archive.write_all(header)?;
        archive.write_all(&tensor.data)?;
    }
    archive.finish()?.flush()
}

fn descr(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "<f8",
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::I64 => "<i8",
        Dtype::I32 => "<i4",
        Dtype::I16 => "<i2",
        Dtype::I8 => "|i1",
        Dtype::U8 => "|u1",
        Dtype::Bool => "|b1",
        Dtype::Bf16 => return None,
    })
}

/// The header of version 1.0, padded as NumPy pads it.
fn header(path: &Path, tensor: &NamedTensor) -> Result<Vec<u8>> {
    tensor.check_for(path)?;
    let Some(descr) = descr(tensor.dtype) else {
        return Err(FormatError::tensor(
            path,
            &tensor.name,
            "a type that NumPy has",
            tensor.dtype.name(),
        ));
    };
    let mut shape: String = tensor.shape.iter().map(|size| format!("{size}, ")).collect();
    // Python spells a tuple of one `(3,)` and longer ones without a comma at the end.
    let kept = shape.len() - tensor.shape.len().min(1);
    shape.truncate(if tensor.shape.len() > 1 { shape.len() - 2 } else { kept });
    let mut dictionary =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (PREFIX_BYTES + dictionary.len() + 1).next_multiple_of(ALIGNMENT);
    dictionary.extend(std::iter::repeat_n(' ', padded - PREFIX_BYTES - dictionary.len() - 1));
    dictionary.push('\n');
    let Ok(length) = u16::try_from(dictionary.len()) else {
        return Err(FormatError::tensor(
            path,
            &tensor.name,
            "fewer dimensions",
            format!("{}", tensor.shape.len()),
        ));
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(dictionary.as_bytes());
    Ok(bytes)
}

/// Parses the bytes of one array.
fn parse(path: &Path, name: &str, mut bytes: Vec<u8>) -> Result<NamedTensor> {
    let field = format!("array `{name}`");
    let header = header_range(path, &field, &bytes)?;
    let data_start = header.end;
    let text = String::from_utf8_lossy(&bytes[header]);
    let array = Dictionary { path, field: &field, end: data_start, rest: &text }.parse()?;
    let size = tensor::bytes(array.dtype, &array.shape);
    if size != Some(bytes.len() - data_start) {
        return Err(FormatError::malformed(
            path,
            &field,
            data_start as u64,
            format!("the data of {} {:?}", array.dtype.name(), array.shape),
            format!("{} bytes", bytes.len() - data_start),
        ));
    }
    let data = if array.column_major {
        Layout::column_major(array.shape.clone()).gather(array.dtype, &bytes[data_start..])
    } else {
        bytes.drain(..data_start);
        bytes
    };
    Ok(NamedTensor { name: name.to_owned(), dtype: array.dtype, shape: array.shape, data })
}

/// Where an array's dictionary lies; its data follows.
fn header_range(path: &Path, field: &str, bytes: &[u8]) -> Result<Range<usize>> {
    let malformed = |offset: u64, expected: &str, found: String| {
        FormatError::malformed(path, field, offset, expected, found)
    };
    let Some((prefix, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(malformed(0, "an .npy header", format!("{} bytes", bytes.len())));
    };
    if !prefix.starts_with(MAGIC) {
        return Err(malformed(0, "the magic \\x93NUMPY", format!("{:02x?}", &prefix[..6])));
    }
    let (start, length) = match (prefix[6], rest) {
        (1, &[low, high, ..]) => (10, usize::from(u16::from_le_bytes([low, high]))),
        (2 | 3, &[a, b, c, d, ..]) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        (1..=3, _) => {
            return Err(malformed(8, "a header length", format!("{} bytes", rest.len())));
        }
        (version, _) => {
            let found = format!("version {version}");
            return Err(FormatError::unsupported(path, field, 6, "version 1, 2 or 3", found));
        }
    };
    if length > MAX_ARRAY_HEADER {
        return Err(FormatError::too_large(path, field, MAX_ARRAY_HEADER as u64, length as u64));
    }
    if start + length > bytes.len() {
        let found = format!("{} bytes", bytes.len() - start);
        return Err(malformed(8, "the header that its length promises", found));
    }
    Ok(start..start + length)
}

/// What an array's header says.
struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    column_major: bool,
}

/// A reader of the one Python dictionary that an array's header is.
struct Dictionary<'a> {
    path: &'a Path,
    field: &'a str,
    /// Where the dictionary ends in the array's bytes.
    end: usize,
    rest: &'a str,
}

impl<'a> Dictionary<'a> {
    fn parse(mut self) -> Result<Array> {
        let (mut dtype, mut shape, mut column_major) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.quoted()?;
            self.expect(":")?;
            match key {
                "descr" if dtype.is_none() => dtype = Some(self.dtype()?),
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                "fortran_order" if column_major.is_none() => column_major = Some(self.boolean()?),
                _ => {
                    return Err(
                        self.malformed("the keys descr, fortran_order and shape, once each")
                    );
                }
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err(self.malformed("nothing after the dictionary"));
        }
        match (dtype, shape, column_major) {
            (Some(dtype), Some(shape), Some(column_major)) => {
                Ok(Array { dtype, shape, column_major })
            }
            _ => Err(self.malformed("the keys descr, fortran_order and shape")),
        }
    }

    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start_matches(' ');
        let accepted = self.rest.strip_prefix(token);
        self.rest = accepted.unwrap_or(self.rest);
        accepted.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.accept(token) {
            return Ok(());
        }
        Err(self.malformed(&format!("`{token}`")))
    }

    fn quoted(&mut self) -> Result<&'a str> {
        for quote in ["'", "\""] {
            if self.accept(quote) {
                let rest: &'a str = self.rest;
                if let Some((text, after)) = rest.split_once(quote) {
                    self.rest = after;
                    return Ok(text);
                }
            }
        }
        Err(self.malformed("a quoted string"))
    }

    fn boolean(&mut self) -> Result<bool> {
        if self.accept("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn shape(&mut self) -> Result<Vec<usize>> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            let rest: &'a str = self.rest;
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(size) = rest[..digits].parse() else {
                return Err(self.malformed("a dimension that fits 64 bits"));
            };
            if shape.len() == MAX_RANK {
                return Err(self.malformed(&format!("at most {MAX_RANK} dimensions")));
            }
            shape.push(size);
            self.rest = &rest[digits..];
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    fn dtype(&mut self) -> Result<Dtype> {
        let supported = || Dtype::ALL.into_iter().filter_map(|dtype| Some((dtype, descr(dtype)?)));
        if !self.rest.trim_start().starts_with(['\'', '"']) {
            return Err(self.unsupported("a structured type"));
        }
        let name = self.quoted()?;
        // One-byte types have no byte order, whatever their first character says.
        let plain = match name.as_bytes() {
            [b'<' | b'>' | b'=' | b'|', kind @ (b'i' | b'u' | b'b'), b'1'] => {
                format!("|{}1", char::from(*kind))
            }
            _ => name.to_owned(),
        };
        match supported().find(|(_, descr)| *descr == plain) {
            Some((dtype, _)) => Ok(dtype),
            None => Err(self.unsupported(&format!("the type {name:?}"))),
        }
    }

    fn unsupported(&self, found: &str) -> FormatError {
        let names: Vec<_> = Dtype::ALL.into_iter().filter_map(descr).collect();
        FormatError::unsupported(self.path, self.field, self.offset(), names.join(", "), found)
    }

    fn malformed(&self, expected: &str) -> FormatError {
        let found: String = self.rest.chars().take(24).collect();
        let found = format!("{found:?}");
        FormatError::malformed(self.path, self.field, self.offset(), expected, found)
    }

    fn offset(&self) -> u64 {
        self.end.saturating_sub(self.rest.len()) as u64
    }
}
