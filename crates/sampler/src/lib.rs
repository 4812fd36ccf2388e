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
mod denoiser;
mod grid;
mod guidance;
mod inpaint;
mod inversion;
mod observer;
mod run;
mod slerp;
mod state;

pub use catalog::{CATALOG, Entry, Sampler, SamplerKind, UnknownSampler, names};
pub use ddim::ddim;
pub use ddpm::ddpm;
pub use denoiser::{Clip, Denoised, Denoiser, Limit, Linked};
pub use grid::{Convention, End, Grid, GridError, GridKind, GridRequest, Interval, Spacing};
pub use guidance::{ClassifierGuided, GuidanceInterval, Guided, Pair, Rescale};
pub use inpaint::{Inpaint, Region, Resampling};
pub use inversion::ddim_inversion;
pub use observer::{Moment, Observer};
pub use run::{Run, SamplerError, Step};
pub use slerp::slerp;
pub use state::{Noise, State};
