//! How good the samples are: distances between distributions, neighbourhoods, spread, copies.
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

mod accumulator;
mod by_class;
mod clip;
mod error;
mod features;
mod frechet;
mod inception;
mod kernel;
mod linear;
mod manifold;
mod mean;
mod memory;
mod neighbours;
mod order;
mod pairs;
mod projection;
mod spread;

pub use accumulator::GaussianAccumulator;
pub use by_class::{ClassLeftOut, ClassScore, ScoreByClass, frechet_by_class, score_by_class};
pub use clip::ClipScore;
pub use error::MetricError;
pub use features::{Features, Labelled};
pub use frechet::{GaussianStatistics, frechet_distance};
pub use inception::{InceptionScore, SplitOptions, inception_score};
pub use kernel::{KernelDistance, Subset, SubsetOptions, kernel_distance, kernel_distance_of};
pub use manifold::{Manifolds, prdc};
pub use mean::Mean;
pub use memory::{Histogram, Memory, MemoryOptions, memory};
pub use neighbours::{
    Accuracy, ClassAccuracy, Neighbour, nearest_neighbour_accuracy, nearest_neighbours,
    nearest_others,
};
pub use order::halves;
pub use projection::{Components, Projection, projection};
pub use spread::{ClassSpread, mean_pairwise_distance, spread_by_class};
