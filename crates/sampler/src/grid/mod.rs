//! Which noise levels a sampler visits.

mod kinds;
mod request;
mod timesteps;

pub use kinds::GridKind;
pub use request::{Convention, End, GridRequest};

use serde::{Deserialize, Serialize};
use std::ops::Range;
use sumi_process::{NoiseLevel, Path, Schedule};

/// How a sampler's timesteps are picked from the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// `0, r, 2r, ..` plus an offset, with `r = floor(T / S)`: starts below the highest level.
    #[default]
    Leading,
    /// `T, T - r, ..` minus 1, with `r = T / S`: starts at the highest level.
    Trailing,
    /// Evenly from `0` to `T - 1`, both included.
    Linspace,
}

/// A grid that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GridError {
    /// A run has at least one step, and no more than there are levels to visit.
    #[error("steps: expected from 1 to {most} ({of}), found {steps}")]
    Steps {
        /// What was asked for.
        steps: usize,
        /// What there is.
        most: usize,
        /// Of what.
        of: &'static str,
    },
    /// The offset leads past the table.
    #[error("steps_offset: timestep {timestep} lies past the last of {timesteps}")]
    Offset {
        /// Where it leads.
        timestep: usize,
        /// What there is.
        timesteps: usize,
    },
    /// A kind of grid that this process or sampler cannot take.
    #[error("grid: {kind} cannot be taken here: {why}")]
    Kind {
        /// Its name.
        kind: &'static str,
        /// What stands in the way, and which can.
        why: String,
    },
}

/// One step's way, from a noise level to a cleaner one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The noisier end.
    pub from: NoiseLevel,
    /// The cleaner end.
    pub to: NoiseLevel,
}

impl Interval {
    /// Whether both ends are one level, but for rounding.
    fn is_empty(self) -> bool {
        self.from == self.to || (self.from.ratio() / self.to.ratio() - 1.0).abs() < 1e-12
    }
}

/// The way from noise to data, in steps.
///
/// It ends at [`NoiseLevel::CLEAN`] unless its maker asks for another end. Each step names both its
/// ends, because the published DDIM walk on some spacings aims at a level that the next step does
/// not quite start from.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The curve that the levels lie on, for solvers that ask in between.
    pub path: Path,
    /// The steps, in the order in which they are taken.
    pub intervals: Vec<Interval>,
    /// What standard normals are multiplied by to be a state at the first level.
    pub start_std: f64,
    /// What a network that was trained on timesteps is told at these levels, where that is not the
    /// process's own time: diffusers rounds the times of some grids.
    pub told: Vec<(NoiseLevel, f64)>,
    /// The table of timesteps that the levels were picked from, for the samplers that go by timesteps.
    pub schedule: Option<Schedule>,
    /// How many steps were asked for, whatever part of them is taken.
    pub asked: usize,
    /// How many steps are left out at the end because they would have led from a level to itself. diffusers
    /// takes them, and counts with them where a solver ends with lower orders.
    pub left_out: usize,
}

impl Grid {
    /// From each level to the next, and from the last to no noise.
    pub fn through(path: Path, levels: &[NoiseLevel]) -> Self {
        Self::from_levels(path, levels, NoiseLevel::CLEAN)
    }

    /// From each level to the next, and from the last to `end`.
    pub fn from_levels(path: Path, levels: &[NoiseLevel], end: NoiseLevel) -> Self {
        let ends = levels.iter().copied().skip(1).chain([end]);
        let intervals: Vec<Interval> = levels
            .iter()
            .zip(ends)
            .map(|(&from, to)| Interval { from, to })
            // Where the last level is the end already there is no step to take.
            .filter(|interval| !interval.is_empty())
            .collect();
        // A state at a variance-preserving level has a standard deviation of about 1.
        let start_std = match (path, levels.first()) {
            (Path::VarianceExploding, Some(first)) => first.sigma,
            _ => 1.0,
        };
        let (asked, left_out) = (levels.len(), levels.len() - intervals.len());
        Self { path, intervals, start_std, told: Vec::new(), schedule: None, asked, left_out }
    }

    /// The training timesteps that `steps` steps visit, highest first, as diffusers picks them.
    ///
    /// # Errors
    /// No steps, more steps than there are timesteps, an offset that leads past the table.
    pub fn timesteps(
        spacing: Spacing,
        timesteps: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<usize>, GridError> {
        timesteps::whole_timesteps(spacing, timesteps, steps, offset)
    }

    /// From each timestep to the next, and from the last to no noise: DDPM's walk.
    pub fn consecutive(schedule: &Schedule, timesteps: &[usize]) -> Self {
        let levels: Vec<_> = timesteps.iter().map(|&t| schedule.level(t)).collect();
        Self::through(Path::VariancePreserving, &levels)
    }

    /// From each timestep `t` to `t - stride`, and to `end` below timestep 0: DDIM's walk as
    /// diffusers takes it, with `stride = floor(T / S)` on every spacing.
    pub fn strided(schedule: &Schedule, timesteps: &[usize], end: NoiseLevel) -> Self {
        let stride = schedule.timesteps() / timesteps.len().max(1);
        let intervals = timesteps.iter().map(|&t| Interval {
            from: schedule.level(t),
            to: t.checked_sub(stride).map_or(end, |previous| schedule.level(previous)),
        });
        let empty = Self::through(Path::VariancePreserving, &[]);
        Self { intervals: intervals.collect(), asked: timesteps.len(), ..empty }
    }

    /// The steps of a range, as a grid of their own.
    ///
    /// What of the range lies past the end is left out.
    pub fn part(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        // What is left out lies at the very end.
        let left_out = if end == self.len() { self.left_out } else { 0 };
        Self { intervals: self.intervals[start..end].to_vec(), left_out, ..self.clone() }
    }

    /// The way from step `step` on: what a run that begins with a noised picture walks (Meng et al.,
    /// SDEdit, Algorithm 1).
    pub fn from_step(&self, step: usize) -> Self {
        self.part(step..self.len())
    }

    /// The last steps of the grid, by the share `strength` of them, from 0 to 1: `floor(strength S)`
    /// steps, as diffusers' image-to-image pipelines count them.
    pub fn for_strength(&self, strength: f64) -> Self {
        let steps = (self.len() as f64 * strength) as usize;
        self.from_step(self.len().saturating_sub(steps))
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// How many steps there are from step `index` on, itself and those that are left out counted.
    pub(crate) fn left(&self, index: usize) -> usize {
        self.len() - index + self.left_out
    }

    /// Whether it has so few steps that solvers end with lower orders (15 in diffusers).
    pub(crate) fn is_short(&self) -> bool {
        self.asked < 15
    }

    /// What the network is told of `level`, where this grid knows better than the process. Only the levels
    /// of the grid itself are known, to the last bit: of a level in between that happens to be near one,
    /// the network is told the process's own time, as in diffusers.
    pub fn told(&self, level: NoiseLevel) -> Option<f64> {
        self.told.iter().find(|(known, _)| *known == level).map(|(_, t)| *t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_process::BetaSchedule;

    #[test]
    fn timesteps_are_those_of_diffusers() {
        let sd = Grid::timesteps(Spacing::Leading, 1000, 50, 1).unwrap();
        assert_eq!((sd[0], sd[1], sd[49]), (981, 961, 1));
        assert_eq!(Grid::timesteps(Spacing::Leading, 1000, 5, 1).unwrap(), [801, 601, 401, 201, 1]);
        assert_eq!(Grid::timesteps(Spacing::Trailing, 1000, 4, 0).unwrap(), [999, 749, 499, 249]);
        let trailing = Grid::timesteps(Spacing::Trailing, 1000, 30, 0).unwrap();
        assert_eq!((trailing.len(), trailing[0], trailing[29]), (30, 999, 32));
        assert_eq!(
            Grid::timesteps(Spacing::Linspace, 1000, 5, 0).unwrap(),
            [999, 749, 500, 250, 0]
        );
    }

    #[test]
    fn impossible_step_counts_are_refused() {
        for steps in [0, 1001] {
            assert_eq!(
                Grid::timesteps(Spacing::Leading, 1000, steps, 0),
                Err(GridError::Steps { steps, most: 1000, of: "the model's training timesteps" })
            );
        }
        assert_eq!(
            Grid::timesteps(Spacing::Leading, 10, 10, 1),
            Err(GridError::Offset { timestep: 10, timesteps: 10 })
        );
    }

    #[test]
    fn strength_cuts_the_beginning_off() {
        let schedule = Schedule::new(BetaSchedule::Linear, 100, 1e-4, 0.02).unwrap();
        let t = Grid::timesteps(Spacing::Trailing, 100, 50, 0).unwrap();
        let grid = Grid::consecutive(&schedule, &t);
        // int(50 * strength) of Python, whose 50 * 0.58 is 28.999...
        for (strength, steps) in [(0.0, 0), (0.019, 0), (0.02, 1), (0.58, 28), (0.6, 30), (1.0, 50)]
        {
            let cut = grid.for_strength(strength);
            assert_eq!(cut.intervals, grid.intervals[50 - steps..], "{strength}");
        }
        assert!(grid.from_step(51).is_empty());
        assert_eq!(grid.part(48..70).intervals, grid.intervals[48..]);
    }

    #[test]
    fn every_walk_falls_and_ends_clean() {
        let schedule = Schedule::new(BetaSchedule::Linear, 100, 1e-4, 0.02).unwrap();
        for spacing in [Spacing::Leading, Spacing::Trailing, Spacing::Linspace] {
            for steps in [1, 2, 7, 33, 100] {
                let t = Grid::timesteps(spacing, 100, steps, 0).unwrap();
                assert_eq!(t.len(), steps);
                assert!(t.windows(2).all(|w| w[1] < w[0]));
                let grid = Grid::consecutive(&schedule, &t);
                assert!(grid.intervals.iter().all(|i| i.to.sigma < i.from.sigma));
                assert!(grid.intervals.windows(2).all(|w| w[0].to == w[1].from));
                assert!(grid.intervals[steps - 1].to.is_clean());
                let grid = Grid::strided(&schedule, &t, NoiseLevel::CLEAN);
                assert!(grid.intervals.iter().all(|i| i.to.sigma < i.from.sigma));
            }
        }
    }
}
