//! Elements of any type as numbers of a wanted type, a chunk at a time.

use crate::Dtype;
use bytes::Bytes;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The elements of a tensor, in one of the types that networks keep weights in.
#[derive(Clone, Debug)]
pub enum Floats {
    /// As they stand in the file, little-endian, mapped and aligned to their size.
    Mapped(Dtype, Bytes),
    /// Read, or converted.
    F32(Vec<f32>),
    /// Read, or rounded to nearest, ties to even.
    F16(Vec<f16>),
    /// Read, or rounded to nearest, ties to even.
    Bf16(Vec<bf16>),
}

impl Floats {
    /// Room for `elements` of a floating-point type of at most 32 bits; f32 for any other.
    pub(super) fn with_capacity(dtype: Dtype, elements: usize) -> Self {
        match dtype {
            Dtype::F16 => Self::F16(Vec::with_capacity(elements)),
            Dtype::Bf16 => Self::Bf16(Vec::with_capacity(elements)),
            _ => Self::F32(Vec::with_capacity(elements)),
        }
    }

    /// The type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Mapped(dtype, _) => *dtype,
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::Bf16(_) => Dtype::Bf16,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Mapped(dtype, bytes) => bytes.len() / dtype.size(),
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// The numbers as f32.
    pub(super) fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            other => {
                let mut values = Vec::with_capacity(other.len());
                widen(other.dtype(), other.as_bytes(), &mut values);
                values
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The little-endian bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(_, bytes) => bytes,
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values.reinterpret_cast()),
            Self::Bf16(values) => bytemuck::cast_slice(values.reinterpret_cast()),
        }
    }

    /// Appends stored elements, converted by way of f32.
    pub(super) fn extend(&mut self, dtype: Dtype, stored: &[u8], scratch: &mut Vec<f32>) {
        match self {
            Self::F32(values) => widen(dtype, stored, values),
            Self::F16(values) => {
                scratch.clear();
                widen(dtype, stored, scratch);
                let start = values.len();
                values.resize(start + scratch.len(), f16::ZERO);
                values[start..].convert_from_f32_slice(scratch);
            }
            Self::Bf16(values) => {
                scratch.clear();
                widen(dtype, stored, scratch);
                values.extend(scratch.iter().map(|&x| round_bf16(x)));
            }
            Self::Mapped(..) => {}
        }
    }

    /// Drops the elements, keeps the room.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Mapped(..) => {}
            Self::F32(values) => values.clear(),
            Self::F16(values) => values.clear(),
            Self::Bf16(values) => values.clear(),
        }
    }

    /// The first element from `from` on that is infinite or not a number.
    pub(super) fn not_finite(&self, from: usize) -> Option<usize> {
        let (dtype, bytes) = (self.dtype(), self.as_bytes());
        let from_bytes = from * dtype.size();
        not_finite(dtype, &bytes[from_bytes..]).map(|at| from + at)
    }
}

/// Appends the elements as f32: half precisions widen exactly, doubles and integers round to
/// nearest, booleans become 0 and 1.
pub(crate) fn widen(dtype: Dtype, stored: &[u8], values: &mut Vec<f32>) {
    fn each<const WIDTH: usize>(
        stored: &[u8],
        values: &mut Vec<f32>,
        element: impl Fn([u8; WIDTH]) -> f32,
    ) {
        values.extend(stored.as_chunks::<WIDTH>().0.iter().map(|bytes| element(*bytes)));
    }
    match dtype {
        Dtype::F64 => each(stored, values, |b| f64::from_le_bytes(b) as f32),
        Dtype::F32 => each(stored, values, f32::from_le_bytes),
        Dtype::F16 => widen_f16(stored, values),
        Dtype::Bf16 => each(stored, values, |[low, high]| f32::from_le_bytes([0, 0, low, high])),
        Dtype::I64 => each(stored, values, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => each(stored, values, |b| i32::from_le_bytes(b) as f32),
        Dtype::I16 => each(stored, values, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::I8 => each(stored, values, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U8 => each(stored, values, |[b]| f32::from(b)),
        Dtype::Bool => each(stored, values, |[b]| f32::from(u8::from(b != 0))),
    }
}

/// Sixteen at a time, for which processors have an instruction.
fn widen_f16(stored: &[u8], values: &mut Vec<f32>) {
    const LANES: usize = 16;
    let elements = stored.as_chunks::<2>().0;
    values.reserve(elements.len());
    for chunk in elements.chunks(LANES) {
        let (mut halves, mut wide) = ([f16::ZERO; LANES], [0.0; LANES]);
        for (half, bytes) in halves.iter_mut().zip(chunk) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(&mut wide);
        values.extend_from_slice(&wide[..chunk.len()]);
    }
}

/// The nearest bfloat16, ties to even, without a branch, so that compilers vectorise it.
fn round_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // A NaN must not be rounded up into an infinity.
    let nan = (bits >> 16) | 0x40;
    bf16::from_bits(if x.is_nan() { nan } else { rounded } as u16)
}

/// The first element that is infinite or not a number; integers never are.
pub(crate) fn not_finite(dtype: Dtype, stored: &[u8]) -> Option<usize> {
    /// The exponent is all ones in what is not finite. Blocks are checked whole, which vectorises.
    fn find<const WIDTH: usize>(
        stored: &[u8],
        is_bad: impl Fn([u8; WIDTH]) -> bool,
    ) -> Option<usize> {
        const BLOCK: usize = 4096;
        let elements = stored.as_chunks::<WIDTH>().0;
        for (index, block) in elements.chunks(BLOCK).enumerate() {
            if block.iter().fold(false, |bad, bytes| bad | is_bad(*bytes)) {
                let within = block.iter().position(|bytes| is_bad(*bytes)).unwrap_or(0);
                return Some(index * BLOCK + within);
            }
        }
        None
    }
    match dtype {
        Dtype::F64 => find(stored, |b| !f64::from_le_bytes(b).is_finite()),
        Dtype::F32 => find(stored, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        Dtype::F16 => find(stored, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        Dtype::Bf16 => find(stored, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ties, what overflows, what is subnormal, and what is not a number.
    const TELLING: [f32; 14] = [
        0.0,
        -0.0,
        1.0,
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
        -1.0 - 1.5 / 256.0,
        65504.0,
        65520.0,
        1e-40,
        3.4e38,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];

    fn converted(wanted: Dtype, values: &[f32]) -> Floats {
        let mut floats = Floats::with_capacity(wanted, values.len());
        floats.extend(Dtype::F32, bytemuck::cast_slice(values), &mut Vec::new());
        floats
    }

    #[test]
    fn rounding_is_to_nearest_and_to_even() {
        let many = (0..1 << 16).map(|i| f32::from_bits(i * 65_521 + 7)).filter(|x| !x.is_nan());
        let values: Vec<f32> = TELLING.into_iter().chain(many).collect();
        let Floats::Bf16(found) = converted(Dtype::Bf16, &values) else { unreachable!() };
        for (found, x) in found.iter().zip(&values) {
            assert_eq!(found.is_nan(), x.is_nan());
            assert!(x.is_nan() || *found == bf16::from_f32(*x), "{x}: {found}");
        }
        let Floats::F16(found) = converted(Dtype::F16, &values) else { unreachable!() };
        for (found, x) in found.iter().zip(&values) {
            assert!(x.is_nan() || *found == f16::from_f32_const(*x), "{x}: {found}");
        }
    }

    #[test]
    fn widening_is_exact_at_any_length() {
        for length in [0, 1, 15, 16, 17, 40] {
            let halves: Vec<f16> = (0..length).map(|i| f16::from_bits(i * 700)).collect();
            let mut wide = Vec::new();
            widen(Dtype::F16, bytemuck::cast_slice(halves.reinterpret_cast()), &mut wide);
            assert!(wide.iter().zip(&halves).all(|(x, half)| *x == half.to_f32()));
            assert_eq!(wide.len(), halves.len());
        }
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        for at in [0, 4095, 4096, 9000] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![f32::MAX; 9001];
                values[at] = bad;
                for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
                    // The largest f32 overflows in half precision.
                    values.iter_mut().filter(|x| x.is_finite()).for_each(|x| *x = 65504.0);
                    let floats = converted(dtype, &values);
                    assert_eq!(floats.not_finite(0), Some(at), "{dtype:?}");
                    assert_eq!(floats.not_finite(at + 1), None, "{dtype:?}");
                }
                let wide: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
                assert_eq!(not_finite(Dtype::F64, bytemuck::cast_slice(&wide)), Some(at));
            }
        }
        assert_eq!(not_finite(Dtype::I32, &[0xff; 64]), None);
    }
}
