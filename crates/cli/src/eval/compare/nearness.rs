//! Which real pictures the samples are near to.

use super::scores::features;
use super::sets::Side;
use crate::error::CliError;
use sumi_metrics::{Neighbour, nearest_neighbours, nearest_others};

/// Real neighbours that are sought of each sample.
const NEIGHBOURS: usize = 3;

/// The nearest real pictures of every sample, and how near real pictures are to each other.
pub struct Nearness {
    /// Of each sample, the nearest first.
    pub neighbours: Vec<Vec<Neighbour>>,
    /// From each real picture to the nearest other.
    pub of_real: Vec<f64>,
}

impl Nearness {
    /// # Errors
    /// Sides without features.
    pub fn of(real: &Side, fake: &Side) -> Result<Self, CliError> {
        let what = "a search for neighbours";
        let (real, fake) = (features(real, what)?, features(fake, what)?);
        let others = nearest_others(real, 1)?;
        Ok(Self {
            neighbours: nearest_neighbours(fake, real, NEIGHBOURS)?,
            of_real: others.iter().filter_map(|found| found.first()).map(|n| n.distance).collect(),
        })
    }

    /// How far sample `i` is from the nearest real picture.
    pub fn nearest(&self, i: usize) -> f64 {
        self.neighbours[i].first().map_or(f64::INFINITY, |n| n.distance)
    }

    /// The same of every sample.
    pub fn all_nearest(&self) -> Vec<f64> {
        (0..self.neighbours.len()).map(|i| self.nearest(i)).collect()
    }
}
