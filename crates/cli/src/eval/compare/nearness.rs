//! Which real pictures the samples are near to.

use super::scores::features;
use super::sets::Side;
use crate::error::CliError;
use sumi_metrics::{Mean, Neighbour, nearest_neighbours, nearest_others};

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

    /// The mean of these distances, and the share of the samples that are nearer to a real picture than all but one in a hundred
    /// of the real ones are to each other.
    pub fn summary(&self) -> [f64; 2] {
        let nearest = self.all_nearest();
        let near = self.near();
        let copied = nearest.iter().filter(|&&distance| distance < near).count();
        [Mean::of(&nearest).mean, copied as f64 / nearest.len().max(1) as f64]
    }

    /// What counts as suspiciously near.
    fn near(&self) -> f64 {
        let mut sorted = self.of_real.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 100).copied().unwrap_or(0.0)
    }
}
