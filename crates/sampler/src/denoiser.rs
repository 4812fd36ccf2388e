//! The one contract between samplers and networks.

use crate::{SamplerError, State};
use sumi_process::{Linear, NoiseLevel, Parameterisation};

/// What a denoiser says about `x_t`.
#[derive(Clone, Debug)]
pub struct Denoised<S> {
    /// The posterior mean `E[x_0 | x_t]`, after any clipping.
    pub x0: S,
    /// The noise direction as the network sees it. Clipping `x0` leaves it alone, as in DDIM's
    /// own code, so the two agree with `x_t = alpha x_0 + sigma eps` only while nothing is clipped.
    pub eps: S,
    /// Where between `log beta_tilde` (0) and `log beta` (1) the logarithm of the reverse variance
    /// lies, for every element, from a network that learned it.
    pub variance: Option<S>,
}

impl<S: State> Denoised<S> {
    /// From the posterior mean alone, `eps = (x_t - alpha x_0) / sigma`.
    pub fn from_x0(x_t: &S, level: NoiseLevel, x0: S) -> Self {
        let eps = slope(x_t, level, &x0);
        Self { x0, eps, variance: None }
    }

    /// From what a network puts out, by what that means.
    pub fn from_output(
        x_t: &S,
        level: NoiseLevel,
        output: &S,
        parameterisation: &Parameterisation,
    ) -> Self {
        let of = |Linear { first, second }| x_t.combine(first, output, second);
        let (x0, eps) = (parameterisation.x0(level), parameterisation.eps(level));
        Self { x0: of(x0), eps: of(eps), variance: None }
    }
}

/// `(x_t - alpha x_0) / sigma`, the noise direction by `x_0`: the slope of the probability-flow curve
/// against `sigma / alpha` once the state is divided by `alpha` (Karras et al., Elucidating the Design
/// Space, Eq. 3).
pub(crate) fn slope<S: State>(x_t: &S, level: NoiseLevel, x0: &S) -> S {
    x_t.combine(1.0 / level.sigma, x0, -level.alpha / level.sigma)
}

/// Says what the clean data behind a noisy state probably is.
///
/// Everything a sampler meets is one of these; guidance, inpainting and clipping are denoisers
/// wrapped around a denoiser.
pub trait Denoiser<S> {
    /// `E[x_0 | x_t]` at one noise level for the whole batch.
    ///
    /// # Errors
    /// What the network behind it reports.
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError>;
}

impl<S, D: Denoiser<S> + ?Sized> Denoiser<S> for Box<D> {
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        (**self).denoise(x_t, level)
    }
}

/// A denoiser whose answer can be differentiated by what it was asked about.
pub trait DifferentiableDenoiser<S>: Denoiser<S> {
    /// What [`Denoiser::denoise`] says, and `cotangent^T d(first x_0 + second eps) / dx_t` for the
    /// combination `of` (`x_0`, `eps`), sample by sample.
    ///
    /// # Errors
    /// What the network behind it reports.
    fn denoise_vjp(
        &mut self,
        x_t: &S,
        level: NoiseLevel,
        of: Linear,
        cotangent: &S,
    ) -> Result<(Denoised<S>, S), SamplerError>;
}

/// How the estimate of `x_0` is held in range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Limit {
    /// Not at all.
    #[default]
    None,
    /// Clamped to `[-range, range]`.
    Clip {
        /// Half the width of the range.
        range: f64,
    },
    /// Dynamic thresholding, see [`State::threshold`].
    Threshold {
        /// Which quantile of the absolute values.
        quantile: f64,
        /// The most that the quantile may be.
        max: f64,
    },
}

/// A denoiser whose estimate of `x_0` is held in range.
pub struct Clip<D> {
    /// The denoiser inside.
    pub inner: D,
    /// How it is held.
    pub limit: Limit,
}

impl<S: State, D: Denoiser<S>> Denoiser<S> for Clip<D> {
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        let Denoised { x0, eps, variance } = self.inner.denoise(x_t, level)?;
        let x0 = match self.limit {
            Limit::None => x0,
            Limit::Clip { range } => x0.clamp(range),
            Limit::Threshold { quantile, max } => x0.threshold(quantile, max),
        };
        Ok(Denoised { x0, eps, variance })
    }
}

/// A denoiser whose `eps` follows its `x_0`, limited or not: `eps = (x_t - alpha x_0) / sigma` (diffusers'
/// `use_clipped_model_output`).
///
/// Guidance wants it around [`Clip`]. Far out of range, what a step takes off by way of the `eps` of the
/// whole estimate is more than what it puts back by way of the clipped one, and DDIM is led away from
/// where guidance points.
pub struct Linked<D>(pub D);

impl<S: State, D: Denoiser<S>> Denoiser<S> for Linked<D> {
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        let said = self.0.denoise(x_t, level)?;
        Ok(match level.is_clean() {
            true => said,
            false => {
                let variance = said.variance;
                Denoised { variance, ..Denoised::from_x0(x_t, level, said.x0) }
            }
        })
    }
}
