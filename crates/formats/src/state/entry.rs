//! A tensor that still lies in its file.

use super::floats::{Floats, not_finite};
use super::run::{CHUNK_BYTES, Run};
use crate::strided::Layout;
use crate::{Dtype, FormatError, Result, TensorInfo, tensor};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Below this many bytes a tensor is copied: a page costs more to map than to read.
const MAPPED_FROM_BYTES: usize = 1 << 16;

/// A run of elements, and how a tensor lies in it.
#[derive(Clone, Debug)]
struct Piece {
    run: Run,
    layout: Layout,
}

/// A change to the numbers of a tensor.
pub type Edit = Arc<dyn Fn(Vec<f32>) -> Result<Vec<f32>> + Send + Sync>;

/// A tensor of a [`super::StateDict`], none of whose elements was read yet.
///
/// Views of it (rows, a transpose, a stack) are made without reading either.
#[derive(Clone, Debug)]
pub struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    pieces: Vec<Piece>,
}

impl Entry {
    /// A tensor in a run, or nothing where it reaches outside.
    pub(crate) fn new(dtype: Dtype, layout: Layout, run: Run) -> Option<Self> {
        let fits = layout.fits(run.bytes() / dtype.size());
        tensor::bytes(dtype, &layout.shape)?;
        let shape = layout.shape.clone();
        fits.then(|| Self { dtype, shape, pieces: vec![Piece { run, layout }] })
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements it has.
    pub fn elements(&self) -> usize {
        tensor::elements(&self.shape).unwrap_or(usize::MAX)
    }

    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        self.pieces.first().map_or(Path::new(""), |piece| piece.run.path())
    }

    /// What a header would say of it, floating-point numbers being kept in `floats` where given.
    pub fn info(&self, name: &str, floats: Option<Dtype>) -> TensorInfo {
        let dtype = floats.filter(|_| self.dtype.is_float()).unwrap_or(self.dtype);
        let bytes = self.elements().saturating_mul(dtype.size()) as u64;
        TensorInfo { name: name.to_owned(), dtype, shape: self.shape.clone(), bytes }
    }

    /// Some of its rows: `count` of them from `start` on.
    pub fn rows(&self, start: usize, count: usize) -> Option<Self> {
        let [piece] = &self.pieces[..] else { return None };
        let (&rows, &stride) = (self.shape.first()?, piece.layout.strides.first()?);
        if start.checked_add(count)? > rows {
            return None;
        }
        let mut layout = piece.layout.clone();
        layout.offset = layout.offset.checked_add(start.checked_mul(stride)?)?;
        layout.shape[0] = count;
        Self::new(self.dtype, layout, piece.run.clone())
    }

    /// The transpose of a matrix.
    pub fn transposed(&self) -> Option<Self> {
        let ([piece], [_, _]) = (&self.pieces[..], &self.shape[..]) else { return None };
        let mut layout = piece.layout.clone();
        layout.shape.reverse();
        layout.strides.reverse();
        Self::new(self.dtype, layout, piece.run.clone())
    }

    /// The same elements in another shape of as many.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        if tensor::elements(shape) != Some(self.elements()) {
            return None;
        }
        match &self.pieces[..] {
            // Pieces stand one after another, whatever the whole is called.
            [piece] if piece.layout.is_contiguous() => {
                let layout = Layout::row_major(piece.layout.offset, shape.to_vec());
                Self::new(self.dtype, layout, piece.run.clone())
            }
            [_] => None,
            pieces => {
                Some(Self { dtype: self.dtype, shape: shape.to_vec(), pieces: pieces.to_vec() })
            }
        }
    }

    /// Tensors of one type and one row's shape, one below another.
    pub fn stacked(parts: &[Self]) -> Option<Self> {
        let first = parts.first()?;
        let mut shape = first.shape.clone();
        let row = shape.get(1..)?.to_vec();
        shape[0] = 0;
        let mut pieces = Vec::new();
        for part in parts {
            if part.dtype != first.dtype || part.shape.get(1..)? != row {
                return None;
            }
            shape[0] = shape[0].checked_add(part.shape[0])?;
            pieces.extend(part.pieces.iter().cloned());
        }
        tensor::bytes(first.dtype, &shape)?;
        Some(Self { dtype: first.dtype, shape, pieces })
    }

    /// The tensor of type `dtype` (F32, F16 or BF16) that `edit` makes of this one's numbers, anew
    /// each time that they are read; as many come out as go in.
    pub fn edited(&self, name: &str, dtype: Dtype, edit: Edit) -> Self {
        let Some(piece) = self.pieces.first() else { return self.clone() };
        let (base, name) = (self.clone(), name.to_owned());
        let make = move || {
            let values = base.floats(&name, Dtype::F32)?.into_f32();
            let mut floats = Floats::with_capacity(dtype, values.len());
            floats.extend(Dtype::F32, bytemuck::cast_slice(&edit(values)?), &mut Vec::new());
            match floats.not_finite(0) {
                Some(at) => {
                    let expected = format!("numbers that are finite in {}", dtype.name());
                    let found = format!("another at index {at} after a change");
                    Err(FormatError::tensor(base.path(), &name, expected, found))
                }
                None => Ok(floats.as_bytes().to_vec()),
            }
        };
        let run = piece.run.made(self.elements().saturating_mul(dtype.size()), make);
        let layout = Layout::row_major(0, self.shape.clone());
        Self { dtype, shape: self.shape.clone(), pieces: vec![Piece { run, layout }] }
    }

    /// The stored bytes: borrowed from the map where they lie there as a whole, otherwise read.
    ///
    /// # Errors
    /// A file that cannot be read or mapped, a checksum that does not hold.
    pub fn bytes(&self) -> Result<Bytes> {
        if let Some(bytes) = self.mapped()? {
            return Ok(bytes);
        }
        let mut all = Vec::with_capacity(self.elements().saturating_mul(self.dtype.size()));
        self.chunks(|chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(all.into())
    }

    /// The elements as numbers of type `wanted`: F32, F16 or BF16, anything else being F32.
    ///
    /// Without a conversion they are borrowed from the map, and without a copy where they are
    /// aligned; a conversion rounds to nearest, ties to even, and takes no more memory than its
    /// result.
    ///
    /// # Errors
    /// As [`Self::bytes`]; a number that is not finite, or that is not in the wanted type.
    pub fn floats(&self, name: &str, wanted: Dtype) -> Result<Floats> {
        if wanted == self.dtype
            && let Some(bytes) = self.mapped()?
            && bytes.len() >= MAPPED_FROM_BYTES
            && (bytes.as_ptr() as usize).is_multiple_of(wanted.size())
        {
            if let Some(at) = not_finite(wanted, &bytes) {
                return Err(self.not_finite(name, at, wanted));
            }
            return Ok(Floats::Mapped(wanted, bytes));
        }
        let mut floats = Floats::with_capacity(wanted, self.elements());
        let mut scratch = Vec::new();
        self.chunks(|chunk| {
            let from = floats.len();
            floats.extend(self.dtype, chunk, &mut scratch);
            match floats.not_finite(from) {
                Some(at) => Err(self.not_finite(name, at, wanted)),
                None => Ok(()),
            }
        })?;
        Ok(floats)
    }

    /// Hands out the bytes of [`Self::floats`], or of [`Self::bytes`] where nothing is wanted, a
    /// chunk at a time.
    ///
    /// # Errors
    /// As theirs, and what `take` fails with.
    pub fn stream(
        &self,
        name: &str,
        wanted: Option<Dtype>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(wanted) = wanted.filter(|&wanted| wanted != self.dtype) else {
            return self.chunks(take);
        };
        let mut floats = Floats::with_capacity(wanted, CHUNK_BYTES / self.dtype.size());
        let (mut scratch, mut done) = (Vec::new(), 0);
        self.chunks(|chunk| {
            floats.clear();
            floats.extend(self.dtype, chunk, &mut scratch);
            if let Some(at) = floats.not_finite(0) {
                return Err(self.not_finite(name, done + at, wanted));
            }
            done += floats.len();
            take(floats.as_bytes())
        })
    }

    fn not_finite(&self, name: &str, at: usize, wanted: Dtype) -> FormatError {
        let expected = match wanted == self.dtype {
            true => "finite numbers".to_owned(),
            false => format!("numbers that are finite in {}", wanted.name()),
        };
        let mut index = 0;
        let mut value = f32::NAN;
        // The offending element is read again: errors are rare and may take their time.
        let _ = self.chunks(|chunk| {
            let count = chunk.len() / self.dtype.size();
            if (index..index + count).contains(&at) {
                let start = (at - index) * self.dtype.size();
                let mut one = Vec::new();
                let element = &chunk[start..start + self.dtype.size()];
                super::floats::widen(self.dtype, element, &mut one);
                value = one.first().copied().unwrap_or(f32::NAN);
            }
            index += count;
            Ok(())
        });
        FormatError::tensor(self.path(), name, expected, format!("{value} at index {at}"))
    }

    /// The bytes as they lie in the map, where they lie there in order.
    fn mapped(&self) -> Result<Option<Bytes>> {
        let [Piece { run, layout }] = &self.pieces[..] else { return Ok(None) };
        if !layout.is_contiguous() || run.is_made() {
            return Ok(None);
        }
        let width = self.dtype.size();
        run.mapped(layout.offset * width, self.elements() * width).map(Some)
    }

    /// Copies the stored elements in row-major order, whole elements at a time.
    fn chunks(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let width = self.dtype.size();
        let mut buffer = Vec::new();
        for Piece { run, layout } in &self.pieces {
            if let Some(made) = run.make() {
                take(&layout.gather(self.dtype, &made?))?;
                continue;
            }
            if !layout.is_contiguous() {
                let mut stored = vec![0; run.bytes()];
                run.read(0, &mut stored)?;
                take(&layout.gather(self.dtype, &stored))?;
                continue;
            }
            let all = tensor::elements(&layout.shape).unwrap_or(0) * width;
            buffer.resize(CHUNK_BYTES.min(all), 0);
            let mut done = 0;
            while done < all {
                let chunk = &mut buffer[..CHUNK_BYTES.min(all - done)];
                run.read(layout.offset * width + done, chunk)?;
                done += chunk.len();
                take(chunk)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NamedTensor, StateDict, TensorMap, safetensors};

    fn entry(values: &[f32]) -> Entry {
        let map = TensorMap::new(vec![NamedTensor::from_f32("x", &[2, 3], values)]);
        let bytes = safetensors::to_bytes(&map).unwrap();
        StateDict::from_bytes(bytes).unwrap().get("x").unwrap().clone()
    }

    fn doubled(dtype: Dtype) -> Entry {
        let double = |values: Vec<f32>| Ok(values.into_iter().map(|x| 2.0 * x).collect());
        entry(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]).edited("x", dtype, Arc::new(double))
    }

    fn values(entry: &Entry) -> Vec<f32> {
        entry.floats("x", Dtype::F32).unwrap().into_f32()
    }

    #[test]
    fn a_change_is_seen_in_every_view() {
        let changed = doubled(Dtype::F32);
        assert_eq!(values(&changed), [2.0, 4.0, 6.0, 8.0, 10.0, 13.0]);
        assert_eq!(values(&changed.rows(1, 1).unwrap()), [8.0, 10.0, 13.0]);
        assert_eq!(values(&changed.transposed().unwrap()), [2.0, 8.0, 4.0, 10.0, 6.0, 13.0]);
        let stack = Entry::stacked(&[changed.clone(), entry(&[0.0; 6])]).unwrap();
        assert_eq!(values(&stack)[4..7], [10.0, 13.0, 0.0]);
        let half = doubled(Dtype::Bf16);
        assert_eq!((half.dtype(), half.bytes().unwrap().len()), (Dtype::Bf16, 12));
        let mut streamed = Vec::new();
        half.stream("x", Some(Dtype::F32), |chunk| {
            streamed.extend_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        assert_eq!(streamed[20..], 13.0_f32.to_le_bytes());
    }

    #[test]
    fn a_change_that_spoils_a_tensor_is_an_error() {
        let base = entry(&[1.0; 6]);
        let endless = base.edited("x", Dtype::F16, Arc::new(|x| Ok(vec![1e30; x.len()])));
        let text = endless.floats("x", Dtype::F16).unwrap_err().to_string();
        assert!(text.contains("numbers that are finite in F16"), "{text}");
        let short = base.edited("x", Dtype::F32, Arc::new(|_| Ok(vec![1.0])));
        let text = short.bytes().unwrap_err().to_string();
        assert!(text.contains("4 bytes were made of 24"), "{text}");
    }
}
