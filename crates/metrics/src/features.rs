//! Feature vectors.

use std::ops::Range;

use faer::MatRef;

use crate::MetricError;

/// Finite feature vectors, one a row.
///
/// # Shapes
/// `[N, D]`: N samples (rows) of D features (columns), row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Features {
    /// `rows` samples of `columns` features from `data`, row by row.
    ///
    /// # Errors
    /// If `data` has another length or a value is not finite.
    pub fn new(rows: usize, columns: usize, data: Vec<f64>) -> Result<Self, MetricError> {
        if rows.checked_mul(columns) != Some(data.len()) {
            return Err(MetricError::Length { rows, columns, found: data.len() });
        }
        if let Some(i) = data.iter().position(|x| !x.is_finite()) {
            return Err(MetricError::NonFinite {
                row: i / columns,
                column: i % columns,
                value: data[i],
            });
        }
        Ok(Self { rows, columns, data })
    }

    /// The same from single-precision values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_f32(rows: usize, columns: usize, data: &[f32]) -> Result<Self, MetricError> {
        Self::new(rows, columns, data.iter().map(|&x| f64::from(x)).collect())
    }

    /// Pictures of `columns` values each, divided by their `white`: from 0 to 1.
    ///
    /// # Errors
    /// No columns, a `white` of 0, or a number of pixels that does not make whole pictures.
    pub fn from_pixels(columns: usize, pixels: &[u8], white: u8) -> Result<Self, MetricError> {
        let rows = pixels.len().checked_div(columns).unwrap_or(0);
        let white = f64::from(white);
        Self::new(rows, columns, pixels.iter().map(|&value| f64::from(value) / white).collect())
    }

    /// The number of samples, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of features a sample, D.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row by row.
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// The features of sample `i`.
    ///
    /// # Panics
    /// If there is no sample `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.columns..][..self.columns]
    }

    /// The samples `rows`, in that order; a sample may come more than once.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn select(&self, rows: &[usize]) -> Result<Self, MetricError> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.rows) {
            return Err(MetricError::NoSuchRow { row, rows: self.rows });
        }
        let data = rows.iter().flat_map(|&i| self.row(i)).copied().collect();
        Ok(Self { rows: rows.len(), columns: self.columns, data })
    }

    /// The samples of which `keep` holds, in order.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.rows).filter(|&i| keep(i)).collect();
        let data = kept.iter().flat_map(|&i| self.row(i)).copied().collect();
        Self { rows: kept.len(), columns: self.columns, data }
    }

    /// The samples in `range` as a matrix.
    pub(crate) fn matrix(&self, range: Range<usize>) -> MatRef<'_, f64> {
        let data = &self.data[range.start * self.columns..range.end * self.columns];
        MatRef::from_row_major_slice(data, range.len(), self.columns)
    }

    /// Checks that `other` has the same number of columns.
    pub(crate) fn check_columns(&self, other: &Self) -> Result<(), MetricError> {
        check_dimension(self.columns, other.columns)
    }

    /// Checks that there are at least `needed` samples for `what`.
    pub(crate) fn check_rows(&self, needed: usize, what: &'static str) -> Result<(), MetricError> {
        let found = self.rows;
        if found < needed {
            return Err(MetricError::TooFewRows { what, needed, found });
        }
        Ok(())
    }
}

/// Checks that two dimensions agree.
pub(crate) fn check_dimension(left: usize, right: usize) -> Result<(), MetricError> {
    if left == right { Ok(()) } else { Err(MetricError::Dimension { left, right }) }
}

/// Features with the class of each sample.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    pub(crate) features: &'a Features,
    pub(crate) labels: &'a [usize],
}

impl<'a> Labelled<'a> {
    /// Sample i of `features` has class `labels[i]`.
    ///
    /// # Errors
    /// If there are more or fewer labels than samples.
    pub fn new(features: &'a Features, labels: &'a [usize]) -> Result<Self, MetricError> {
        if features.rows != labels.len() {
            return Err(MetricError::Labels { rows: features.rows, labels: labels.len() });
        }
        Ok(Self { features, labels })
    }

    /// The samples of one class.
    pub fn of_class(&self, class: usize) -> Features {
        self.features.filter(|i| self.labels[i] == class)
    }
}

/// Euclidean distance, squared.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    // Eight independent sums: floating-point addition is not reordered into vectors otherwise.
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += (x[i] - y[i]) * (x[i] - y[i]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(x, y)| (x - y) * (x - y));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_features_are_refused() {
        let error = Features::new(2, 3, vec![0.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "2 x 3 features need 6 values, found 5");
        assert!(Features::new(usize::MAX, 2, vec![]).is_err());
        let error = Features::from_f32(2, 2, &[0.0, 1.0, 2.0, f32::NAN]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the feature in row 1, column 1 is NaN; features must be finite"
        );
        let features = Features::new(2, 1, vec![0.0, 1.0]).unwrap();
        let error = Labelled::new(&features, &[1]).unwrap_err();
        assert_eq!(error.to_string(), "2 samples need as many labels, found 1");
    }

    #[test]
    fn pixels_are_scaled_by_their_white() {
        let features = Features::from_pixels(2, &[0, 16, 4, 8], 16).unwrap();
        assert_eq!((features.rows(), features.data()), (2, &[0.0, 1.0, 0.25, 0.5][..]));
        for (columns, white) in [(3, 16), (0, 16), (2, 0)] {
            assert!(Features::from_pixels(columns, &[0, 16, 4, 8], white).is_err());
        }
    }

    #[test]
    fn rows_and_classes_are_selected() {
        let features = Features::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!((features.rows(), features.columns()), (3, 2));
        assert_eq!(features.row(1), [3.0, 4.0]);
        let ones = Labelled::new(&features, &[1, 0, 1]).unwrap().of_class(1);
        assert_eq!(ones.data(), [1.0, 2.0, 5.0, 6.0]);
    }

    #[test]
    fn squared_distance_sums_every_column() {
        for d in 0..20 {
            let a: Vec<f64> = (0..d).map(f64::from).collect();
            let b: Vec<f64> = a.iter().map(|x| -x).collect();
            let expected: f64 = a.iter().map(|x| 4.0 * x * x).sum();
            assert_eq!(squared_distance(&a, &b), expected);
        }
    }
}
