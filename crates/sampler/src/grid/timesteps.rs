//! Which training timesteps are picked, as diffusers picks them.

use super::{GridError, Spacing};
use sumi_process::{NoiseLevel, Path, Schedule};

/// More steps would take days at any speed.
pub(super) const MOST_STEPS: usize = 1_000_000;
/// The steps that published consistency models were distilled on.
const DISTILLED_STEPS: usize = 50;

/// The level at a time between timesteps, by linear interpolation of the ratio, as k-diffusion and
/// diffusers have it.
pub(super) fn level_by_ratio(schedule: &Schedule, t: f64) -> NoiseLevel {
    let low = t.floor() as usize;
    match t.fract() {
        0.0 => schedule.level(low),
        part => {
            let (a, b) = (schedule.level(low).ratio(), schedule.level(low + 1).ratio());
            Path::VariancePreserving.at_ratio(a + (b - a) * part)
        }
    }
}

pub(super) fn whole(timesteps: &[f64]) -> Vec<usize> {
    timesteps.iter().map(|&t| t as usize).collect()
}

pub(super) fn check_steps(steps: usize, most: usize) -> Result<(), GridError> {
    let of = match most {
        MOST_STEPS => "more would take days",
        _ => "the model's training timesteps",
    };
    match (1..=most).contains(&steps) {
        true => Ok(()),
        false => Err(GridError::Steps { steps, most, of }),
    }
}

/// The training timesteps that `steps` steps visit, highest first, as diffusers picks them for DDPM and
/// DDIM.
pub(super) fn whole_timesteps(
    spacing: Spacing,
    timesteps: usize,
    steps: usize,
    offset: usize,
) -> Result<Vec<usize>, GridError> {
    check_steps(steps, timesteps)?;
    let (t_max, s_max) = (timesteps as f64, steps as f64);
    let mut picked: Vec<usize> = match spacing {
        Spacing::Leading => {
            (0..steps).map(|i| (i * (timesteps / steps)).saturating_add(offset)).collect()
        }
        Spacing::Trailing => {
            (1..=steps).map(|i| (i as f64 * t_max / s_max).round_ties_even() as usize - 1).collect()
        }
        Spacing::Linspace => {
            let gap = (t_max - 1.0) / (s_max - 1.0).max(1.0);
            (0..steps).map(|i| (i as f64 * gap).round_ties_even() as usize).collect()
        }
    };
    picked.reverse();
    match picked.first() {
        Some(&timestep) if timestep >= timesteps => Err(GridError::Offset { timestep, timesteps }),
        _ => Ok(picked),
    }
}

/// `steps` of the timesteps `k - 1, 2k - 1, ..` with `k = T / 50`, from the last on, evenly picked
/// (Luo et al., Latent Consistency Models, section 4.3).
pub(super) fn distilled_timesteps(total: usize, steps: usize) -> Result<Vec<f64>, GridError> {
    let distilled = DISTILLED_STEPS.min(total);
    if !(1..=distilled).contains(&steps) {
        let of = "the steps that consistency models are distilled on";
        return Err(GridError::Steps { steps, most: distilled, of });
    }
    let stride = total / distilled;
    Ok((0..steps).map(|i| ((distilled - i * distilled / steps) * stride - 1) as f64).collect())
}
