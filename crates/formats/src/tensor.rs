use crate::state::widen;
use crate::{FormatError, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an [`Dtype::F32`].
    Bf16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 for false.
    Bool,
}

impl Dtype {
    /// Every type, widest first.
    pub const ALL: [Self; 10] = [
        Self::F64,
        Self::I64,
        Self::F32,
        Self::I32,
        Self::F16,
        Self::Bf16,
        Self::I16,
        Self::I8,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether its numbers are floating-point ones.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// The name that safetensors gives the type, such as `BF16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The type with that safetensors name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

/// What a file's header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Bytes its data takes.
    pub bytes: u64,
}

impl TensorInfo {
    /// How many elements it has.
    pub fn elements(&self) -> usize {
        elements(&self.shape).unwrap_or(usize::MAX)
    }
}

/// A tensor in memory: little-endian, row-major, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements' bytes.
    pub data: Vec<u8>,
}

/// The product of the dimensions, or nothing where it overflows.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// The bytes that a tensor takes, or nothing where the count overflows.
pub(crate) fn bytes(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    elements(shape)?.checked_mul(dtype.size())
}

macro_rules! from_slice {
    ($($method:ident, $element:ty, $dtype:ident;)*) => {$(
        #[doc = concat!("A [`Dtype::", stringify!($dtype), "`] tensor of these elements, in row-major order.")]
        ///
        /// A shape that does not fit the elements is found by [`NamedTensor::check`] and by every
        /// writer.
        pub fn $method(name: impl Into<String>, shape: &[usize], elements: &[$element]) -> Self {
            let mut data = Vec::with_capacity(size_of_val(elements));
            for element in elements {
                data.extend_from_slice(&element.to_le_bytes());
            }
            Self { name: name.into(), dtype: Dtype::$dtype, shape: shape.to_vec(), data }
        }
    )*};
}

/// Decodes little-endian elements of a fixed width.
fn decode<const WIDTH: usize, T>(data: &[u8], element: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
    data.as_chunks::<WIDTH>().0.iter().map(|bytes| element(*bytes)).collect()
}

impl NamedTensor {
    from_slice! {
        from_f64, f64, F64;
        from_f32, f32, F32;
        from_i64, i64, I64;
        from_i32, i32, I32;
        from_u8, u8, U8;
    }

    /// How many elements the shape asks for.
    pub fn elements(&self) -> usize {
        elements(&self.shape).unwrap_or(usize::MAX)
    }

    /// What a header would say of this tensor.
    pub fn info(&self) -> TensorInfo {
        TensorInfo {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            bytes: self.data.len() as u64,
        }
    }

    /// Holds the data's length against the type and the shape.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] where they differ, or where the shape overflows.
    pub fn check(&self) -> Result<()> {
        self.check_for(Path::new(""))
    }

    pub(crate) fn check_for(&self, path: &Path) -> Result<()> {
        if bytes(self.dtype, &self.shape) == Some(self.data.len()) {
            return Ok(());
        }
        Err(FormatError::tensor(
            path,
            &self.name,
            format!("the bytes of {} {:?}", self.dtype.name(), self.shape),
            format!("{} bytes", self.data.len()),
        ))
    }

    /// The elements as f32, converted as casts are: half precisions widen exactly, doubles and
    /// integers round to nearest, booleans become 0 and 1.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] where the data's length does not fit the type and the shape.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.check()?;
        let mut values = Vec::with_capacity(self.elements());
        widen(self.dtype, &self.data, &mut values);
        Ok(values)
    }

    /// The elements of an integer or boolean tensor as i64.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] where the tensor holds floating-point numbers, or where the data's
    /// length does not fit the type and the shape.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        self.check()?;
        Ok(match self.dtype {
            Dtype::I64 => decode(&self.data, i64::from_le_bytes),
            Dtype::I32 => decode(&self.data, |b| i64::from(i32::from_le_bytes(b))),
            Dtype::I16 => decode(&self.data, |b| i64::from(i16::from_le_bytes(b))),
            Dtype::I8 => decode(&self.data, |b| i64::from(i8::from_le_bytes(b))),
            Dtype::U8 => decode(&self.data, |[b]| i64::from(b)),
            Dtype::Bool => decode(&self.data, |[b]| i64::from(b != 0)),
            Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
                let path = Path::new("");
                return Err(FormatError::tensor(path, &self.name, "integers", self.dtype.name()));
            }
        })
    }
}

/// The tensors of one file, in the file's order, and the strings stored beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorMap {
    /// The tensors, in the order in which the file stores them.
    pub tensors: Vec<NamedTensor>,
    /// Free-form strings, such as `format` = `pt`.
    pub metadata: BTreeMap<String, String>,
}

impl TensorMap {
    /// These tensors, without metadata.
    pub fn new(tensors: Vec<NamedTensor>) -> Self {
        Self { tensors, metadata: BTreeMap::new() }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The tensors' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Holds every tensor against its shape, and the names against one another.
    pub(crate) fn check_for(&self, path: &Path) -> Result<()> {
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(FormatError::tensor(
                path,
                pair[0],
                "a name of its own",
                "a name used twice",
            ));
        }
        self.tensors.iter().try_for_each(|tensor| tensor.check_for(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn a_shape_that_does_not_fit_is_an_error() {
        let tensor = NamedTensor::from_f32("w", &[2, 2], &[1.0, 2.0, 3.0]);
        let text = tensor.to_f32().unwrap_err().to_string();
        assert_eq!(text, "tensor `w`: expected the bytes of F32 [2, 2], found 12 bytes");
        let tensor = NamedTensor::from_u8("w", &[usize::MAX, 3], &[]);
        assert!(tensor.check().is_err());
    }

    #[test]
    fn half_precisions_widen_exactly() {
        let values = [0.0_f32, -1.5, 65504.0, 6.103_515_6e-5, f32::INFINITY];
        for (dtype, bytes) in [
            (Dtype::F16, values.map(|v| f16::from_f32(v).to_le_bytes())),
            (Dtype::Bf16, values.map(|v| bf16::from_f32(v).to_le_bytes())),
        ] {
            let tensor =
                NamedTensor { name: "h".into(), dtype, shape: vec![5], data: bytes.concat() };
            let expected = match dtype {
                Dtype::F16 => values,
                _ => values.map(|v| bf16::from_f32(v).to_f32()),
            };
            assert_eq!(tensor.to_f32().unwrap(), expected);
        }
    }

    #[test]
    fn integers_convert_and_floats_do_not_become_integers() {
        let tensor = NamedTensor::from_i64("n", &[3], &[-3, 0, 1 << 40]);
        assert_eq!(tensor.to_f32().unwrap(), [-3.0, 0.0, 1.099_511_6e12]);
        assert_eq!(tensor.to_i64().unwrap(), [-3, 0, 1 << 40]);
        assert!(NamedTensor::from_f32("x", &[1], &[1.0]).to_i64().is_err());
    }
}
