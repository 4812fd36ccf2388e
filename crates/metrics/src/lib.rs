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

mod clip;
mod error;
mod features;
mod frechet;
mod inception;
mod kernel;
mod manifold;
mod mean;
mod neighbours;
mod order;
mod pairs;
mod spread;

pub use clip::ClipScore;
pub use error::MetricError;
pub use features::{Features, Labelled};
pub use frechet::{GaussianStatistics, frechet_distance};
pub use inception::{InceptionScore, SplitOptions, inception_score};
pub use kernel::{KernelDistance, Subset, SubsetOptions, kernel_distance, kernel_distance_of};
pub use manifold::{Manifolds, prdc};
pub use mean::Mean;
pub use neighbours::{
    Accuracy, ClassAccuracy, Neighbour, nearest_neighbour_accuracy, nearest_neighbours,
    nearest_others,
};
pub use order::halves;
pub use spread::{ClassSpread, mean_pairwise_distance, spread_by_class};
