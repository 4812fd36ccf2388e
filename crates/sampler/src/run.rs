//! What a sampler needs to run.

use crate::{Denoised, Denoiser, Grid, Interval, Moment, Noise, Observer, State};
use std::ops::ControlFlow;
use sumi_process::NoiseLevel;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// The observer asked for it.
    #[error("cancelled")]
    Cancelled,
    /// The sampler cannot serve this process or this network; the sentence says which can.
    #[error("{0}")]
    Unsuitable(String),
    /// The network failed.
    #[error(transparent)]
    Denoiser(Box<dyn std::error::Error + Send + Sync>),
}

/// A denoiser, the way to go, fresh noise, and who watches.
pub struct Run<'a, S> {
    /// Says what the clean data probably is.
    pub denoiser: &'a mut dyn Denoiser<S>,
    /// The steps to take.
    pub grid: &'a Grid,
    /// Fresh noise for the samplers that add some.
    pub noise: &'a mut dyn Noise<S>,
    /// Is told about every step.
    pub observer: &'a mut dyn Observer<S>,
}

/// One step of a walk, with what the denoiser says at its start.
pub struct Step<'a, S> {
    /// Which step, from 0.
    pub index: usize,
    /// From where to where.
    pub interval: Interval,
    /// The state at the start.
    pub x: &'a S,
    /// What the denoiser says about it.
    pub denoised: &'a Denoised<S>,
}

impl<S: State> Run<'_, S> {
    /// Takes `x` through every interval of the grid. `step` moves it over one interval; a sampler that
    /// wants to ask the denoiser again, or for fresh noise, finds both in the run.
    ///
    /// # Errors
    /// The denoiser's, the step's, or the observer's wish to stop.
    pub fn walk(
        &mut self,
        mut x: S,
        mut step: impl FnMut(&mut Self, Step<'_, S>) -> Result<S, SamplerError>,
    ) -> Result<S, SamplerError> {
        for (index, &interval) in self.grid.intervals.iter().enumerate() {
            let denoised = self.denoiser.denoise(&x, interval.from)?;
            x = step(self, Step { index, interval, x: &x, denoised: &denoised })?;
            self.tell(index, interval.to, &x, &denoised.x0)?;
        }
        Ok(x)
    }

    /// Tells the observer of the step `index`, which took `x` to `level` by the estimate `x0`.
    ///
    /// # Errors
    /// The observer's wish to stop.
    pub fn tell(
        &mut self,
        index: usize,
        level: NoiseLevel,
        x: &S,
        x0: &S,
    ) -> Result<(), SamplerError> {
        let moment = Moment { step: index, steps: self.grid.len(), level, x, x0 };
        match self.observer.step(moment) {
            ControlFlow::Break(()) => Err(SamplerError::Cancelled),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// What the denoiser says about `x` at `level`.
    ///
    /// # Errors
    /// The denoiser's.
    pub fn denoise(&mut self, x: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        self.denoiser.denoise(x, level)
    }

    /// Refuses an order that a multistep solver has no formula for.
    pub(crate) fn expect_order(&self, sampler: &str, order: u32) -> Result<(), SamplerError> {
        match (1..=3).contains(&order) {
            true => Ok(()),
            false => {
                let found = format!("{sampler}: order: expected 1, 2 or 3, found {order}");
                Err(SamplerError::Unsuitable(found))
            }
        }
    }

    /// A standard normal for every element of `like`.
    pub fn fresh_noise(&mut self, like: &S) -> S {
        self.noise.standard_normal(like)
    }
}
