//! How the film runs backwards.
//!
//! A sampler takes a [`State`] from noise to data. It meets the network only as a [`Denoiser`], which
//! says what the clean data probably is; it walks a [`Grid`] of noise levels; it draws fresh noise
//! from a [`Noise`]; and it tells an [`Observer`] about every step, which is how progress bars,
//! films and cancellation attach. None of these knows a tensor library: every sampler runs on
//! `Vec<f64>` too, where it is held against exact answers.
//!
//! To add a sampler: one file with one function on one screen, one variant in [`Sampler`], one entry in
//! the [`CATALOG`]. Its name on the command line, its row in `docs/samplers.md` and its place in the
//! conformance suite (`tests/conformance.rs`) follow from the entry.

mod catalog;
mod ddim;
mod ddpm;
mod deis;
mod denoiser;
mod dormand_prince;
mod dpm2;
mod dpm2_a;
mod dpm_solver;
mod dpmpp_2m_sde;
mod dpmpp_2s_a;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod edm;
mod euler;
mod euler_a;
mod flow;
mod grid;
mod guidance;
mod heun;
mod history;
mod inpaint;
mod inversion;
mod kind;
mod langevin;
mod lcm;
pub mod likelihood;
mod lms;
mod observer;
mod ode;
mod pndm;
mod predictor_corrector;
mod reverse_sde;
mod run;
mod sampler;
mod slerp;
mod state;
mod steps;
mod tcd;
mod unipc;
mod webui;

pub use catalog::{CATALOG, Entry};
pub use ddim::ddim;
pub use ddpm::ddpm;
pub use deis::deis;
pub use denoiser::{Clip, Denoised, Denoiser, DifferentiableDenoiser, Limit, Linked};
pub use dpm_solver::{Algorithm, DpmSolver, SecondOrder, dpm_solver, dpm_solver_singlestep};
pub use dpm2::dpm2;
pub use dpm2_a::dpm2_a;
pub use dpmpp_2m_sde::dpmpp_2m_sde;
pub use dpmpp_2s_a::dpmpp_2s_a;
pub use dpmpp_3m_sde::dpmpp_3m_sde;
pub use dpmpp_sde::dpmpp_sde;
pub use edm::{Churn, edm};
pub use euler::euler;
pub use euler_a::euler_a;
pub use flow::{flow_euler, flow_heun};
pub use grid::{Convention, End, Grid, GridError, GridKind, GridRequest, Interval, Spacing};
pub use guidance::{ClassifierGuided, GuidanceInterval, Guided, Pair, Rescale};
pub use heun::heun;
pub use history::History;
pub use inpaint::{Inpaint, Region, Resampling};
pub use inversion::ddim_inversion;
pub use kind::{SamplerKind, UnknownSampler, names};
pub use langevin::langevin;
pub use lcm::lcm;
pub use lms::lms;
pub use observer::{Moment, Observer};
pub use ode::ode;
pub use pndm::{PndmStart, pndm};
pub use predictor_corrector::predictor_corrector;
pub use reverse_sde::reverse_sde;
pub use run::{Run, SamplerError, Step};
pub use sampler::Sampler;
pub use slerp::slerp;
pub use state::{Noise, State};
pub use tcd::tcd;
pub use unipc::{BFunction, UniPc, unipc};
pub use webui::from_webui;
