//! At which times of the process a batch is noised.

use crate::{RunConfig, Times};
use sumi_process::Process;
use sumi_random::{NormalSource, Philox};

/// A time, and how much the loss there counts so that the mean over all draws stays that of even
/// ones: `1 / (T p_t)` where times are importance-sampled, else 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// A time of the process: a whole timestep of a table.
    pub time: f64,
    /// The factor of its loss.
    pub importance: f64,
}

/// Draws times.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeSampler {
    /// Evenly.
    Uniform,
    /// `log(sigma / alpha) ~ N(mean, std^2)`.
    LogNormal {
        /// EDM's `P_mean`.
        mean: f64,
        /// EDM's `P_std`.
        std: f64,
    },
    /// By the losses of the past.
    LossSecondMoment(LossHistory),
}

impl TimeSampler {
    /// As a run is configured.
    pub fn new(config: &RunConfig) -> Self {
        match (config.times(), config.process.kind.timesteps()) {
            (Times::LogNormal, _) => {
                let (mean, std) = config.log_normal();
                Self::LogNormal { mean, std }
            }
            (Times::LossSecondMoment, Some(timesteps)) => {
                Self::LossSecondMoment(LossHistory::new(timesteps))
            }
            (Times::Uniform | Times::LossSecondMoment, _) => Self::Uniform,
        }
    }

    /// The times of a batch of `n`.
    pub fn draw(&self, process: &Process, n: usize, random: &mut Philox) -> Vec<Draw> {
        let even = |random: &mut Philox| match process {
            Process::Discrete(schedule) => f64::from(random.below(schedule.timesteps() as u32)),
            process => {
                let (earliest, latest) = process.times();
                earliest + (latest - earliest) * random.uniform_f64()
            }
        };
        match self {
            Self::Uniform => of(n, || even(random)),
            Self::LogNormal { mean, std } => {
                let mut normals = vec![0.0; n];
                random.fill_normal(&mut normals);
                let mut normals = normals.into_iter();
                of(n, || {
                    let z = f64::from(normals.next().unwrap_or_default());
                    let level = process.path().at_ratio((mean + std * z).exp());
                    match process {
                        Process::Discrete(_) => process.time_of(level).round(),
                        _ => process.time_of(level),
                    }
                })
            }
            Self::LossSecondMoment(history) => match history.probabilities() {
                None => of(n, || even(random)),
                Some(probabilities) => history.weighted(&probabilities, n, random),
            },
        }
    }

    /// Takes in what the losses of a step were.
    pub fn learn(&mut self, draws: &[Draw], losses: &[f32]) {
        if let Self::LossSecondMoment(history) = self {
            for (draw, &loss) in draws.iter().zip(losses) {
                history.push(draw.time as usize, loss);
            }
        }
    }

    /// What it has learned, where it learns.
    pub fn history(&self) -> Option<&LossHistory> {
        match self {
            Self::LossSecondMoment(history) => Some(history),
            _ => None,
        }
    }
}

fn of(n: usize, mut time: impl FnMut() -> f64) -> Vec<Draw> {
    (0..n).map(|_| Draw { time: time(), importance: 1.0 }).collect()
}

/// How many losses of a timestep are remembered, and the share of even draws among the others
/// (Improved DDPM, section 3.3, and its code).
const REMEMBERED: usize = 10;
const EVEN_SHARE: f64 = 0.001;

/// The last ten losses of every timestep.
#[derive(Clone, Debug, PartialEq)]
pub struct LossHistory {
    /// `[T, 10]`, the oldest first; those past a timestep's count are 0.
    losses: Vec<f32>,
    /// How many there are of each timestep.
    counts: Vec<usize>,
}

impl LossHistory {
    /// Of nothing.
    pub fn new(timesteps: usize) -> Self {
        Self { losses: vec![0.0; timesteps * REMEMBERED], counts: vec![0; timesteps] }
    }

    /// As it was saved: `[T, 10]` losses, and `[T]` how many there are of each timestep. `None` where
    /// they are not of `timesteps`.
    pub fn restore(timesteps: usize, losses: Vec<f32>, counts: &[f32]) -> Option<Self> {
        let counts: Vec<usize> = counts.iter().map(|&count| count as usize).collect();
        let fits = losses.len() == timesteps * REMEMBERED
            && counts.len() == timesteps
            && counts.iter().all(|&count| count <= REMEMBERED)
            && losses.iter().all(|loss| loss.is_finite());
        fits.then_some(Self { losses, counts })
    }

    /// `[T, 10]` losses, and `[T]` how many there are of each timestep.
    pub fn saved(&self) -> (&[f32], Vec<f32>) {
        (&self.losses, self.counts.iter().map(|&count| count as f32).collect())
    }

    fn push(&mut self, timestep: usize, loss: f32) {
        let of_it = &mut self.losses[timestep * REMEMBERED..][..REMEMBERED];
        match self.counts[timestep] {
            REMEMBERED => {
                of_it.rotate_left(1);
                of_it[REMEMBERED - 1] = loss;
            }
            count => {
                of_it[count] = loss;
                self.counts[timestep] = count + 1;
            }
        }
    }

    /// `p_t`, proportional to `sqrt(E[L_t^2])`, with a small share of even draws so that no timestep
    /// is forgotten; `None` until ten losses of every timestep are known.
    fn probabilities(&self) -> Option<Vec<f64>> {
        if self.counts.iter().any(|&count| count < REMEMBERED) {
            return None;
        }
        let root = |losses: &[f32]| {
            let squares: f64 = losses.iter().map(|&loss| f64::from(loss).powi(2)).sum();
            (squares / REMEMBERED as f64).sqrt()
        };
        let roots: Vec<f64> = self.losses.chunks(REMEMBERED).map(root).collect();
        let (total, timesteps) = (roots.iter().sum::<f64>(), roots.len() as f64);
        // Losses that are all zero say nothing.
        if total <= 0.0 {
            return None;
        }
        let p = |root: f64| (1.0 - EVEN_SHARE) * root / total + EVEN_SHARE / timesteps;
        Some(roots.into_iter().map(p).collect())
    }

    fn weighted(&self, probabilities: &[f64], n: usize, random: &mut Philox) -> Vec<Draw> {
        let mut sum = 0.0;
        let cumulative: Vec<f64> = probabilities
            .iter()
            .map(|p| {
                sum += p;
                sum
            })
            .collect();
        let draw = |_| {
            let u = random.uniform_f64() * sum;
            let t = cumulative.partition_point(|&c| c <= u).min(probabilities.len() - 1);
            let importance = 1.0 / (probabilities.len() as f64 * probabilities[t]);
            Draw { time: t as f64, importance }
        };
        (0..n).map(draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_process::{BetaSchedule, Schedule};

    fn table(timesteps: usize) -> Process {
        let schedule = Schedule::new(BetaSchedule::Linear, timesteps, 1e-4, 0.02).unwrap();
        Process::Discrete(schedule)
    }

    fn learned(timesteps: usize, loss: impl Fn(usize) -> f32) -> TimeSampler {
        let mut sampler = TimeSampler::LossSecondMoment(LossHistory::new(timesteps));
        for _ in 0..REMEMBERED + 3 {
            for t in 0..timesteps {
                sampler.learn(&[Draw { time: t as f64, importance: 1.0 }], &[loss(t)]);
            }
        }
        sampler
    }

    #[test]
    fn importance_weights_undo_the_preference() {
        let process = table(8);
        let sampler = learned(8, |t| (t + 1) as f32);
        let p = sampler.history().and_then(LossHistory::probabilities).unwrap();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // Of losses 1 to 8, whose sum is 36.
        assert!((p[7] - (0.999 * 8.0 / 36.0 + 0.001 / 8.0)).abs() < 1e-12);

        let n = 100_000;
        let draws = sampler.draw(&process, n, &mut Philox::new(0, 0));
        let mean = |of: &dyn Fn(&Draw) -> f64| draws.iter().map(of).sum::<f64>() / n as f64;
        // Standard errors here are below 0.003 and 0.01.
        assert!((mean(&|d| d.importance) - 1.0).abs() < 0.012);
        assert!((mean(&|d| d.importance * d.time) - 3.5).abs() < 0.04);
        assert!((mean(&|d| f64::from(u8::from(d.time == 7.0))) - p[7]).abs() < 0.006);
    }

    #[test]
    fn it_is_even_until_every_timestep_is_known() {
        let process = table(8);
        let mut history = LossHistory::new(8);
        for t in 0..7 {
            (0..REMEMBERED).for_each(|_| history.push(t, 1.0));
        }
        let cold = TimeSampler::LossSecondMoment(history.clone());
        let draws = |sampler: &TimeSampler| sampler.draw(&process, 64, &mut Philox::new(0, 0));
        assert_eq!(draws(&cold), draws(&TimeSampler::Uniform));
        (0..REMEMBERED).for_each(|_| history.push(7, 9.0));
        assert_ne!(draws(&TimeSampler::LossSecondMoment(history)), draws(&cold));
    }

    #[test]
    fn the_oldest_loss_goes_first() {
        let mut history = LossHistory::new(1);
        (0..12).for_each(|loss| history.push(0, loss as f32));
        assert_eq!(history.losses, (2..12).map(|loss| loss as f32).collect::<Vec<_>>());
        let (losses, counts) = history.saved();
        let again = LossHistory::restore(1, losses.to_vec(), &counts);
        assert_eq!(again.as_ref(), Some(&history));
        assert_eq!(LossHistory::restore(2, losses.to_vec(), &counts), None);
    }

    #[test]
    fn log_normal_times_have_the_mean_and_deviation_of_their_logarithm() {
        let sampler = TimeSampler::LogNormal { mean: -1.2, std: 1.2 };
        for process in [Process::Edm { sigma_min: 0.002, sigma_max: 80.0 }, Process::Flow] {
            let n = 20_000;
            let draws = sampler.draw(&process, n, &mut Philox::new(0, 0));
            let logs: Vec<f64> =
                draws.iter().map(|draw| process.level(draw.time).ratio().ln()).collect();
            let mean = logs.iter().sum::<f64>() / n as f64;
            let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            // Three standard errors: 1.2 / sqrt(n) and 1.2 / sqrt(2 n).
            assert!((mean + 1.2).abs() < 0.026, "{process:?} {mean}");
            assert!((variance.sqrt() - 1.2).abs() < 0.018, "{process:?} {variance}");
        }
        let draws = sampler.draw(&table(1000), 100, &mut Philox::new(0, 0));
        assert!(draws.iter().all(|draw| draw.time.fract() == 0.0 && draw.time < 1000.0));
    }
}
