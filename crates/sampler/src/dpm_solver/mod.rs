//! The DPM-Solvers: exponential integrators in half the log signal-to-noise ratio.

mod multistep;
mod singlestep;

pub use multistep::dpm_solver;
pub use singlestep::dpm_solver_singlestep;

use sumi_process::NoiseLevel;

/// Which equation a DPM-Solver integrates, and in which of the network's two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The probability-flow ODE by the noise (Lu et al., DPM-Solver, Eq. 3.4).
    DpmSolver,
    /// The probability-flow ODE by the data (Lu et al., DPM-Solver++, Eq. 8): steady where guidance
    /// is strong.
    DpmSolverPp,
    /// The reverse SDE by the noise (DPM-Solver++, on diffusion SDEs).
    SdeDpmSolver,
    /// The reverse SDE by the data (DPM-Solver++, on diffusion SDEs).
    SdeDpmSolverPp,
}

impl Algorithm {
    /// Whether it goes by the data, not by the noise.
    pub fn predicts_data(self) -> bool {
        matches!(self, Self::DpmSolverPp | Self::SdeDpmSolverPp)
    }

    /// Whether each step adds noise.
    pub fn adds_noise(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPp)
    }

    /// The exponent `z` and the scale `s` of the weights that a step of `h = lambda_t - lambda_s` to the
    /// level `to` has: that of a constant is `-s (e^z - 1)` in all four.
    fn exponent(self, h: f64, to: NoiseLevel) -> (f64, f64) {
        match self {
            Self::DpmSolver => (h, to.sigma),
            Self::DpmSolverPp => (-h, to.alpha),
            Self::SdeDpmSolver => (h, 2.0 * to.sigma),
            Self::SdeDpmSolverPp => (-2.0 * h, to.alpha),
        }
    }
}

/// Which of the two formulas of second order is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondOrder {
    /// The difference enters with half the weight of a constant.
    Midpoint,
    /// The difference enters with its integral.
    Heun,
}

/// The settings of the multistep DPM-Solvers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmSolver {
    /// Which equation is integrated.
    pub algorithm: Algorithm,
    /// How many of the network's words a step goes by: 1, 2 or 3.
    pub order: u32,
    /// Which formula of second order.
    pub solver: SecondOrder,
    /// Whether a walk of fewer than 15 steps ends with orders 2 and 1.
    pub lower_order_final: bool,
    /// Whether every walk ends with order 1; a step to no noise always has order 1.
    pub euler_at_final: bool,
}

impl DpmSolver {
    /// The usual settings: midpoint, with lower orders at the end of a short walk.
    pub const fn new(algorithm: Algorithm, order: u32) -> Self {
        let solver = SecondOrder::Midpoint;
        Self { algorithm, order, solver, lower_order_final: true, euler_at_final: false }
    }
}

/// `((e^z - 1) / z - 1, ((e^z - 1 - z) / z^2 - 1/2))`: what the first and the second difference weigh
/// beside a constant (DPM-Solver, Eq. B.3).
fn phi(z: f64) -> (f64, f64) {
    (z.exp_m1() / z - 1.0, (z.exp_m1() - z) / (z * z) - 0.5)
}
