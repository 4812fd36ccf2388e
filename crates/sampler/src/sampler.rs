//! Every sampler with its settings.

use crate::{
    Algorithm, BFunction, CATALOG, Churn, DpmSolver, End, Entry, PndmStart, Run, SamplerError,
    SecondOrder, State, UniPc, ddim, ddpm, deis, dpm_solver, dpm_solver_singlestep, dpm2, dpm2_a,
    dpmpp_2m_sde, dpmpp_2s_a, dpmpp_3m_sde, dpmpp_sde, edm, euler, euler_a, flow_euler, flow_heun,
    heun, langevin, lcm, lms, ode, pndm, predictor_corrector, reverse_sde, tcd, unipc,
};
use sumi_process::ReverseVariance;

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
    /// Euler's method, see [`euler`](crate::euler()).
    Euler,
    /// Euler's method with ancestral noise, see [`euler_a`](crate::euler_a()).
    EulerA {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// Heun's method, see [`heun`](crate::heun()).
    Heun,
    /// The midpoint method, see [`dpm2`](crate::dpm2()).
    Dpm2,
    /// The midpoint method with ancestral noise, see [`dpm2_a`](crate::dpm2_a()).
    Dpm2A {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// Linear multistep, see [`lms`](crate::lms()).
    Lms {
        /// How many slopes it goes by.
        order: usize,
    },
    /// Heun's method with churn, see [`edm`](crate::edm()).
    Edm {
        /// How much noise it adds and takes away again.
        churn: Churn,
    },
    /// DPM-Solver++(2S) with ancestral noise, see [`dpmpp_2s_a`](crate::dpmpp_2s_a()).
    Dpmpp2sA {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// DPM-Solver++ for the reverse SDE, see [`dpmpp_sde`](crate::dpmpp_sde()).
    DpmppSde {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// DPM-Solver++(2M) for the reverse SDE, see [`dpmpp_2m_sde`](crate::dpmpp_2m_sde()).
    Dpmpp2mSde {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// DPM-Solver++(3M) for the reverse SDE, see [`dpmpp_3m_sde`](crate::dpmpp_3m_sde()).
    Dpmpp3mSde {
        /// 0 is deterministic, 1 is usual.
        eta: f64,
    },
    /// Euler's method in a flow's own time, see [`flow_euler`](crate::flow_euler()).
    FlowEuler,
    /// Heun's method in a flow's own time, see [`flow_heun`](crate::flow_heun()).
    FlowHeun,
    /// The reverse SDE, see [`reverse_sde`](crate::reverse_sde()).
    ReverseSde,
    /// Predictor and corrector, see [`predictor_corrector`](crate::predictor_corrector()).
    PredictorCorrector {
        /// The size of a correction, as the signal-to-noise ratio of its step.
        snr: f64,
        /// How many corrections follow each prediction.
        corrections: usize,
    },
    /// Annealed Langevin dynamics, see [`langevin`](crate::langevin()).
    Langevin {
        /// How many steps it takes at each level.
        steps: usize,
        /// The square of a step's noise, in units of the level's.
        size: f64,
    },
    /// Linear multistep weights on DDIM's step, see [`pndm`].
    Pndm {
        /// How it begins.
        start: PndmStart,
        /// Whether it sums a network's `v` as it is, not the noise that it means.
        sums_v: bool,
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
    /// The probability-flow ODE with steps as the error asks for, see [`ode`].
    Ode {
        /// The error of a step, relative and absolute.
        tolerance: f64,
    },
}

impl Sampler {
    /// Every sampler with its usual settings and with the others that are worth a test, for whoever has
    /// to try them all.
    pub fn all() -> Vec<Self> {
        let usual = CATALOG.iter().map(|entry| entry.sampler);
        let quiet = usual.clone().filter(|usual| usual.adds_noise());
        let quiet = quiet.filter_map(|usual| usual.with_eta(0.0));
        let churn = Churn { s_churn: 10.0, s_noise: 1.0, ..Churn::NONE };
        let others = [
            Self::Ddpm { variance: ReverseVariance::FixedLarge },
            Self::Ddim { eta: 1.0 },
            Self::Edm { churn },
        ];
        usual.chain(quiet).chain(others).chain(Self::other_multistep()).collect()
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
            Self::Pndm { start: PndmStart::RungeKutta, sums_v: false },
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
            Self::Euler => euler(x, run),
            Self::EulerA { eta } => euler_a(x, run, eta),
            Self::Heun => heun(x, run),
            Self::Dpm2 => dpm2(x, run),
            Self::Dpm2A { eta } => dpm2_a(x, run, eta),
            Self::Lms { order } => lms(x, run, order),
            Self::Edm { churn } => edm(x, run, churn),
            Self::Dpmpp2sA { eta } => dpmpp_2s_a(x, run, eta),
            Self::DpmppSde { eta } => dpmpp_sde(x, run, eta),
            Self::Dpmpp2mSde { eta } => dpmpp_2m_sde(x, run, eta),
            Self::Dpmpp3mSde { eta } => dpmpp_3m_sde(x, run, eta),
            Self::FlowEuler => flow_euler(x, run),
            Self::FlowHeun => flow_heun(x, run),
            Self::ReverseSde => reverse_sde(x, run),
            Self::PredictorCorrector { snr, corrections } => {
                predictor_corrector(x, run, snr, corrections)
            }
            Self::Langevin { steps, size } => langevin(x, run, steps, size),
            Self::Pndm { start, sums_v } => pndm(x, run, start, sums_v),
            Self::DpmSolver(settings) => dpm_solver(x, run, settings),
            Self::DpmSolverSinglestep { algorithm, order } => {
                dpm_solver_singlestep(x, run, algorithm, order)
            }
            Self::UniPc(settings) => unipc(x, run, settings),
            Self::Deis { order, lower_order_final } => deis(x, run, order, lower_order_final),
            Self::Lcm => lcm(x, run),
            Self::Tcd { gamma } => tcd(x, run, gamma),
            Self::Ode { tolerance } => ode(x, run, tolerance),
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
            Self::Ddim { eta }
            | Self::EulerA { eta }
            | Self::Dpm2A { eta }
            | Self::Dpmpp2sA { eta }
            | Self::DpmppSde { eta }
            | Self::Dpmpp2mSde { eta }
            | Self::Dpmpp3mSde { eta } => eta > 0.0,
            Self::Edm { churn } => churn.s_churn > 0.0,
            Self::Tcd { gamma } => gamma > 0.0,
            Self::DpmSolver(settings) => settings.algorithm.adds_noise(),
            _ => self.entry().order.is_none(),
        }
    }

    /// Whether it takes steps of its own between the levels of the grid, as its error asks for. Its error
    /// falls with its tolerance and not with the steps, and a sample depends on its batch within it.
    pub fn is_adaptive(self) -> bool {
        matches!(self, Self::Ode { .. })
    }

    /// The same sampler with another `eta`, the share of ancestral noise; `None` where it has none.
    pub fn with_eta(self, eta: f64) -> Option<Self> {
        match self {
            Self::Ddim { .. } => Some(Self::Ddim { eta }),
            Self::EulerA { .. } => Some(Self::EulerA { eta }),
            Self::Dpm2A { .. } => Some(Self::Dpm2A { eta }),
            Self::Dpmpp2sA { .. } => Some(Self::Dpmpp2sA { eta }),
            Self::DpmppSde { .. } => Some(Self::DpmppSde { eta }),
            Self::Dpmpp2mSde { .. } => Some(Self::Dpmpp2mSde { eta }),
            Self::Dpmpp3mSde { .. } => Some(Self::Dpmpp3mSde { eta }),
            // diffusers calls gamma eta.
            Self::Tcd { .. } => Some(Self::Tcd { gamma: eta }),
            _ => None,
        }
    }

    /// The same sampler with another `s_churn`, see [`Churn`]; `None` where it has none.
    pub fn with_churn(self, s_churn: f64) -> Option<Self> {
        match self {
            Self::Edm { churn } => Some(Self::Edm { churn: Churn { s_churn, ..churn } }),
            _ => None,
        }
    }

    /// The same sampler with another `tolerance`, the error of a step; `None` where it has none.
    pub fn with_tolerance(self, tolerance: f64) -> Option<Self> {
        match self {
            Self::Ode { .. } => Some(Self::Ode { tolerance }),
            _ => None,
        }
    }
}
