//! What a sampler needs to run.

use crate::{Denoised, Denoiser, Grid, Interval, Moment, Noise, Observer, State, ddim, ddpm};
use std::ops::ControlFlow;
use sumi_process::ReverseVariance;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// The observer asked for it.
    #[error("cancelled")]
    Cancelled,
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

impl<S: State> Run<'_, S> {
    /// Takes `x` through every interval of the grid. `step` moves it over one interval, given what
    /// the denoiser says at the interval's start.
    ///
    /// # Errors
    /// The denoiser's, or the observer's wish to stop.
    pub fn walk(
        &mut self,
        mut x: S,
        mut step: impl FnMut(&S, &Denoised<S>, Interval, &mut dyn Noise<S>) -> S,
    ) -> Result<S, SamplerError> {
        let steps = self.grid.len();
        for (index, &interval) in self.grid.intervals.iter().enumerate() {
            let denoised = self.denoiser.denoise(&x, interval.from)?;
            x = step(&x, &denoised, interval, self.noise);
            let moment = Moment { step: index, steps, level: interval.to, x: &x, x0: &denoised.x0 };
            if let ControlFlow::Break(()) = self.observer.step(moment) {
                return Err(SamplerError::Cancelled);
            }
        }
        Ok(x)
    }
}

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
}

impl Sampler {
    /// Every sampler with its usual settings, for whoever has to try them all.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Ddpm { variance: ReverseVariance::FixedSmall },
            Self::Ddpm { variance: ReverseVariance::FixedLarge },
            Self::Ddim { eta: 0.0 },
            Self::Ddim { eta: 1.0 },
        ]
    }

    /// Runs the film backwards: takes `x`, noise at the grid's first level, to data.
    ///
    /// # Errors
    /// The denoiser's, or the observer's wish to stop.
    pub fn sample<S: State>(self, x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
        match self {
            Self::Ddpm { variance } => ddpm(x, run, variance),
            Self::Ddim { eta } => ddim(x, run, eta),
        }
    }
}
