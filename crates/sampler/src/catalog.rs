//! Every sampler, and what there is to know about it.

use crate::{Algorithm, BFunction, Convention, DpmSolver, End, SecondOrder, UniPc};
use crate::{Run, SamplerError, State, dpm_solver_singlestep};
use crate::{ddim, ddpm, deis, dpm_solver, lcm, pndm, tcd, unipc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;
use sumi_process::{Path, ReverseVariance};

/// A sampler with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Ancestral sampling, see [`ddpm`].
    Ddpm {
        /// The variance that each step adds.
        variance: ReverseVariance,
    },
    /// Denoising diffusion implicit model, see [`ddim`].
    Ddim {
        /// 0 is deterministic, 1 adds as much noise as ancestral sampling.
        eta: f64,
    },
    /// Linear multistep weights on DDIM's step, see [`pndm`].
    Pndm {
        /// Whether the first three steps ask four times; without is PLMS.
        runge_kutta_start: bool,
    },
    /// A multistep exponential integrator, see [`dpm_solver`].
    DpmSolver(DpmSolver),
    /// A Runge-Kutta step in log-SNR, see [`dpm_solver_singlestep`].
    DpmSolverSinglestep {
        /// The equation: one that adds no noise.
        algorithm: Algorithm,
        /// 1, 2 or 3, and as many calls a step.
        order: u32,
    },
    /// Predictor and corrector, see [`unipc`].
    UniPc(UniPc),
    /// A multistep exponential integrator in `log(sigma / alpha)`, see [`deis`].
    Deis {
        /// 1, 2 or 3.
        order: u32,
        /// Whether a walk of fewer than 15 steps ends with orders 2 and 1.
        lower_order_final: bool,
    },
    /// Multistep consistency sampling, see [`lcm`].
    Lcm,
    /// Strategic stochastic sampling, see [`tcd`].
    Tcd {
        /// 0 is deterministic, 1 noises wholly afresh at every step.
        gamma: f64,
    },
}

/// The usual singlestep solver of an order.
const fn singlestep(order: u32) -> Sampler {
    Sampler::DpmSolverSinglestep { algorithm: Algorithm::DpmSolver, order }
}

impl Sampler {
    /// Every sampler with its usual settings and with the others that are worth a test, for whoever has
    /// to try them all.
    pub fn all() -> Vec<Self> {
        let usual = CATALOG.iter().map(|entry| entry.sampler);
        let others =
            [Self::Ddpm { variance: ReverseVariance::FixedLarge }, Self::Ddim { eta: 1.0 }];
        usual.chain(others).chain(Self::other_multistep()).collect()
    }

    /// The settings of the multistep solvers that have formulas of their own.
    fn other_multistep() -> Vec<Self> {
        use Algorithm::{DpmSolverPp, SdeDpmSolver, SdeDpmSolverPp};
        let heun = |algorithm| {
            let solver = SecondOrder::Heun;
            Self::DpmSolver(DpmSolver { solver, ..DpmSolver::new(algorithm, 2) })
        };
        let with = |algorithm, order| Self::DpmSolver(DpmSolver::new(algorithm, order));
        let by_noise = UniPc { predict_x0: false, ..UniPc::new(2) };
        vec![
            Self::Pndm { runge_kutta_start: true },
            heun(DpmSolverPp),
            with(DpmSolverPp, 3),
            with(SdeDpmSolverPp, 2),
            with(SdeDpmSolverPp, 3),
            with(SdeDpmSolver, 2),
            heun(SdeDpmSolver),
            Self::DpmSolverSinglestep { algorithm: DpmSolverPp, order: 2 },
            Self::UniPc(UniPc::new(3)),
            Self::UniPc(UniPc { solver: BFunction::Bh1, ..UniPc::new(2) }),
            Self::UniPc(by_noise),
            Self::Deis { order: 3, lower_order_final: true },
        ]
    }

    /// Runs the film backwards: takes `x`, noise at the grid's first level, to data.
    ///
    /// # Errors
    /// The denoiser's, a grid that the sampler cannot serve, or the observer's wish to stop.
    pub fn sample<S: State>(self, x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
        match self {
            Self::Ddpm { variance } => ddpm(x, run, variance),
            Self::Ddim { eta } => ddim(x, run, eta),
            Self::Pndm { runge_kutta_start } => pndm(x, run, runge_kutta_start),
            Self::DpmSolver(settings) => dpm_solver(x, run, settings),
            Self::DpmSolverSinglestep { algorithm, order } => {
                dpm_solver_singlestep(x, run, algorithm, order)
            }
            Self::UniPc(settings) => unipc(x, run, settings),
            Self::Deis { order, lower_order_final } => deis(x, run, order, lower_order_final),
            Self::Lcm => lcm(x, run),
            Self::Tcd { gamma } => tcd(x, run, gamma),
        }
    }

    /// What the catalog says about it: the entry that is most like it, where a solver has several.
    pub fn entry(self) -> &'static Entry {
        let same = |entry: &&Entry| {
            std::mem::discriminant(&entry.sampler) == std::mem::discriminant(&self)
        };
        let likeness = |entry: &&Entry| match (entry.sampler, self) {
            (Self::DpmSolver(a), Self::DpmSolver(b)) => {
                let data = a.algorithm.predicts_data() == b.algorithm.predicts_data();
                2 * u8::from(data) + u8::from(a.order == b.order)
            }
            (
                Self::DpmSolverSinglestep { order: a, .. },
                Self::DpmSolverSinglestep { order: b, .. },
            ) => u8::from(a == b),
            _ => 0,
        };
        CATALOG.iter().filter(same).max_by_key(likeness).unwrap_or(&CATALOG[0])
    }

    /// Where its walk ends in diffusers where nothing is said.
    pub fn end(self) -> End {
        match self {
            Self::DpmSolver(settings) if settings.algorithm.predicts_data() => End::Clean,
            Self::DpmSolver(_)
            | Self::DpmSolverSinglestep { algorithm: Algorithm::DpmSolver, .. }
            | Self::Pndm { .. }
            | Self::Deis { .. }
            | Self::Tcd { .. } => End::FirstTimestep,
            _ => End::Clean,
        }
    }

    /// Whether these settings draw fresh noise.
    pub fn adds_noise(self) -> bool {
        match self {
            Self::Ddim { eta } => eta > 0.0,
            Self::Tcd { gamma } => gamma > 0.0,
            Self::DpmSolver(settings) => settings.algorithm.adds_noise(),
            _ => self.entry().order.is_none(),
        }
    }

    /// The same sampler with another `eta`, the share of ancestral noise; `None` where it has none.
    pub fn with_eta(self, eta: f64) -> Option<Self> {
        match self {
            Self::Ddim { .. } => Some(Self::Ddim { eta }),
            // diffusers calls gamma eta.
            Self::Tcd { .. } => Some(Self::Tcd { gamma: eta }),
            _ => None,
        }
    }
}

/// What there is to know about a sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The name on the command line.
    pub name: &'static str,
    /// It with its usual settings.
    pub sampler: Sampler,
    /// Where it was published, with the equation or algorithm.
    pub paper: &'static str,
    /// The power of the step size with which its error falls; `None` where it adds noise, so that only
    /// its distribution converges.
    pub order: Option<u32>,
    /// How often it asks the network at each step but the last.
    pub calls_per_step: u32,
    /// How many steps it takes where nothing is said; `None` is as many as the model has timesteps.
    pub usual_steps: Option<usize>,
    /// How diffusers and k-diffusion pick its steps.
    pub convention: Convention,
    /// Whether the estimate of `x_0` may be clamped under it, and if so, whether it is where nothing is
    /// said (diffusers' `clip_sample`).
    pub clips: Option<bool>,
    /// Whether the estimate of `x_0` may be thresholded under it.
    pub thresholds: bool,
    /// The paths on which it can move.
    pub serves: &'static [Path],
    /// Its scheduler in diffusers.
    pub scheduler: Option<&'static str>,
    /// What else it is called, in diffusers, k-diffusion and the WebUI.
    pub elsewhere: &'static [&'static str],
    /// When to take it, in one line.
    pub advice: &'static str,
}

/// On every path: the sampler goes by levels alone.
const EVERYWHERE: &[Path] =
    &[Path::VariancePreserving, Path::SubVariancePreserving, Path::VarianceExploding, Path::Flow];

/// Every sampler, in the order in which a user reads of them.
pub const CATALOG: &[Entry] = &[
    Entry {
        name: "ddpm",
        sampler: Sampler::Ddpm { variance: ReverseVariance::FixedSmall },
        paper: "Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models, Algorithm 2",
        order: None,
        calls_per_step: 1,
        usual_steps: None,
        convention: Convention::Ancestral,
        clips: Some(true),
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DDPMScheduler"),
        elsewhere: &["ancestral sampling"],
        advice: "all steps for the best pictures",
    },
    Entry {
        name: "ddim",
        sampler: Sampler::Ddim { eta: 0.0 },
        paper: "Song, Meng and Ermon 2020, Denoising Diffusion Implicit Models, Eq. 12",
        order: Some(1),
        calls_per_step: 1,
        usual_steps: Some(50),
        convention: Convention::Strided,
        clips: Some(true),
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DDIMScheduler"),
        elsewhere: &["DDIM"],
        advice: "good from 20 steps; deterministic unless eta says otherwise",
    },
    Entry {
        name: "pndm",
        sampler: Sampler::Pndm { runge_kutta_start: false },
        paper: "Liu et al. 2022, Pseudo Numerical Methods for Diffusion Models on Manifolds, Algorithm 2",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(50),
        convention: Convention::Strided,
        clips: None,
        thresholds: false,
        serves: EVERYWHERE,
        scheduler: Some("PNDMScheduler"),
        elsewhere: &["plms", "PLMS"],
        advice: "Stable Diffusion's first choice; smooth pictures from 30 steps",
    },
    Entry {
        name: "dpm_solver_1",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 1)),
        paper: "Lu et al. 2022, DPM-Solver, Eq. 3.7",
        order: Some(1),
        calls_per_step: 1,
        usual_steps: Some(50),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["dpmsolver order 1"],
        advice: "ddim in other words",
    },
    Entry {
        name: "dpm_solver_2",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 2)),
        paper: "Lu et al. 2022, DPM-Solver, section 3.2, and DPM-Solver++, Algorithm 2",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["dpmsolver order 2"],
        advice: "without guidance, from 15 steps",
    },
    Entry {
        name: "dpm_solver_3",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 3)),
        paper: "Lu et al. 2022, DPM-Solver, section 3.2, and its code for the weights",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["dpmsolver order 3"],
        advice: "without guidance, from 15 steps; dpm_solver_3s is of third order",
    },
    Entry {
        name: "dpmpp_2m",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolverPp, 2)),
        paper: "Lu et al. 2022, DPM-Solver++, Algorithm 2",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DPMSolverMultistepScheduler"),
        elsewhere: &["DPM++ 2M", "dpmsolver++"],
        advice: "the usual choice: good pictures in 20 steps",
    },
    Entry {
        name: "unipc",
        sampler: Sampler::UniPc(UniPc::new(2)),
        paper: "Zhao et al. 2023, UniPC, Algorithms 5 to 8",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("UniPCMultistepScheduler"),
        elsewhere: &["UniPC", "uni_pc_bh2"],
        advice: "the best below 15 steps",
    },
    Entry {
        name: "deis",
        sampler: Sampler::Deis { order: 2, lower_order_final: true },
        paper: "Zhang and Chen 2022, Fast Sampling of Diffusion Models with Exponential Integrator, Eq. 15",
        order: Some(2),
        calls_per_step: 1,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DEISMultistepScheduler"),
        elsewhere: &["DEIS"],
        advice: "much like dpm_solver_2, from 15 steps",
    },
    Entry {
        name: "lcm",
        sampler: Sampler::Lcm,
        paper: "Luo et al. 2023, Latent Consistency Models, Algorithm 3",
        order: None,
        calls_per_step: 1,
        usual_steps: Some(4),
        convention: Convention::Distilled,
        clips: Some(false),
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("LCMScheduler"),
        elsewhere: &["LCM"],
        advice: "for models distilled to it: 2 to 8 steps",
    },
    Entry {
        name: "tcd",
        sampler: Sampler::Tcd { gamma: 0.3 },
        paper: "Zheng et al. 2024, Trajectory Consistency Distillation, Algorithm 4",
        order: None,
        calls_per_step: 1,
        usual_steps: Some(4),
        convention: Convention::Distilled,
        clips: None,
        thresholds: false,
        serves: EVERYWHERE,
        scheduler: Some("TCDScheduler"),
        elsewhere: &["TCD"],
        advice: "for models distilled to it: 2 to 8 steps",
    },
    Entry {
        name: "dpm_solver_2s",
        sampler: singlestep(2),
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 1",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(20),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["dpm_solver singlestep 2"],
        advice: "without guidance, where calls count less than steps",
    },
    Entry {
        name: "dpm_solver_3s",
        sampler: singlestep(3),
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 2",
        order: Some(3),
        calls_per_step: 3,
        usual_steps: Some(10),
        convention: Convention::Multistep,
        clips: None,
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["dpm_solver singlestep 3"],
        advice: "without guidance, for the least error of many calls",
    },
];

/// A sampler by its name in the [`CATALOG`].
#[derive(Clone, Copy)]
pub struct SamplerKind(&'static Entry);

/// There is no sampler of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found \"{found}\"; did you mean \"{nearest}\"?", names().join(", "))]
pub struct UnknownSampler {
    /// What was asked for.
    pub found: String,
    /// The name that is most like it.
    pub nearest: &'static str,
}

/// Every name in the [`CATALOG`].
pub fn names() -> Vec<&'static str> {
    CATALOG.iter().map(|entry| entry.name).collect()
}

/// "DPM++ 2M" and `dpmpp_2m` are one name.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace("++", "pp");
    name.chars().filter(|c| c.is_alphanumeric()).collect()
}

impl SamplerKind {
    /// The sampler of a name, by its own or by what it is called elsewhere; case, spaces and
    /// punctuation do not count.
    ///
    /// # Errors
    /// An unknown name, with the nearest.
    pub fn named(name: &str) -> Result<Self, UnknownSampler> {
        let wanted = plain(name);
        let own = CATALOG.iter().find(|entry| plain(entry.name) == wanted);
        let other =
            || CATALOG.iter().find(|entry| entry.elsewhere.iter().any(|n| plain(n) == wanted));
        own.or_else(other).map(Self).ok_or_else(|| {
            let likeness = |n: &&str| strsim::jaro_winkler(&wanted, &plain(n));
            let nearest = names().into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            UnknownSampler { found: name.into(), nearest: nearest.unwrap_or_default() }
        })
    }
}

impl From<Sampler> for SamplerKind {
    fn from(sampler: Sampler) -> Self {
        Self(sampler.entry())
    }
}

impl std::ops::Deref for SamplerKind {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}

impl PartialEq for SamplerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SamplerKind {}

impl fmt::Debug for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl std::str::FromStr for SamplerKind {
    type Err = UnknownSampler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name)
    }
}

impl Serialize for SamplerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for SamplerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_people_write_them() {
        for entry in CATALOG {
            assert_eq!(SamplerKind::named(entry.name).unwrap().name, entry.name);
            assert_eq!(entry.sampler.entry().name, entry.name);
            for name in entry.elsewhere {
                assert!(SamplerKind::named(name).is_ok(), "{name}");
            }
        }
        assert_eq!(SamplerKind::named("DDIM").unwrap().name, "ddim");
        let unknown = SamplerKind::named("dimm").unwrap_err();
        assert_eq!(unknown.nearest, "ddim");
        assert!(unknown.to_string().ends_with("found \"dimm\"; did you mean \"ddim\"?"));
    }
}
