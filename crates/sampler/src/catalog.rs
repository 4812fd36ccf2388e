//! Every sampler, and what there is to know about it.

use crate::{
    Churn, Convention, Run, SamplerError, State, ddim, ddpm, dpm2, dpm2_a, dpmpp_2m_sde,
    dpmpp_2s_a, dpmpp_3m_sde, dpmpp_sde, edm, euler, euler_a, flow_euler, flow_heun, heun,
    langevin, lms, predictor_corrector, reverse_sde,
};
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
        usual.chain(quiet).chain(others).collect()
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
        }
    }

    /// What the catalog says about it.
    pub fn entry(self) -> &'static Entry {
        let same = |entry: &&Entry| {
            std::mem::discriminant(&entry.sampler) == std::mem::discriminant(&self)
        };
        CATALOG.iter().find(same).unwrap_or(&CATALOG[0])
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
            _ => self.entry().order.is_none(),
        }
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

/// Where some signal is left at every level that it visits: the sampler divides by `alpha`.
const SIGNAL: &[Path] =
    &[Path::VariancePreserving, Path::SubVariancePreserving, Path::VarianceExploding];

/// What most samplers that go by ratios have in common.
const BY_RATIOS: Entry = Entry {
    name: "",
    sampler: Sampler::Euler,
    paper: "",
    order: None,
    calls_per_step: 1,
    usual_steps: Some(30),
    convention: Convention::Ratios { rounded: false },
    clips: None,
    thresholds: false,
    serves: EVERYWHERE,
    scheduler: None,
    elsewhere: &[],
    advice: "",
};

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
        name: "euler",
        sampler: Sampler::Euler,
        paper: "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, Algorithm 1, lines 4 and 5",
        order: Some(1),
        scheduler: Some("EulerDiscreteScheduler"),
        elsewhere: &["Euler", "sample_euler"],
        advice: "fast and plain; good from 20 steps",
        ..BY_RATIOS
    },
    Entry {
        name: "euler_a",
        sampler: Sampler::EulerA { eta: 1.0 },
        paper: "Song, Meng and Ermon 2020, Denoising Diffusion Implicit Models, Eq. 12 and 16, as k-diffusion writes it",
        scheduler: Some("EulerAncestralDiscreteScheduler"),
        elsewhere: &["Euler a", "sample_euler_ancestral"],
        advice: "varied pictures in few steps; they keep changing as steps are added",
        ..BY_RATIOS
    },
    Entry {
        name: "heun",
        sampler: Sampler::Heun,
        paper: "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, Algorithm 1",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(20),
        clips: Some(false),
        serves: SIGNAL,
        scheduler: Some("HeunDiscreteScheduler"),
        elsewhere: &["Heun", "sample_heun"],
        advice: "accurate; each step costs two calls",
        ..BY_RATIOS
    },
    Entry {
        name: "dpm2",
        sampler: Sampler::Dpm2,
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 1, as k-diffusion writes it",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(20),
        convention: Convention::Ratios { rounded: true },
        serves: SIGNAL,
        scheduler: Some("KDPM2DiscreteScheduler"),
        elsewhere: &["DPM2", "sample_dpm_2"],
        advice: "as accurate as heun at the same cost",
        ..BY_RATIOS
    },
    Entry {
        name: "dpm2_a",
        sampler: Sampler::Dpm2A { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 1, with k-diffusion's ancestral noise",
        calls_per_step: 2,
        usual_steps: Some(20),
        convention: Convention::Ratios { rounded: true },
        serves: SIGNAL,
        scheduler: Some("KDPM2AncestralDiscreteScheduler"),
        elsewhere: &["DPM2 a", "sample_dpm_2_ancestral"],
        advice: "varied pictures; each step costs two calls",
        ..BY_RATIOS
    },
    Entry {
        name: "lms",
        sampler: Sampler::Lms { order: 4 },
        paper: "Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, section III.5",
        order: Some(4),
        scheduler: Some("LMSDiscreteScheduler"),
        elsewhere: &["LMS", "sample_lms"],
        advice: "accurate from 30 steps; unstable below 15",
        ..BY_RATIOS
    },
    Entry {
        name: "edm",
        sampler: Sampler::Edm { churn: Churn::NONE },
        paper: "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, Algorithm 2",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(18),
        serves: SIGNAL,
        elsewhere: &["EDM"],
        advice: "for EDM models; churn mends the errors of earlier steps",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_2s_a",
        sampler: Sampler::Dpmpp2sA { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, Algorithm 1, with k-diffusion's ancestral noise",
        calls_per_step: 2,
        usual_steps: Some(20),
        serves: SIGNAL,
        elsewhere: &["DPM++ 2S a", "sample_dpmpp_2s_ancestral"],
        advice: "varied pictures with much detail; each step costs two calls",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_sde",
        sampler: Sampler::DpmppSde { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, section 5, as k-diffusion writes it",
        calls_per_step: 2,
        usual_steps: Some(15),
        serves: SIGNAL,
        scheduler: Some("DPMSolverSDEScheduler"),
        elsewhere: &["DPM++ SDE", "sample_dpmpp_sde"],
        advice: "good from 10 steps with karras; each step costs two calls",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_2m_sde",
        sampler: Sampler::Dpmpp2mSde { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, section 5",
        usual_steps: Some(25),
        convention: Convention::Multistep,
        thresholds: true,
        elsewhere: &["DPM++ 2M SDE", "sample_dpmpp_2m_sde", "sde-dpmsolver++"],
        advice: "good from 20 steps with karras",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_3m_sde",
        sampler: Sampler::Dpmpp3mSde { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, section 5, as k-diffusion continues it",
        usual_steps: Some(40),
        elsewhere: &["DPM++ 3M SDE", "sample_dpmpp_3m_sde"],
        advice: "for many steps, with karras or exponential",
        ..BY_RATIOS
    },
    Entry {
        name: "flow_euler",
        sampler: Sampler::FlowEuler,
        paper: "Liu et al. 2022, Flow Straight and Fast, Eq. 1",
        order: Some(1),
        usual_steps: Some(28),
        serves: &[Path::Flow],
        scheduler: Some("FlowMatchEulerDiscreteScheduler"),
        elsewhere: &["Flow Euler"],
        advice: "for rectified flows",
        ..BY_RATIOS
    },
    Entry {
        name: "flow_heun",
        sampler: Sampler::FlowHeun,
        paper: "Liu et al. 2022, Flow Straight and Fast, Eq. 1",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(20),
        serves: &[Path::Flow],
        scheduler: Some("FlowMatchHeunDiscreteScheduler"),
        elsewhere: &["Flow Heun"],
        advice: "for rectified flows; each step costs two calls",
        ..BY_RATIOS
    },
    Entry {
        name: "reverse_sde",
        sampler: Sampler::ReverseSde,
        paper: "Song et al. 2021, Score-Based Generative Modeling through SDEs, Eq. 6 and 46",
        usual_steps: Some(1000),
        serves: SIGNAL,
        scheduler: Some("ScoreSdeVpScheduler"),
        elsewhere: &["reverse diffusion", "Euler-Maruyama"],
        advice: "the reverse SDE as it is written; needs many steps",
        ..BY_RATIOS
    },
    Entry {
        name: "predictor_corrector",
        sampler: Sampler::PredictorCorrector { snr: 0.16, corrections: 1 },
        paper: "Song et al. 2021, Score-Based Generative Modeling through SDEs, Algorithms 2 and 4",
        calls_per_step: 2,
        usual_steps: Some(1000),
        serves: SIGNAL,
        scheduler: Some("ScoreSdeVeScheduler"),
        elsewhere: &["PC"],
        advice: "for score networks; needs many steps",
        ..BY_RATIOS
    },
    Entry {
        name: "langevin",
        sampler: Sampler::Langevin { steps: 5, size: 0.062 },
        paper: "Song and Ermon 2019, Generative Modeling by Estimating Gradients of the Data Distribution, Algorithm 1",
        calls_per_step: 5,
        usual_steps: Some(232),
        serves: SIGNAL,
        elsewhere: &["annealed Langevin", "NCSN"],
        advice: "for score networks; needs many levels",
        ..BY_RATIOS
    },
];
