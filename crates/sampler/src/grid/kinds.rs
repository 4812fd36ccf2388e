//! The kinds of grid that are formulas of the noise alone.

use super::Spacing;
use serde::{Deserialize, Serialize};
use statrs::function::beta::inv_beta_reg;

/// How the levels of a grid are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GridKind {
    /// [`Spacing::Leading`].
    Leading,
    /// [`Spacing::Trailing`].
    Trailing,
    /// [`Spacing::Linspace`].
    Linspace,
    /// Evenly in `ratio^(1/rho)`, with `rho` = 7 (Karras et al., Elucidating the Design Space, Eq. 5).
    Karras,
    /// Evenly in the logarithm of the ratio.
    Exponential,
    /// The logarithm of the ratio falls as the power `rho` of the way that is left; at k-diffusion's
    /// own `rho` = 1 this is [`Self::Exponential`], and above 1 more steps lie where there is little
    /// noise.
    Polyexponential,
    /// The quantiles of a Beta(0.6, 0.6), dense at both ends (Lee et al., Beta Sampling is All You
    /// Need).
    Beta,
    /// Tuned for Stable Diffusion 1.x (Sabour et al., Align Your Steps, Table 4), between its ten
    /// steps by log-linear interpolation.
    AlignYourSteps,
    /// Evenly in time from the last timestep towards the first, without it (the WebUI's SGM Uniform).
    SgmUniform,
    /// Every so many timesteps, counted down from the last (ComfyUI).
    Simple,
}

impl GridKind {
    /// All of them, with the name on the command line and where the levels lie in a few words.
    pub const ALL: [(Self, &'static str, &'static str); 10] = [
        (
            Self::Leading,
            "leading",
            "every so many timesteps from the first; stops short of the last",
        ),
        (Self::Trailing, "trailing", "every so many timesteps from the last"),
        (Self::Linspace, "linspace", "evenly from the last timestep to the first, both included"),
        (Self::Karras, "karras", "evenly in sigma^(1/rho), rho = 7; good with few steps"),
        (Self::Exponential, "exponential", "evenly in log sigma"),
        (Self::Polyexponential, "polyexponential", "log sigma falls as the power rho of the way"),
        (Self::Beta, "beta", "quantiles of a beta distribution over sigma; dense at both ends"),
        (Self::AlignYourSteps, "align-your-steps", "tuned for Stable Diffusion 1.x"),
        (Self::SgmUniform, "sgm-uniform", "evenly in time, without the first timestep"),
        (Self::Simple, "simple", "every so many timesteps, counted down from the last"),
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// The spacing of timesteps that it is, where it is one.
    pub fn spacing(self) -> Option<Spacing> {
        match self {
            Self::Leading => Some(Spacing::Leading),
            Self::Trailing => Some(Spacing::Trailing),
            Self::Linspace => Some(Spacing::Linspace),
            _ => None,
        }
    }

    /// `steps` ratios `sigma / alpha` from `high` to `low`, both included, for the kinds that are a
    /// formula of these; `None` for those that go by timesteps. One step alone is `high`. `rho` is the
    /// published exponent where nothing is said.
    pub(super) fn ratios(
        self,
        steps: usize,
        (high, low): (f64, f64),
        rho: Option<f64>,
    ) -> Option<Vec<f64>> {
        let last = steps.saturating_sub(1).max(1) as f64;
        let ramp = (0..steps).map(|i| i as f64 / last);
        let between = |w: f64| high.ln() + (low.ln() - high.ln()) * w;
        Some(match self {
            Self::Karras => {
                let rho = rho.unwrap_or(KARRAS_RHO);
                let root = |ratio: f64| ratio.powf(1.0 / rho);
                ramp.map(|w| (root(high) + w * (root(low) - root(high))).powf(rho)).collect()
            }
            Self::Exponential => ramp.map(|w| between(w).exp()).collect(),
            Self::Polyexponential => {
                let rho = rho.unwrap_or(1.0);
                ramp.map(|w| between(1.0 - (1.0 - w).powf(rho)).exp()).collect()
            }
            Self::Beta => ramp
                .map(|w| match w {
                    0.0 => high,
                    1.0 => low,
                    _ => low + (high - low) * inv_beta_reg(BETA_SHAPE, BETA_SHAPE, 1.0 - w),
                })
                .collect(),
            Self::AlignYourSteps => align_your_steps(steps),
            _ => return None,
        })
    }
}

/// The published exponent (Elucidating the Design Space, Table 1).
const KARRAS_RHO: f64 = 7.0;
/// The paper's parameters, both of them, and diffusers'.
const BETA_SHAPE: f64 = 0.6;

/// The levels of ten steps for Stable Diffusion 1.5 (Align Your Steps, quick-start guide), without the
/// clean end.
const ALIGN_YOUR_STEPS: [f64; 11] =
    [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];

/// The published levels at `steps` places by log-linear interpolation; the last of them is left out,
/// because the walk goes from there to no noise.
fn align_your_steps(steps: usize) -> Vec<f64> {
    let last = (ALIGN_YOUR_STEPS.len() - 1) as f64;
    (0..steps)
        .map(|i| {
            let at = last * i as f64 / steps as f64;
            let below = (at.floor() as usize).min(ALIGN_YOUR_STEPS.len() - 2);
            let (a, b) = (ALIGN_YOUR_STEPS[below].ln(), ALIGN_YOUR_STEPS[below + 1].ln());
            (a + (b - a) * (at - below as f64)).exp()
        })
        .collect()
}

/// The first of the published levels: the noise of a model that they are for.
pub(super) const ALIGN_YOUR_STEPS_FIRST: f64 = ALIGN_YOUR_STEPS[0];

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64], bound: f64) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f / e - 1.0).abs() < bound, "{found:?} are not {expected:?}");
        }
    }

    #[test]
    fn karras_levels_of_stable_diffusion_and_edm() {
        let sd = GridKind::Karras.ratios(10, (14.6146412293, 0.0291671582), None).unwrap();
        let published = [
            14.614641, 9.102928, 5.478392, 3.168603, 1.749417, 0.914072, 0.446918, 0.201398,
            0.08191, 0.029167,
        ];
        close(&sd, &published, 2e-5);
        let edm = GridKind::Karras.ratios(18, (80.0, 0.002), None).unwrap();
        close(&edm[..3], &[80.0, 57.585985, 40.785574], 1e-7);
        close(&edm[15..], &[0.022935, 0.007528, 0.002], 1e-4);
    }

    #[test]
    fn the_beta_quantiles_are_scipys() {
        // scipy.stats.beta.ppf(q, 0.6, 0.6) of scipy 1.17.1.
        let quantiles = [0.03958440558878085, 0.17568037865269498, 0.5, 0.824319621347305];
        for (q, expected) in [0.1, 0.25, 0.5, 0.75].into_iter().zip(quantiles) {
            assert!((inv_beta_reg(0.6, 0.6, q) - expected).abs() < 1e-9, "{q}");
        }
    }

    #[test]
    fn every_formula_falls_between_its_ends() {
        for (kind, name, _) in GridKind::ALL {
            for steps in [1, 2, 5, 40] {
                let Some(ratios) = kind.ratios(steps, (14.615, 0.029), None) else { continue };
                assert_eq!(ratios.len(), steps, "{name}");
                assert!((ratios[0] - 14.615).abs() < 1e-9, "{name}");
                assert!(ratios.windows(2).all(|w| w[1] < w[0]), "{name}: {ratios:?}");
                assert!(ratios[steps - 1] >= 0.029 - 1e-9, "{name}");
            }
        }
    }
}
