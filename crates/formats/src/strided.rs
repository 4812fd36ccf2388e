//! Row-major copies of tensors that a file stores with strides of its own.

use crate::Dtype;
use crate::tensor::elements;

/// How a tensor's elements lie in a run of elements of the same type; counts, not bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl Layout {
    /// Whether every element lies within a run of `stored` elements; false also where the sum
    /// overflows.
    pub fn fits(&self, stored: usize) -> bool {
        if self.shape.len() != self.strides.len() {
            return false;
        }
        let Some(count) = elements(&self.shape) else {
            return false;
        };
        if count == 0 {
            return self.offset <= stored;
        }
        self.shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (&size, &stride)| {
                last.checked_add((size - 1).checked_mul(stride)?)
            })
            .is_some_and(|last| last < stored)
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            // The stride of a dimension of one element is never used.
            if size != 1 && stride != expected {
                return false;
            }
            expected = stride_after(expected, size);
        }
        true
    }

    /// The layout of a row-major array that begins at `offset`.
    pub fn row_major(offset: usize, shape: Vec<usize>) -> Self {
        let mut strides: Vec<usize> = shape
            .iter()
            .rev()
            .scan(1, |stride, &size| {
                let current = *stride;
                *stride = stride_after(current, size);
                Some(current)
            })
            .collect();
        strides.reverse();
        Self { offset, shape, strides }
    }

    /// The layout of a column-major (Fortran) array.
    pub fn column_major(shape: Vec<usize>) -> Self {
        let strides = shape
            .iter()
            .scan(1, |stride, &size| {
                let current = *stride;
                *stride = stride_after(current, size);
                Some(current)
            })
            .collect();
        Self { offset: 0, shape, strides }
    }

    /// Copies the elements into row-major order. [`Layout::fits`] must hold for `stored`.
    pub fn gather(&self, dtype: Dtype, stored: &[u8]) -> Vec<u8> {
        let width = dtype.size();
        let count = elements(&self.shape).unwrap_or(0);
        let mut data = Vec::with_capacity(count * width);
        if self.is_contiguous() {
            data.extend_from_slice(&stored[self.offset * width..(self.offset + count) * width]);
            return data;
        }
        let mut index = vec![0; self.shape.len()];
        let mut position = self.offset;
        for _ in 0..count {
            data.extend_from_slice(&stored[position * width..(position + 1) * width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                position += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                position -= self.strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
        data
    }
}

/// A dimension of no elements counts as one, so that strides stay defined.
fn stride_after(stride: usize, size: usize) -> usize {
    stride.saturating_mul(size.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_is_gathered() {
        let layout = Layout { offset: 1, shape: vec![3, 2], strides: vec![1, 3] };
        assert!(layout.fits(7) && !layout.fits(6));
        assert_eq!(layout.gather(Dtype::U8, &[9, 0, 1, 2, 3, 4, 5]), [0, 3, 1, 4, 2, 5]);
        let layout = Layout::column_major(vec![3, 2]);
        assert_eq!(layout.gather(Dtype::U8, &[0, 1, 2, 3, 4, 5]), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn overflows_do_not_fit() {
        let huge = |shape: &[usize], strides: &[usize]| Layout {
            offset: 0,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        assert!(!huge(&[usize::MAX, 2], &[0, 0]).fits(usize::MAX));
        assert!(!huge(&[3], &[usize::MAX]).fits(usize::MAX));
        assert!(!huge(&[(1 << 42) + 1, 1 << 22], &[1 << 22, 1]).fits(usize::MAX));
        assert!(!huge(&[2, 2], &[2]).fits(4));
        assert!(huge(&[0, 7], &[1, 1]).fits(0));
    }
}
