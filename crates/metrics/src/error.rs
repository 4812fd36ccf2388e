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
    /// A row was asked for that is not there.
    #[error("there is no sample {row}: the set has {rows}, counted from 0")]
    NoSuchRow {
        /// The row.
        row: usize,
        /// Rows of the set.
        rows: usize,
    },
    /// There are more samples than a random order is made for.
    #[error("{rows} samples are too many to be put in random order; at most {} can be", u32::MAX)]
    TooManyRows {
        /// Rows of the set.
        rows: usize,
    },
    /// A set is smaller than the subsets of the kernel distance.
    #[error(
        "subsets of {size} samples cannot be drawn from the {which} set, which has {found}; choose a subset size of at most {found}"
    )]
    SubsetSize {
        /// Samples of a subset.
        size: usize,
        /// "first" or "second".
        which: &'static str,
        /// Samples of the set.
        found: usize,
    },
    /// There are no subsets.
    #[error("the kernel distance needs at least 1 pair of subsets, found 0")]
    NoSubsets,
    /// The number of splits of an Inception score is zero, or more than there are samples.
    #[error("{rows} samples cannot be split into {splits} parts; choose 1 to {rows} splits")]
    Splits {
        /// Splits asked for.
        splits: usize,
        /// Samples of the set.
        rows: usize,
    },
    /// There are no class scores.
    #[error("an Inception score needs the scores of at least 1 class a sample, found 0")]
    NoClasses,
    /// A set has too few samples for its neighbours.
    #[error("the distance to neighbour {k} needs more than {k} {which} samples, found {found}")]
    TooFewNeighbours {
        /// The number of neighbours.
        k: usize,
        /// Which set lacks them: "generated" or "real".
        which: &'static str,
        /// Samples found.
        found: usize,
    },
    /// Two sets of pairs differ in length.
    #[error("{images} images need as many texts, found {texts}")]
    Pairs {
        /// Images.
        images: usize,
        /// Texts.
        texts: usize,
    },
    /// An embedding has no direction.
    #[error("the embedding of {which} {row} is zero and has no direction")]
    ZeroEmbedding {
        /// "image" or "text".
        which: &'static str,
        /// Its row.
        row: usize,
    },
    /// Two halves do not fit into a set.
    #[error(
        "two halves of {count} samples need a set of {}, found {rows}; choose halves of 1 to {}",
        count.saturating_mul(2), rows / 2
    )]
    Halves {
        /// Samples of a half.
        count: usize,
        /// Samples of the set.
        rows: usize,
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
