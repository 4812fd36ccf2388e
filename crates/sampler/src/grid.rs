//! Which noise levels a sampler visits.

use serde::{Deserialize, Serialize};
use sumi_process::{NoiseLevel, Schedule};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// A run has at least one step.
    #[error(
        "steps: expected from 1 to {timesteps} (the model's training timesteps), found {steps}"
    )]
    Steps {
        /// What was asked for.
        steps: usize,
        /// What there is.
        timesteps: usize,
    },
    /// The offset leads past the table.
    #[error("steps_offset: timestep {timestep} lies past the last of {timesteps}")]
    Offset {
        /// Where it leads.
        timestep: usize,
        /// What there is.
        timesteps: usize,
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

/// The way from noise to data, in steps.
///
/// It ends at [`NoiseLevel::CLEAN`] unless its maker asks for another end. Each step names both its
/// ends, because the published DDIM walk on some spacings aims at a level that the next step does
/// not quite start from.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The steps, in the order in which they are taken.
    pub intervals: Vec<Interval>,
}

impl Grid {
    /// The training timesteps that `steps` steps visit, highest first, as diffusers picks them.
    ///
    /// # Errors
    /// No steps, more steps than `schedule` has timesteps, an offset that leads past the table.
    pub fn timesteps(
        spacing: Spacing,
        timesteps: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<usize>, GridError> {
        if steps == 0 || steps > timesteps {
            return Err(GridError::Steps { steps, timesteps });
        }
        let (t_max, s_max) = (timesteps as f64, steps as f64);
        let mut picked: Vec<usize> = match spacing {
            Spacing::Leading => {
                (0..steps).map(|i| (i * (timesteps / steps)).saturating_add(offset)).collect()
            }
            Spacing::Trailing => (1..=steps)
                .map(|i| (i as f64 * t_max / s_max).round_ties_even() as usize - 1)
                .collect(),
            Spacing::Linspace => (0..steps)
                .map(|i| {
                    (i as f64 * (t_max - 1.0) / (s_max - 1.0).max(1.0)).round_ties_even() as usize
                })
                .collect(),
        };
        picked.reverse();
        match picked.first() {
            Some(&timestep) if timestep >= timesteps => {
                Err(GridError::Offset { timestep, timesteps })
            }
            _ => Ok(picked),
        }
    }

    /// From each timestep to the next, and from the last to no noise: DDPM's walk.
    pub fn consecutive(schedule: &Schedule, timesteps: &[usize]) -> Self {
        let levels = timesteps.iter().map(|&t| schedule.level(t));
        let ends = levels.clone().skip(1).chain([NoiseLevel::CLEAN]);
        Self { intervals: levels.zip(ends).map(|(from, to)| Interval { from, to }).collect() }
    }

    /// From each timestep `t` to `t - stride`, and to `end` below timestep 0: DDIM's walk as
    /// diffusers takes it, with `stride = floor(T / S)` on every spacing.
    pub fn strided(schedule: &Schedule, timesteps: &[usize], end: NoiseLevel) -> Self {
        let stride = schedule.timesteps() / timesteps.len().max(1);
        let intervals = timesteps
            .iter()
            .map(|&t| Interval {
                from: schedule.level(t),
                to: t.checked_sub(stride).map_or(end, |previous| schedule.level(previous)),
            })
            .collect();
        Self { intervals }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
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
                Err(GridError::Steps { steps, timesteps: 1000 })
            );
        }
        assert_eq!(
            Grid::timesteps(Spacing::Leading, 10, 10, 1),
            Err(GridError::Offset { timestep: 10, timesteps: 10 })
        );
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
