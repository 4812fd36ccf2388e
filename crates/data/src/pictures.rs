use crate::{DataError, Result};

/// A labelled set of pictures of one size, in memory.
///
/// # Shapes
/// `pixels` is `[N, H, W, C]`, row-major; `labels` is `[N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// The height of every picture, in pixels.
    pub height_px: usize,
    /// The width of every picture, in pixels.
    pub width_px: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// The pixel values, from 0 to `max_value`.
    pub pixels: Vec<u8>,
    /// Each picture's class, an index into `class_names`.
    pub labels: Vec<u32>,
    /// The classes' names; a set without classes has one, `all`.
    pub class_names: Vec<String>,
    /// The value of white: 255, or 16 for the embedded digits.
    pub max_value: u8,
}

/// One picture of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The pixel values, `[H, W, C]`.
    pub pixels: &'a [u8],
    /// The picture's class.
    pub label: u32,
}

impl Pictures {
    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixel values in one picture: H x W x C.
    pub fn picture_len(&self) -> usize {
        self.height_px * self.width_px * self.channels
    }

    /// The pixel values of picture `index`, `[H, W, C]`.
    ///
    /// # Panics
    /// If `index` is not below [`Pictures::len`].
    pub fn picture(&self, index: usize) -> &[u8] {
        let length = self.picture_len();
        &self.pixels[index * length..(index + 1) * length]
    }

    /// The pictures in order, each with its label.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        self.labels
            .iter()
            .enumerate()
            .map(|(index, &label)| Item { pixels: self.picture(index), label })
    }

    /// The pictures at these indices, in their order.
    ///
    /// # Panics
    /// If an index is not below [`Pictures::len`].
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.picture_len());
        for &index in indices {
            pixels.extend_from_slice(self.picture(index));
        }
        Self {
            pixels,
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            class_names: self.class_names.clone(),
            ..*self
        }
    }

    /// How many pictures each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.class_names.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Pixel values of picture `index` scaled to the range of the models: `2 v / max_value - 1`.
    ///
    /// # Panics
    /// If `index` is not below [`Pictures::len`].
    pub fn scaled(&self, index: usize) -> impl ExactSizeIterator<Item = f32> + '_ {
        let white = f32::from(self.max_value);
        self.picture(index).iter().map(move |&value| 2.0 * f32::from(value) / white - 1.0)
    }

    /// Pictures from -1 (black) to 1 (white) as networks see them, `[N, C, H, W]`.
    ///
    /// # Panics
    /// If an index is not below [`Pictures::len`].
    pub fn planes(&self, indices: std::ops::Range<usize>) -> Vec<f32> {
        let mut values = Vec::with_capacity(indices.len() * self.picture_len());
        for index in indices {
            let scaled: Vec<f32> = self.scaled(index).collect();
            for channel in 0..self.channels {
                values.extend(scaled.iter().skip(channel).step_by(self.channels));
            }
        }
        values
    }

    /// A number that another set of pictures, or the same in another order, does not share: FNV-1a
    /// over sizes, labels and pixels.
    pub fn fingerprint(&self) -> u64 {
        let sizes = [self.height_px, self.width_px, self.channels, self.len()];
        let sizes = sizes.into_iter().flat_map(|n| (n as u64).to_le_bytes());
        let labels = self.labels.iter().flat_map(|label| label.to_le_bytes());
        let bytes = sizes.chain(labels).chain(self.pixels.iter().copied());
        bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }

    /// Holds the sizes against one another.
    ///
    /// # Errors
    /// [`DataError::Value`] naming the field: no pictures, a length that does not fit, a label
    /// without a class, a value above white.
    pub fn check(&self) -> Result<()> {
        if self.is_empty() {
            return Err(DataError::value("pictures", "at least one", "none"));
        }
        let expected = self.len() * self.picture_len();
        if self.pixels.len() != expected {
            return Err(DataError::value(
                "pixels",
                format!("{expected} values"),
                self.pixels.len(),
            ));
        }
        let classes = self.class_names.len();
        if let Some(label) = self.labels.iter().find(|&&label| label as usize >= classes) {
            return Err(DataError::value("labels", format!("classes below {classes}"), label));
        }
        if let Some(value) = self.pixels.iter().find(|&&value| value > self.max_value) {
            return Err(DataError::value("pixels", format!("at most {}", self.max_value), value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_planes() {
        let pictures = Pictures {
            height_px: 1,
            width_px: 2,
            channels: 3,
            pixels: vec![0, 1, 2, 2, 1, 0, 2, 2, 2, 0, 0, 0],
            labels: vec![0, 0],
            class_names: vec!["all".into()],
            max_value: 2,
        };
        assert_eq!(pictures.planes(0..1), [-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]);
        assert_eq!(pictures.planes(1..2), [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
    }
}
