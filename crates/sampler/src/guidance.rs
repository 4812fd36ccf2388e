//! Guidance: denoisers that go further than a network does.

use crate::{Denoised, Denoiser, SamplerError, State};
use sumi_process::{Linear, NoiseLevel, Parameterisation};

/// Two opinions on a noisy state, of which the strong one is to be followed further than it goes.
///
/// For classifier-free guidance these are one network with its condition and without, for autoguidance
/// a good network and a worse one. Any two denoisers are a pair, asked one after the other; a network
/// that can be asked for both at once implements [`Pair::both`] itself.
pub trait Pair<S> {
    /// The opinion that guidance leads towards.
    ///
    /// # Errors
    /// What the network behind it reports.
    fn strong(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError>;

    /// The opinion that guidance leads away from.
    ///
    /// # Errors
    /// What the network behind it reports.
    fn weak(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError>;

    /// First the strong, then the weak one.
    ///
    /// # Errors
    /// What the network behind it reports.
    fn both(&mut self, x_t: &S, level: NoiseLevel) -> Result<[Denoised<S>; 2], SamplerError> {
        Ok([self.strong(x_t, level)?, self.weak(x_t, level)?])
    }
}

impl<S, A: Denoiser<S>, B: Denoiser<S>> Pair<S> for (A, B) {
    fn strong(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        self.0.denoise(x_t, level)
    }

    fn weak(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        self.1.denoise(x_t, level)
    }
}

/// Guidance away from a weaker opinion: `D = D_weak + s (D_strong - D_weak)`, for `x_0` and `eps` alike.
///
/// With a condition and without, it is classifier-free guidance (Ho and Salimans, Classifier-Free
/// Diffusion Guidance, Eq. 6, whose `w` is `s - 1`); with a good network and a worse one it is
/// autoguidance (Karras et al., Guiding a Diffusion Model with a Bad Version of Itself, Eq. 3). Scale 1
/// is the strong opinion alone and 0 the weak one.
///
/// A learned variance is the strong opinion's. Clipping belongs around this, not inside: what leads out
/// of range is the sum.
pub struct Guided<'a, P> {
    /// Whom it asks.
    pub pair: P,
    /// `s`.
    pub scale: f64,
    /// Holds the contrast of what is guided to that of the strong opinion.
    pub rescale: Option<Rescale<'a>>,
    /// At which noise levels it guides; at the others the strong opinion stands, and only it is
    /// asked.
    pub interval: Option<GuidanceInterval>,
}

/// The share `phi` by which the guided output takes the standard deviation of the strong one, sample by
/// sample: `output (phi std_strong / std_guided + 1 - phi)` (Lin et al., Common Diffusion Noise
/// Schedules and Sample Steps are Flawed, Eq. 15 and 16).
///
/// It acts on what the network puts out, as in diffusers, so it has to know what that means.
#[derive(Clone, Copy, Debug)]
pub struct Rescale<'a> {
    /// From 0, nothing, to 1; published as 0.7.
    pub phi: f64,
    /// What the network puts out.
    pub parameterisation: &'a Parameterisation,
}

/// The noise levels `low < sigma / alpha <= high` (Kynkaanniemi et al., Applying Guidance in a Limited
/// Interval Improves Sample and Distribution Quality in Diffusion Models, Eq. 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuidanceInterval {
    /// Below the least ratio that is guided.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl GuidanceInterval {
    /// Whether it holds `level`.
    pub fn holds(self, level: NoiseLevel) -> bool {
        self.low < level.ratio() && level.ratio() <= self.high
    }
}

impl<S: State, P: Pair<S>> Denoiser<S> for Guided<'_, P> {
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        let guides = self.interval.is_none_or(|interval| interval.holds(level));
        match (guides, self.scale, self.rescale) {
            (false, _, _) | (true, 1.0, _) => return self.pair.strong(x_t, level),
            (true, 0.0, None) => return self.pair.weak(x_t, level),
            _ => {}
        }
        let [strong, weak] = self.pair.both(x_t, level)?;
        let guided = Denoised {
            x0: strong.x0.combine(self.scale, &weak.x0, 1.0 - self.scale),
            eps: strong.eps.combine(self.scale, &weak.eps, 1.0 - self.scale),
            variance: None,
        };
        let guided = match self.rescale {
            Some(rescale) => rescale.apply(x_t, level, &strong, &guided),
            None => guided,
        };
        Ok(Denoised { variance: strong.variance, ..guided })
    }
}

impl Rescale<'_> {
    fn apply<S: State>(
        self,
        x_t: &S,
        level: NoiseLevel,
        strong: &Denoised<S>,
        guided: &Denoised<S>,
    ) -> Denoised<S> {
        let Linear { first, second } = self.parameterisation.target(level);
        let output = |denoised: &Denoised<S>| denoised.x0.combine(first, &denoised.eps, second);
        let (wanted, guided) = (output(strong).deviations(), output(guided));
        let factor = |(wanted, found): (f64, f64)| match found > 0.0 {
            true => self.phi * wanted / found + 1.0 - self.phi,
            false => 1.0,
        };
        let factors: Vec<f64> = wanted.into_iter().zip(guided.deviations()).map(factor).collect();
        Denoised::from_output(x_t, level, &guided.scale_each(&factors), self.parameterisation)
    }
}

/// Guidance by a classifier of noisy states: `eps - s sigma grad log p(y | x_t)`, and `x_0` with it
/// (Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, Algorithm 2).
///
/// Every sampler can be guided so. For ancestral sampling the paper's Algorithm 1 moves the mean of each
/// step by its variance times the gradient instead, which is the same to first order in the step.
pub struct ClassifierGuided<D, G> {
    /// Says what it says without the classifier.
    pub inner: D,
    /// `grad log p(y | x_t)` with respect to `x_t`.
    pub gradient: G,
    /// `s`; 1 is Bayes' rule.
    pub scale: f64,
}

impl<S, D, G> Denoiser<S> for ClassifierGuided<D, G>
where
    S: State,
    D: Denoiser<S>,
    G: FnMut(&S, NoiseLevel) -> Result<S, SamplerError>,
{
    fn denoise(&mut self, x_t: &S, level: NoiseLevel) -> Result<Denoised<S>, SamplerError> {
        let said = self.inner.denoise(x_t, level)?;
        // Where there is no signal, x_t says nothing about the class.
        if self.scale == 0.0 || level.alpha == 0.0 {
            return Ok(said);
        }
        let gradient = (self.gradient)(x_t, level)?;
        let NoiseLevel { alpha, sigma } = level;
        Ok(Denoised {
            eps: said.eps.combine(1.0, &gradient, -self.scale * sigma),
            x0: said.x0.combine(1.0, &gradient, self.scale * sigma * sigma / alpha),
            variance: said.variance,
        })
    }
}
