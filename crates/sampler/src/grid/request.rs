//! From what is asked for to a grid.

use super::kinds::ALIGN_YOUR_STEPS_FIRST;
use super::timesteps::{
    MOST_STEPS, check_steps, distilled_timesteps, level_by_ratio, whole, whole_timesteps,
};
use super::{Grid, GridError, GridKind, Spacing};
use crate::Sampler;
use sumi_process::{NoiseLevel, Path, Process, Schedule};

/// How a sampler's steps are picked, as the implementations that its users know pick them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// Whole timesteps, from each to the next (DDPM).
    Ancestral,
    /// Whole timesteps, each to the one a fixed stride below (DDIM and PNDM in diffusers).
    Strided,
    /// Ratios `sigma / alpha` at timesteps that need not be whole (k-diffusion; Euler and its
    /// relatives in diffusers).
    Ratios {
        /// Whether the network is told whole timesteps on Karras grids (KDPM2 in diffusers).
        rounded: bool,
    },
    /// Whole timesteps, one more than the steps, of which the last is left out (the DPM-Solvers, UniPC
    /// and DEIS in diffusers).
    Multistep,
    /// A choice of the 50 timesteps that a consistency model was distilled on (LCM and TCD).
    Distilled,
}

/// Where a grid ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum End {
    /// At no noise.
    #[default]
    Clean,
    /// At the level of the first training timestep.
    FirstTimestep,
}

/// Everything that a grid depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridRequest {
    /// How the sampler's steps are picked.
    pub convention: Convention,
    /// How timesteps are spaced.
    pub spacing: Spacing,
    /// Another placement than by timesteps.
    pub kind: Option<GridKind>,
    /// The exponent of the kinds that have one.
    pub rho: Option<f64>,
    /// How many steps.
    pub steps: usize,
    /// What is added to leading timesteps.
    pub offset: usize,
    /// Where it ends.
    pub end: End,
    /// How far flow-matching times are drawn towards noise: `s t / (1 + (s - 1) t)` (Esser et al.,
    /// Scaling Rectified Flow Transformers, Eq. 23).
    pub shift: f64,
}

impl GridRequest {
    /// `steps` steps by the convention, with nothing else said.
    pub fn new(convention: Convention, steps: usize) -> Self {
        Self {
            convention,
            spacing: Spacing::Leading,
            kind: None,
            rho: None,
            steps,
            offset: 0,
            end: End::Clean,
            shift: 1.0,
        }
    }

    /// `steps` steps as diffusers' class of the sampler picks them where its configuration says nothing.
    pub fn usual(sampler: Sampler, steps: usize) -> Self {
        let convention = sampler.entry().convention;
        let spacing = match convention {
            Convention::Ratios { .. } | Convention::Multistep => Spacing::Linspace,
            _ => Spacing::Leading,
        };
        Self { spacing, end: sampler.end(), ..Self::new(convention, steps) }
    }

    /// The grid on the levels of `process`.
    ///
    /// # Errors
    /// No steps or too many, an offset that leads past the table, a kind that cannot be taken.
    pub fn build(mut self, process: &Process) -> Result<Grid, GridError> {
        let refuse =
            |kind: GridKind, why: &str| Err(GridError::Kind { kind: kind.name(), why: why.into() });
        if let Some((kind, spacing)) = self.kind.and_then(|kind| Some((kind, kind.spacing()?))) {
            match process {
                _ if self.convention == Convention::Distilled => {
                    return refuse(
                        kind,
                        "lcm and tcd visit the timesteps that they were distilled on",
                    );
                }
                Process::Discrete(_) => (self.spacing, self.kind) = (spacing, None),
                _ if kind == GridKind::Linspace => {}
                _ => {
                    return refuse(
                        kind,
                        "there is no table of timesteps; linspace and sgm-uniform can",
                    );
                }
            }
        }
        match process {
            Process::Discrete(schedule) => self.discrete(process, schedule),
            _ => self.continuous(process),
        }
    }

    fn discrete(&self, process: &Process, schedule: &Schedule) -> Result<Grid, GridError> {
        let total = schedule.timesteps();
        let end = match self.end {
            End::Clean => NoiseLevel::CLEAN,
            End::FirstTimestep => schedule.level(0),
        };
        let Some(kind) = self.kind else {
            let timesteps = self.times(total)?;
            let mut grid = match self.convention {
                Convention::Strided => Grid::strided(schedule, &whole(&timesteps), end),
                _ => {
                    let levels: Vec<_> =
                        timesteps.iter().map(|&t| level_by_ratio(schedule, t)).collect();
                    Grid::from_levels(Path::VariancePreserving, &levels, end)
                }
            };
            // Where the last level is lifted from no signal at all, the process does not know its time.
            grid.told = timesteps.iter().map(|&t| (level_by_ratio(schedule, t), t)).collect();
            return Ok(self.started(grid, schedule));
        };
        let levels: Vec<NoiseLevel> = match self.ratios(kind, schedule)? {
            Some(ratios) => {
                ratios.into_iter().map(|ratio| process.path().at_ratio(ratio)).collect()
            }
            None => self.timesteps_of(kind, total)?.iter().map(|&t| process.level(t)).collect(),
        };
        let mut grid = Grid::from_levels(Path::VariancePreserving, &levels, end);
        let round: fn(f64) -> f64 = match (self.convention, kind) {
            (Convention::Multistep, GridKind::Karras)
            | (Convention::Ratios { rounded: true }, GridKind::Karras) => f64::round_ties_even,
            // diffusers keeps these timesteps as integers.
            (Convention::Multistep, GridKind::Exponential | GridKind::Beta) => f64::floor,
            _ => |t| t,
        };
        grid.told = levels.iter().map(|&l| (l, round(schedule.timestep_of(l)))).collect();
        Ok(self.started(grid, schedule))
    }

    /// The standard deviation to start with: diffusers scales the noise of leading grids to the
    /// level's whole variance and that of the others to the noise's own.
    fn started(&self, mut grid: Grid, schedule: &Schedule) -> Grid {
        grid.schedule = Some(schedule.clone());
        if let (Convention::Ratios { .. }, Spacing::Trailing | Spacing::Linspace, Some(first)) =
            (self.convention, self.spacing, grid.intervals.first())
        {
            grid.start_std = first.from.sigma;
        }
        grid
    }

    /// The timesteps of a spacing, highest first.
    fn times(&self, total: usize) -> Result<Vec<f64>, GridError> {
        let steps = self.steps;
        let whole = |spacing| {
            let picked = whole_timesteps(spacing, total, steps, self.offset)?;
            Ok(picked.into_iter().map(|t| t as f64).collect())
        };
        match (self.convention, self.spacing) {
            (Convention::Distilled, _) => distilled_timesteps(total, steps),
            (Convention::Ratios { .. }, Spacing::Linspace) => {
                check_steps(steps, total)?;
                let gap = (total - 1) as f64 / (steps.max(2) - 1) as f64;
                Ok((0..steps).rev().map(|i| i as f64 * gap).collect())
            }
            (Convention::Multistep, Spacing::Leading) if steps < total => {
                let stride = total / (steps + 1);
                let picked = (1..=steps).rev().map(|i| i * stride + self.offset);
                let picked: Vec<f64> = picked.map(|t| t as f64).collect();
                match picked.first() {
                    Some(&t) if t as usize >= total => {
                        Err(GridError::Offset { timestep: t as usize, timesteps: total })
                    }
                    Some(_) => Ok(picked),
                    None => check_steps(steps, total).map(|()| picked),
                }
            }
            (Convention::Multistep, Spacing::Linspace) if steps < total => {
                check_steps(steps, total)?;
                let gap = (total - 1) as f64 / steps as f64;
                Ok((1..=steps).rev().map(|i| (i as f64 * gap).round_ties_even()).collect())
            }
            // One more than all timesteps cannot be picked: then these take them all.
            (_, spacing) => whole(spacing),
        }
    }

    /// The ratios of a kind that is a formula of them.
    fn ratios(&self, kind: GridKind, schedule: &Schedule) -> Result<Option<Vec<f64>>, GridError> {
        let total = schedule.timesteps();
        check_steps(self.steps, MOST_STEPS)?;
        let refuse = |why: String| Err(GridError::Kind { kind: kind.name(), why });
        // diffusers takes the ends from the timesteps that it would have picked, or from the table.
        let (first, last) = match self.convention {
            Convention::Ratios { .. } => {
                let times = self.times(total)?;
                (times.first().copied(), times.last().copied())
            }
            _ => (Some((total - 1) as f64), Some(0.0)),
        };
        let ends = [first, last].map(|t| level_by_ratio(schedule, t.unwrap_or(0.0)).ratio());
        if kind == GridKind::AlignYourSteps
            && (ends[0] / ALIGN_YOUR_STEPS_FIRST).ln().abs() > 0.15
            && (schedule.level(total - 1).ratio() / ALIGN_YOUR_STEPS_FIRST).ln().abs() > 0.15
        {
            return refuse(format!(
                "it is tuned for noise up to sigma = {ALIGN_YOUR_STEPS_FIRST} (Stable Diffusion), \
                 and this model's goes up to {:.3}; karras serves every model",
                schedule.level(total - 1).ratio()
            ));
        }
        if !ends[0].is_finite() {
            return refuse(
                "the first timestep has no signal (zero terminal SNR); trailing can".into(),
            );
        }
        Ok(kind.ratios(self.steps, (ends[0], ends[1]), self.rho))
    }

    /// The timesteps of a kind that goes by them.
    fn timesteps_of(&self, kind: GridKind, total: usize) -> Result<Vec<f64>, GridError> {
        check_steps(self.steps, total)?;
        let (last, steps) = ((total - 1) as f64, self.steps as f64);
        let at = |i: usize| match kind {
            GridKind::Simple => last - (i as f64 * total as f64 / steps).floor(),
            _ => last * (1.0 - i as f64 / steps),
        };
        Ok((0..self.steps).map(at).collect())
    }

    fn continuous(&self, process: &Process) -> Result<Grid, GridError> {
        check_steps(self.steps, MOST_STEPS)?;
        let (earliest, latest) = process.times();
        let kind = match (self.kind, process) {
            (None, Process::Edm { .. }) => Some(GridKind::Karras),
            (kind, _) => kind,
        };
        let levels: Vec<NoiseLevel> = match kind {
            None | Some(GridKind::Linspace | GridKind::SgmUniform | GridKind::Simple) => {
                let shifted = |t: f64| match process {
                    Process::Flow => self.shift * t / (1.0 + (self.shift - 1.0) * t),
                    _ => t,
                };
                // Sampling stops a thousandth before the data (Score SDE, Appendix C). diffusers shifts
                // that end of a flow twice.
                let earliest = match process {
                    Process::Edm { .. } => earliest,
                    _ => shifted(earliest.max(1e-3 * latest)),
                };
                let last = match kind {
                    None | Some(GridKind::Linspace) => (self.steps.max(2) - 1) as f64,
                    _ => self.steps as f64,
                };
                let time = |i: usize| latest + (earliest - latest) * i as f64 / last;
                (0..self.steps).map(|i| process.level(shifted(time(i)))).collect()
            }
            Some(kind) => {
                let ends = (process.level(latest).ratio(), process.level(earliest).ratio());
                let why = match ends.0.is_finite() && kind != GridKind::AlignYourSteps {
                    true => None,
                    false => Some("this process has no such ends; linspace and sgm-uniform can"),
                };
                match (why, kind.ratios(self.steps, ends, self.rho)) {
                    (None, Some(ratios)) => {
                        ratios.into_iter().map(|r| process.path().at_ratio(r)).collect()
                    }
                    (why, _) => {
                        let why = why.unwrap_or("it goes by the timesteps of a table").into();
                        return Err(GridError::Kind { kind: kind.name(), why });
                    }
                }
            }
        };
        Ok(Grid::through(process.path(), &levels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_process::BetaSchedule;

    fn sd() -> Schedule {
        Schedule::new(BetaSchedule::ScaledLinear, 1000, 0.00085, 0.012).unwrap()
    }

    fn processes() -> [Process; 6] {
        [
            Process::Discrete(sd()),
            Process::Vp { beta_min: 0.1, beta_max: 20.0 },
            Process::SubVp { beta_min: 0.1, beta_max: 20.0 },
            Process::Ve { sigma_min: 0.01, sigma_max: 50.0 },
            Process::Edm { sigma_min: 0.002, sigma_max: 80.0 },
            Process::Flow,
        ]
    }

    const CONVENTIONS: [Convention; 6] = [
        Convention::Ancestral,
        Convention::Strided,
        Convention::Ratios { rounded: false },
        Convention::Ratios { rounded: true },
        Convention::Multistep,
        Convention::Distilled,
    ];

    #[test]
    fn every_grid_falls_strictly_and_ends_clean() {
        for process in processes() {
            for convention in CONVENTIONS {
                for (kind, name, _) in GridKind::ALL {
                    for steps in [1, 2, 7, 50, 1000] {
                        let mut request = GridRequest::new(convention, steps);
                        request.kind = Some(kind);
                        let Ok(grid) = request.build(&process) else { continue };
                        let what = format!("{convention:?} {name} {steps} {:?}", process.path());
                        assert_eq!(grid.len(), steps, "{what}");
                        let falls = |i: &super::super::Interval| i.to.sigma < i.from.sigma;
                        assert!(grid.intervals.iter().all(falls), "{what}");
                        // diffusers' strided walk ends at timestep 0's level where the stride
                        // does not divide T.
                        let end = grid.intervals[steps - 1].to;
                        let strided = convention == Convention::Strided;
                        assert!(end.is_clean() || strided && end == process.level(0.0), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused_by_name() {
        let mut request = GridRequest::new(Convention::Multistep, 10);
        request.kind = Some(GridKind::Karras);
        let refusal = request.build(&Process::Flow).unwrap_err().to_string();
        assert!(refusal.contains("karras cannot be taken here"), "{refusal}");
        request.kind = Some(GridKind::AlignYourSteps);
        assert_eq!(request.build(&Process::Discrete(sd())).unwrap().len(), 10);
        let ddpm = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
        let refusal = request.build(&Process::Discrete(ddpm)).unwrap_err().to_string();
        assert!(refusal.contains("up to 157.407"), "{refusal}");
        for convention in CONVENTIONS {
            for steps in [0, 1001] {
                let refused = GridRequest::new(convention, steps).build(&Process::Discrete(sd()));
                assert!(matches!(refused, Err(GridError::Steps { .. })), "{convention:?}");
            }
        }
    }

    #[test]
    fn spacings_are_taken_where_there_is_a_table() {
        let mut request = GridRequest::new(Convention::Ratios { rounded: false }, 5);
        for process in processes().iter().skip(1) {
            for kind in [GridKind::Leading, GridKind::Trailing] {
                request.kind = Some(kind);
                let refusal = request.build(process).unwrap_err().to_string();
                assert!(refusal.contains("no table of timesteps"), "{refusal}");
            }
            request.kind = Some(GridKind::Linspace);
            let times: Vec<f64> = request
                .build(process)
                .unwrap()
                .intervals
                .iter()
                .map(|interval| process.time_of(interval.from))
                .collect();
            let gap = times[0] - times[1];
            let even = |w: &[f64]| ((w[0] - w[1]) / gap - 1.0).abs() < 1e-6;
            assert!(times.windows(2).all(even), "{:?}: {times:?}", process.path());
        }
        request = GridRequest::new(Convention::Distilled, 4);
        request.kind = Some(GridKind::Trailing);
        assert!(request.build(&Process::Discrete(sd())).is_err());
    }

    #[test]
    fn a_lifted_last_level_keeps_its_time() {
        let lifted = sd().with_zero_terminal_snr().with_last_alpha_bar(2f64.powi(-24));
        let process = Process::Discrete(lifted);
        for convention in [Convention::Ratios { rounded: false }, Convention::Multistep] {
            let mut request = GridRequest::new(convention, 10);
            request.spacing = Spacing::Trailing;
            let grid = request.build(&process).unwrap();
            assert_eq!(grid.told(grid.intervals[0].from), Some(999.0));
        }
    }

    #[test]
    fn networks_are_told_the_timesteps_of_diffusers() {
        let process = Process::Discrete(sd());
        let told = |convention, spacing, kind| {
            let mut request = GridRequest::new(convention, 10);
            (request.spacing, request.kind) = (spacing, kind);
            let grid = request.build(&process).unwrap();
            let time = |i: &super::super::Interval| {
                grid.told(i.from).unwrap_or_else(|| process.network_time(i.from))
            };
            grid.intervals.iter().map(time).collect::<Vec<f64>>()
        };
        // EulerDiscreteScheduler, DPMSolverMultistepScheduler and LCMScheduler of diffusers 0.42.1.
        let euler = told(Convention::Ratios { rounded: false }, Spacing::Linspace, None);
        assert_eq!(euler[1], 888.0);
        assert!(
            (told(Convention::Ratios { rounded: false }, Spacing::Linspace, None)[9]).abs() < 1e-9
        );
        assert_eq!(
            told(Convention::Multistep, Spacing::Linspace, None),
            [999.0, 899.0, 799.0, 699.0, 599.0, 500.0, 400.0, 300.0, 200.0, 100.0]
        );
        assert_eq!(
            told(Convention::Multistep, Spacing::Leading, None),
            [900.0, 810.0, 720.0, 630.0, 540.0, 450.0, 360.0, 270.0, 180.0, 90.0]
        );
        assert!(
            told(Convention::Multistep, Spacing::Leading, Some(GridKind::Karras))
                .iter()
                .all(|t| t.fract() == 0.0)
        );
        let mut four = GridRequest::new(Convention::Distilled, 4);
        four.spacing = Spacing::Leading;
        let grid = four.build(&process).unwrap();
        let times: Vec<f64> = grid.intervals.iter().map(|i| process.network_time(i.from)).collect();
        assert_eq!(times, [999.0, 759.0, 499.0, 259.0]);
    }
}
