//! What there is to know about every sampler.

use crate::{Algorithm, Churn, Convention, DpmSolver, PndmStart, Sampler, UniPc};
use sumi_process::{Path, ReverseVariance};

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

/// What most solvers in log SNR have in common.
const MULTISTEP: Entry = Entry {
    order: Some(2),
    usual_steps: Some(20),
    convention: Convention::Multistep,
    thresholds: true,
    ..BY_RATIOS
};

/// The usual singlestep solver of an order.
const fn singlestep(order: u32) -> Sampler {
    Sampler::DpmSolverSinglestep { algorithm: Algorithm::DpmSolver, order }
}

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
        elsewhere: &["DDPM", "ancestral sampling"],
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
        advice: "accurate from 15 steps",
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
        advice: "varied pictures",
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
        advice: "varied pictures with much detail",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_sde",
        sampler: Sampler::DpmppSde { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, on diffusion SDEs, as k-diffusion writes it",
        calls_per_step: 2,
        usual_steps: Some(15),
        serves: SIGNAL,
        scheduler: Some("DPMSolverSDEScheduler"),
        elsewhere: &["DPM++ SDE", "sample_dpmpp_sde"],
        advice: "good from 10 steps with karras",
        ..BY_RATIOS
    },
    Entry {
        name: "dpmpp_2m_sde",
        sampler: Sampler::Dpmpp2mSde { eta: 1.0 },
        paper: "Lu et al. 2022, DPM-Solver++, on diffusion SDEs",
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
        paper: "Lu et al. 2022, DPM-Solver++, on diffusion SDEs, as k-diffusion continues it",
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
        advice: "for rectified flows",
        ..BY_RATIOS
    },
    Entry {
        name: "reverse_sde",
        sampler: Sampler::ReverseSde,
        paper: "Song et al. 2020, Score-Based Generative Modeling through SDEs, Eq. 6 and 46",
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
        paper: "Song et al. 2020, Score-Based Generative Modeling through SDEs, Algorithms 2 and 4",
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
    Entry {
        name: "pndm",
        sampler: Sampler::Pndm { start: PndmStart::Twice, sums_v: false },
        paper: "Liu et al. 2022, Pseudo Numerical Methods for Diffusion Models on Manifolds, Algorithm 2",
        order: Some(2),
        usual_steps: Some(50),
        convention: Convention::Strided,
        serves: SIGNAL,
        scheduler: Some("PNDMScheduler"),
        elsewhere: &["PLMS"],
        advice: "Stable Diffusion's first choice; smooth pictures from 30 steps",
        ..BY_RATIOS
    },
    Entry {
        name: "dpm_solver_1",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 1)),
        paper: "Lu et al. 2022, DPM-Solver, Eq. 3.7",
        order: Some(1),
        usual_steps: Some(50),
        elsewhere: &["dpmsolver order 1"],
        advice: "ddim in other words",
        ..MULTISTEP
    },
    Entry {
        name: "dpm_solver_2",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 2)),
        paper: "Lu et al. 2022, DPM-Solver, section 3.2, and DPM-Solver++, Algorithm 2",
        elsewhere: &["dpmsolver order 2"],
        advice: "without guidance, from 15 steps",
        ..MULTISTEP
    },
    Entry {
        name: "dpm_solver_3",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolver, 3)),
        paper: "Lu et al. 2022, DPM-Solver, section 3.2, and its code for the weights",
        elsewhere: &["dpmsolver order 3"],
        advice: "without guidance, from 15 steps; dpm_solver_3s is of third order",
        ..MULTISTEP
    },
    Entry {
        name: "dpmpp_2m",
        sampler: Sampler::DpmSolver(DpmSolver::new(Algorithm::DpmSolverPp, 2)),
        paper: "Lu et al. 2022, DPM-Solver++, Algorithm 2",
        scheduler: Some("DPMSolverMultistepScheduler"),
        elsewhere: &["DPM++ 2M", "dpmsolver++"],
        advice: "the usual choice: good pictures in 20 steps",
        ..MULTISTEP
    },
    Entry {
        name: "unipc",
        sampler: Sampler::UniPc(UniPc::new(2)),
        paper: "Zhao et al. 2023, UniPC, Algorithms 5 to 8",
        order: Some(3),
        scheduler: Some("UniPCMultistepScheduler"),
        elsewhere: &["UniPC", "uni_pc_bh2"],
        advice: "the best below 15 steps",
        ..MULTISTEP
    },
    Entry {
        name: "deis",
        sampler: Sampler::Deis { order: 2, lower_order_final: true },
        paper: "Zhang and Chen 2022, Fast Sampling of Diffusion Models with Exponential Integrator, Eq. 15",
        scheduler: Some("DEISMultistepScheduler"),
        elsewhere: &["DEIS"],
        advice: "much like dpm_solver_2, from 15 steps",
        ..MULTISTEP
    },
    Entry {
        name: "lcm",
        sampler: Sampler::Lcm,
        paper: "Luo et al. 2023, Latent Consistency Models, Algorithm 3",
        usual_steps: Some(4),
        convention: Convention::Distilled,
        clips: Some(false),
        thresholds: true,
        scheduler: Some("LCMScheduler"),
        elsewhere: &["LCM"],
        advice: "for models distilled to it: 2 to 8 steps",
        ..BY_RATIOS
    },
    Entry {
        name: "tcd",
        sampler: Sampler::Tcd { gamma: 0.3 },
        paper: "Zheng et al. 2024, Trajectory Consistency Distillation, Algorithm 4",
        usual_steps: Some(4),
        convention: Convention::Distilled,
        scheduler: Some("TCDScheduler"),
        elsewhere: &["TCD"],
        advice: "for models distilled to it: 2 to 8 steps",
        ..BY_RATIOS
    },
    Entry {
        name: "dpm_solver_2s",
        sampler: singlestep(2),
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 1",
        order: Some(2),
        calls_per_step: 2,
        usual_steps: Some(20),
        elsewhere: &["dpm_solver singlestep 2"],
        advice: "without guidance, where calls count less than steps",
        ..MULTISTEP
    },
    Entry {
        name: "dpm_solver_3s",
        sampler: singlestep(3),
        paper: "Lu et al. 2022, DPM-Solver, Algorithm 2",
        order: Some(3),
        calls_per_step: 3,
        usual_steps: Some(10),
        elsewhere: &["dpm_solver singlestep 3"],
        advice: "without guidance, for the least error of many calls",
        ..MULTISTEP
    },
    Entry {
        name: "ode",
        sampler: Sampler::Ode { tolerance: 1e-5 },
        paper: "Song et al. 2020, Score-Based Generative Modeling through SDEs, Eq. 13; Dormand and \
                Prince 1980, A Family of Embedded Runge-Kutta Formulae, Table 2",
        order: Some(5),
        calls_per_step: 7,
        usual_steps: Some(10),
        convention: Convention::Ratios { rounded: false },
        clips: None,
        thresholds: false,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["probability flow ODE", "RK45", "Dormand-Prince"],
        advice: "the exact curve, to compare with; more calls where its tolerance asks for them",
    },
];
