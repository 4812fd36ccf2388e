//! The density by the probability-flow ODE.

use super::Progress;
use crate::dormand_prince::{DormandPrince, Moving};
use crate::ode::Angle;
use crate::{DifferentiableDenoiser, Grid, Noise, SamplerError, State};
use sumi_process::{Gaussian, Linear, NoiseLevel, Path, Process};

/// The log density of data by the probability-flow ODE (Song et al., Score-Based Generative Modeling
/// through SDEs, Eq. 39): the density of the prior where the data ends up, and the integral of the
/// divergence on the way there.
///
/// The divergence is Hutchinson's estimate `z^T J z` with one `z` of signs a sample (Eq. 40), which is
/// right on average; the way does not depend on `z`. The prior is what sampling starts from. The data
/// is taken to lie at the process's least level: its density is that of the model's samples with that
/// much noise on them.
#[derive(Clone, Debug, PartialEq)]
pub struct OdeLikelihood {
    path: Path,
    least: NoiseLevel,
    noisiest: NoiseLevel,
    prior_std: f64,
    tolerance: f64,
}

/// What [`OdeLikelihood::measure`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDensity<S> {
    /// `log p(x)` of each sample, in nats.
    pub nats: Vec<f64>,
    /// Where the data ended up, at the noisiest level.
    pub latent: S,
    /// How often the network and its derivative were asked for.
    pub evaluations: usize,
}

impl OdeLikelihood {
    /// For a process; `tolerance` is the relative and the absolute one of each step, 1e-5 in the
    /// paper, of the state and of the log density per dimension.
    pub fn new(process: &Process, tolerance: f64) -> Self {
        let noisiest = process.noisiest();
        Self {
            path: process.path(),
            least: process.level(process.times().0),
            noisiest,
            prior_std: Grid::through(process.path(), &[noisiest]).start_std,
            tolerance,
        }
    }

    /// The log density of every sample of `x`. The denoiser does not clip: where it did, the slope
    /// would have no derivative.
    ///
    /// All samples of a batch take the same steps, those that the worst of them needs: a density
    /// depends on its batch, within the tolerance.
    ///
    /// # Errors
    /// The denoiser's, a tolerance that cannot be held, or the wish to stop.
    pub fn measure<S: State>(
        &self,
        x: &S,
        denoiser: &mut dyn DifferentiableDenoiser<S>,
        noise: &mut dyn Noise<S>,
        progress: Progress<'_>,
    ) -> Result<LogDensity<S>, SamplerError> {
        let signs = noise.standard_normal(x).map(|z| if z < 0.0 { -1.0 } else { 1.0 });
        let ends = [self.least, self.noisiest].map(Angle::of);
        let [start, end] = ends.map(|phi| Angle::at(phi, self.path));
        let mut evaluations = 0;
        let mut slope = |y: &Moving<S>, phi: f64| {
            evaluations += 1;
            if progress((phi - ends[0]) / (ends[1] - ends[0])).is_break() {
                return Err(SamplerError::Cancelled);
            }
            let angle = Angle::at(phi, self.path);
            let x = y.state.combine(angle.scale, &y.state, 0.0);
            let of = Linear { first: -angle.sin, second: angle.cos };
            let (denoised, product) = denoiser.denoise_vjp(&x, angle.level, of, &signs)?;
            // The divergence per dimension, so that its tolerance means the same for every size.
            let divergence = product.times(&signs).samples();
            let divergence = divergence.iter().map(|d| angle.scale * mean(d)).collect();
            Ok(Moving { state: angle.slope(&denoised), integrals: divergence })
        };

        let sizes: Vec<usize> = x.samples().iter().map(Vec::len).collect();
        let y = Moving { state: x.combine(start.cos, x, 0.0), integrals: vec![0.0; sizes.len()] };
        let first = slope(&y, ends[0])?;
        let mut solver = DormandPrince::new(self.tolerance);
        let y = solver.integrate(y, first, (ends[0], ends[1]), slope)?;
        let latent = y.state.combine(end.scale, &y.state, 0.0);

        // From the prior's x_T to y at the noisy end, along the way, and from y to the data.
        let prior = Gaussian { mean: 0.0, log_variance: 2.0 * self.prior_std.ln() };
        let scale = end.scale.ln() + start.cos.ln();
        let densities = latent.samples().into_iter().zip(&y.integrals);
        let nats = densities.map(|(x_t, integral)| {
            let at_noise: f64 = x_t.iter().map(|&x| prior.log_density(x)).sum();
            at_noise + x_t.len() as f64 * (scale + integral)
        });
        Ok(LogDensity { nats: nats.collect(), latent, evaluations })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
