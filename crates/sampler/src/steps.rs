//! What the steps of several samplers share.
//!
//! Most of them are published on the state divided by `alpha`, whose level is the ratio
//! `r = sigma / alpha`. Here each formula stands on the state itself, so that it holds on every path.

use crate::{Interval, Run, SamplerError, State};
use sumi_process::{NoiseLevel, Path};

impl Interval {
    /// Follows the probability flow with `x_0` held fixed:
    /// `x' = (sigma' / sigma) x + (alpha' - alpha sigma' / sigma) x_0`.
    ///
    /// This is Euler's step against `r`, DPM-Solver++'s step of first order against `log r` and DDIM's step
    /// at once. It needs no signal at its start, and lands on `x_0` where its end is clean.
    pub(crate) fn holding<S: State>(self, x: &S, x0: &S) -> S {
        let shrink = self.to.sigma / self.from.sigma;
        x.combine(shrink, x0, self.to.alpha - self.from.alpha * shrink)
    }

    /// Follows a slope against `r`: `x' = (alpha' / alpha) x + alpha' (r' - r) slope`.
    pub(crate) fn along<S: State>(self, x: &S, slope: &S) -> S {
        let Self { from, to } = self;
        x.combine(to.alpha / from.alpha, slope, to.alpha * (to.ratio() - from.ratio()))
    }

    /// `r' / r`, which is `e^(-h)` for the step `h` of `log(alpha / sigma)`; 0 where there is no signal at
    /// the start or no noise at the end.
    pub(crate) fn shrinkage(self) -> f64 {
        self.to.ratio() / self.from.ratio()
    }

    /// `h`, the step of `log(alpha / sigma)`.
    pub(crate) fn log_step(self) -> f64 {
        -self.shrinkage().ln()
    }

    /// The reverse SDE with the estimate `x_0` held fixed, solved exactly (DPM-Solver++, on diffusion SDEs): the
    /// mean, and the standard deviation of the noise. Powers of `e^(-h)` hold where `h` is infinite, too.
    pub(crate) fn reversing<S: State>(self, x: &S, x0: &S, eta: f64) -> (S, f64) {
        let Self { from, to } = self;
        let shrinkage = self.shrinkage();
        let keep = to.sigma / from.sigma * shrinkage.powf(eta);
        let mean = x.combine(keep, x0, to.alpha * (1.0 - shrinkage.powf(1.0 + eta)));
        (mean, to.sigma * (1.0 - shrinkage.powf(2.0 * eta)).sqrt())
    }

    /// The level half-way in `log r`.
    ///
    /// An ancestral step's is the next level of the grid. It is moved by less than any accuracy that matters,
    /// so that rounding does not decide whether it is taken for that level (see [`crate::Grid::told`]).
    pub(crate) fn middle(self, path: Path) -> NoiseLevel {
        path.at_ratio((self.from.ratio() * self.to.ratio()).sqrt() * (1.0 + 1e-12))
    }

    /// An ancestral step: down to less noise than its end has, and the standard deviation of the fresh
    /// noise that makes up for it, `eta` times the posterior's:
    /// `up = min(sigma', eta sigma' sqrt(1 - (r' / r)^2))`, `down = sqrt(sigma'^2 - up^2)`
    /// (`get_ancestral_step` in k-diffusion).
    pub(crate) fn ancestral(self, eta: f64) -> (Self, f64) {
        let NoiseLevel { alpha, sigma } = self.to;
        let shrinkage = self.shrinkage();
        let up = sigma * (eta * ((1.0 - shrinkage) * (1.0 + shrinkage)).sqrt()).min(1.0);
        let down = NoiseLevel { alpha, sigma: ((sigma - up) * (sigma + up)).sqrt() };
        (Self { from: self.from, to: down }, up)
    }

    /// Whether `sampler`, which divides by `alpha`, can start here.
    ///
    /// # Errors
    /// A start without signal, with the samplers that can.
    pub(crate) fn has_signal(self, sampler: &str) -> Result<(), SamplerError> {
        if self.from.alpha > 0.0 {
            return Ok(());
        }
        Err(SamplerError::Unsuitable(format!(
            "{sampler}: expected a first level with some signal, found alpha = 0 (zero terminal SNR, or \
             the start of a flow); ddpm, ddim, euler, euler_a, lms, \
             dpmpp_2m, unipc and ode, among others, can start there"
        )))
    }
}

impl<S: State> Run<'_, S> {
    /// `x` with fresh noise of this standard deviation; where that is 0, none is drawn.
    pub(crate) fn stirred(&mut self, x: S, std: f64) -> S {
        match std {
            0.0 => x,
            _ => x.combine(1.0, &self.fresh_noise(&x), std),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denoiser::slope;

    fn interval(path: Path) -> Interval {
        Interval { from: path.at_ratio(3.0), to: path.at_ratio(1.2) }
    }

    const PATHS: [Path; 4] = [
        Path::VariancePreserving,
        Path::SubVariancePreserving,
        Path::VarianceExploding,
        Path::Flow,
    ];

    #[test]
    fn holding_x0_is_going_along_its_slope() {
        let (x, x0) = (vec![0.3, -2.0], vec![0.8, 0.1]);
        for interval in PATHS.map(interval) {
            let held = interval.holding(&x, &x0);
            let along = interval.along(&x, &slope(&x, interval.from, &x0));
            assert!(held.iter().zip(&along).all(|(a, b)| (a - b).abs() < 1e-14));
        }
    }

    #[test]
    fn an_ancestral_step_ends_at_its_level() {
        for interval in PATHS.map(interval) {
            for eta in [0.0, 0.3, 1.0] {
                let (down, up) = interval.ancestral(eta);
                let sigma = down.to.sigma.hypot(up);
                assert!((sigma - interval.to.sigma).abs() < 1e-14, "{sigma}");
            }
            // What is left of eps is the posterior's coefficient of x_t (DDPM, Eq. 7) times sigma.
            let (down, up) = interval.ancestral(1.0);
            let q = sumi_process::Posterior::between(interval.from, interval.to);
            assert!((up * up - q.variance).abs() < 1e-14);
            assert!((down.to.sigma - q.coef_xt * interval.from.sigma).abs() < 1e-14);
            assert_eq!(interval.ancestral(0.0), (interval, 0.0));
        }
    }

    #[test]
    fn the_middle_is_the_geometric_mean() {
        let middle = interval(Path::Flow).middle(Path::Flow);
        assert!((middle.ratio() - 3.6_f64.sqrt()).abs() < 1e-11);
        assert_eq!(middle.alpha + middle.sigma, 1.0);
    }
}
