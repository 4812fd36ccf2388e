//! How good the samples are: Frechet distance, spread, nearest neighbours.
//!
//! Everything works on [`Features`], one vector a sample: pixels, or what a network makes of them.
//!
//! ```
//! use sumi_metrics::{Features, frechet_distance};
//! # fn main() -> Result<(), sumi_metrics::MetricError> {
//! let a = Features::new(3, 1, vec![0.0, 1.0, 2.0])?;
//! let b = Features::new(3, 1, vec![3.0, 5.0, 7.0])?;
//! // (1 - 5)^2 + (1 - 2)^2: the means and the standard deviations differ.
//! assert!((frechet_distance(&a, &b)? - 17.0).abs() < 1e-12);
//! # Ok(())
//! # }
//! ```

mod error;
mod features;
mod frechet;
mod mean;
mod neighbours;
mod spread;

pub use error::MetricError;
pub use features::{Features, Labelled};
pub use frechet::{GaussianStatistics, frechet_distance};
pub use mean::Mean;
pub use neighbours::{
    Accuracy, ClassAccuracy, Neighbour, nearest_neighbour_accuracy, nearest_neighbours,
};
pub use spread::{ClassSpread, mean_pairwise_distance, spread_by_class};
