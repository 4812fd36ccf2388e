//! Why a metric cannot be computed.

/// Why a metric cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// The number of values is not rows times columns.
    #[error("{rows} x {columns} features need {} values, found {found}", rows.saturating_mul(*columns))]
    Length {
        /// Rows announced.
        rows: usize,
        /// Columns announced.
        columns: usize,
        /// Values given.
        found: usize,
    },
    /// A value is infinite or not a number.
    #[error("the feature in row {row}, column {column} is {value}; features must be finite")]
    NonFinite {
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        value: f64,
    },
    /// There are too few samples.
    #[error("{what} needs at least {needed} samples, found {found}")]
    TooFewRows {
        /// What was to be computed.
        what: &'static str,
        /// Samples needed.
        needed: usize,
        /// Samples found.
        found: usize,
    },
    /// A class has too few samples.
    #[error("class {class} has {found} {which} samples; its spread needs at least 2")]
    TooFewOfClass {
        /// The class.
        class: usize,
        /// Which set lacks them: "generated" or "real".
        which: &'static str,
        /// Samples found.
        found: usize,
    },
    /// Two sets differ in the number of columns.
    #[error(
        "one set has {left} features a sample, the other {right}; compare sets made by one extractor"
    )]
    Dimension {
        /// Columns of the first set.
        left: usize,
        /// Columns of the second set.
        right: usize,
    },
    /// The number of labels is not the number of rows.
    #[error("{rows} samples need as many labels, found {labels}")]
    Labels {
        /// Rows of the features.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// The number of neighbours is zero.
    #[error("the number of neighbours must be at least 1")]
    NoNeighbours,
    /// A decomposition did not converge.
    #[error("the {what} of a {size} x {size} matrix did not converge")]
    NoConvergence {
        /// The decomposition.
        what: &'static str,
        /// Rows of the matrix.
        size: usize,
    },
}
