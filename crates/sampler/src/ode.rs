//! The probability-flow ODE as a sampler.

use crate::dormand_prince::{DormandPrince, Moving};
use crate::{Denoised, Run, SamplerError, State};
use sumi_process::{NoiseLevel, Path};

/// The clock of the probability-flow ODE: `phi = atan(sigma / alpha)`, from 0 for data to `pi/2` for
/// noise.
///
/// Divided by `hypot(alpha, sigma)`, the state of every process lies on the variance-preserving
/// path, `y = cos(phi) x_0 + sin(phi) eps`, and there `dy/dphi = cos(phi) eps - sin(phi) x_0`
/// (Salimans and Ho, Progressive Distillation, Appendix D): a state of one size and a slope that is
/// finite at both ends, whatever the process.
pub(crate) struct Angle {
    /// `phi`.
    pub sin: f64,
    /// Of `phi`.
    pub cos: f64,
    /// The level on the process's own path.
    pub level: NoiseLevel,
    /// `hypot(alpha, sigma)`: the process's own state is `y` times this.
    pub scale: f64,
}

impl Angle {
    /// `phi` of a level.
    pub fn of(level: NoiseLevel) -> f64 {
        level.sigma.atan2(level.alpha)
    }

    pub fn at(phi: f64, path: Path) -> Self {
        let (sin, cos) = phi.sin_cos();
        let level = path.at_ratio(phi.tan());
        Self { sin, cos, level, scale: level.alpha.hypot(level.sigma) }
    }

    /// `dy/dphi`.
    pub fn slope<S: State>(&self, denoised: &Denoised<S>) -> S {
        denoised.eps.combine(self.cos, &denoised.x0, -self.sin)
    }
}

/// The probability-flow ODE (Song et al., Score-Based Generative Modeling through SDEs, Eq. 13) by an
/// adaptive Runge-Kutta 4(5), as often evaluated as `tolerance` asks for.
///
/// It stops at every level of the grid for the observer, and takes the denoiser's word from the last
/// one on; the other levels do not shape the result. The step size is that of the sample of the batch
/// that needs the smallest, so a sample depends on its batch, within the tolerance.
///
/// # Errors
/// The denoiser's, a tolerance that cannot be held, or the observer's wish to stop.
pub fn ode<S: State>(x: S, run: &mut Run<'_, S>, tolerance: f64) -> Result<S, SamplerError> {
    let path = run.grid.path;
    let mut solver = DormandPrince::new(tolerance);
    let still = |state: S| Moving { state, integrals: Vec::new() };
    run.walk(x, |run, step| {
        let (from, to) = (step.interval.from, step.interval.to);
        if to.is_clean() {
            return Ok(step.denoised.x0.clone());
        }
        let ends = [from, to].map(Angle::of);
        let [start, end] = ends.map(|phi| Angle::at(phi, path));
        let y = still(step.x.combine(1.0 / start.scale, step.x, 0.0));
        let first = still(start.slope(step.denoised));
        let y = solver.integrate(y, first, (ends[0], ends[1]), |y, phi| {
            let angle = Angle::at(phi, path);
            let x = y.state.combine(angle.scale, &y.state, 0.0);
            Ok(still(angle.slope(&run.denoise(&x, angle.level)?)))
        })?;
        Ok(y.state.combine(end.scale, &y.state, 0.0))
    })
}
