//! Every sampler, and what there is to know about it.

use crate::{Convention, Run, SamplerError, State, ddim, ddpm, ode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;
use sumi_process::{Path, ReverseVariance};

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
    /// The probability-flow ODE with steps as the error asks for, see [`ode`].
    Ode {
        /// The error of a step, relative and absolute.
        tolerance: f64,
    },
}

impl Sampler {
    /// Every sampler with its usual settings and with the others that are worth a test, for whoever has
    /// to try them all.
    pub fn all() -> Vec<Self> {
        let usual = CATALOG.iter().map(|entry| entry.sampler);
        let others =
            [Self::Ddpm { variance: ReverseVariance::FixedLarge }, Self::Ddim { eta: 1.0 }];
        usual.chain(others).collect()
    }

    /// Runs the film backwards: takes `x`, noise at the grid's first level, to data.
    ///
    /// # Errors
    /// The denoiser's, a grid that the sampler cannot serve, or the observer's wish to stop.
    pub fn sample<S: State>(self, x: S, run: &mut Run<'_, S>) -> Result<S, SamplerError> {
        match self {
            Self::Ddpm { variance } => ddpm(x, run, variance),
            Self::Ddim { eta } => ddim(x, run, eta),
            Self::Ode { tolerance } => ode(x, run, tolerance),
        }
    }

    /// What the catalog says about it.
    pub fn entry(self) -> &'static Entry {
        let same = |entry: &&Entry| {
            std::mem::discriminant(&entry.sampler) == std::mem::discriminant(&self)
        };
        CATALOG.iter().find(same).unwrap_or(&CATALOG[0])
    }

    /// Whether these settings draw fresh noise.
    pub fn adds_noise(self) -> bool {
        match self {
            Self::Ddim { eta } => eta > 0.0,
            _ => self.entry().order.is_none(),
        }
    }

    /// Whether it takes steps of its own between the levels of the grid, as its error asks for. Its error
    /// falls with its tolerance and not with the steps, and a sample depends on its batch within it.
    pub fn is_adaptive(self) -> bool {
        matches!(self, Self::Ode { .. })
    }

    /// The same sampler with another `eta`, the share of ancestral noise; `None` where it has none.
    pub fn with_eta(self, eta: f64) -> Option<Self> {
        match self {
            Self::Ddim { .. } => Some(Self::Ddim { eta }),
            _ => None,
        }
    }
}

/// What there is to know about a sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The name on the command line.
    pub name: &'static str,
    /// It with its usual settings.
    pub sampler: Sampler,
    /// Where it was published, with the equation or algorithm.
    pub paper: &'static str,
    /// The power of the step size with which its error falls; `None` where it adds noise, so that only
    /// its distribution converges.
    pub order: Option<u32>,
    /// How often it asks the network at each step but the last.
    pub calls_per_step: u32,
    /// How many steps it takes where nothing is said; `None` is as many as the model has timesteps.
    pub usual_steps: Option<usize>,
    /// How diffusers and k-diffusion pick its steps.
    pub convention: Convention,
    /// Whether the estimate of `x_0` may be clamped under it, and if so, whether it is where nothing is
    /// said (diffusers' `clip_sample`).
    pub clips: Option<bool>,
    /// Whether the estimate of `x_0` may be thresholded under it.
    pub thresholds: bool,
    /// The paths on which it can move.
    pub serves: &'static [Path],
    /// Its scheduler in diffusers.
    pub scheduler: Option<&'static str>,
    /// What else it is called, in diffusers, k-diffusion and the WebUI.
    pub elsewhere: &'static [&'static str],
    /// When to take it, in one line.
    pub advice: &'static str,
}

/// On every path: the sampler goes by levels alone.
const EVERYWHERE: &[Path] =
    &[Path::VariancePreserving, Path::SubVariancePreserving, Path::VarianceExploding, Path::Flow];

/// Every sampler, in the order in which a user reads of them.
pub const CATALOG: &[Entry] = &[
    Entry {
        name: "ddpm",
        sampler: Sampler::Ddpm { variance: ReverseVariance::FixedSmall },
        paper: "Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models, Algorithm 2",
        order: None,
        calls_per_step: 1,
        usual_steps: None,
        convention: Convention::Ancestral,
        clips: Some(true),
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DDPMScheduler"),
        elsewhere: &["ancestral sampling"],
        advice: "all steps for the best pictures",
    },
    Entry {
        name: "ddim",
        sampler: Sampler::Ddim { eta: 0.0 },
        paper: "Song, Meng and Ermon 2020, Denoising Diffusion Implicit Models, Eq. 12",
        order: Some(1),
        calls_per_step: 1,
        usual_steps: Some(50),
        convention: Convention::Strided,
        clips: Some(true),
        thresholds: true,
        serves: EVERYWHERE,
        scheduler: Some("DDIMScheduler"),
        elsewhere: &["DDIM"],
        advice: "good from 20 steps; deterministic unless eta says otherwise",
    },
    Entry {
        name: "ode",
        sampler: Sampler::Ode { tolerance: 1e-5 },
        paper: "Song et al. 2020, Score-Based Generative Modeling through SDEs, Eq. 13; Dormand and \
                Prince 1980, A Family of Embedded Runge-Kutta Formulae, Table 2",
        order: Some(5),
        calls_per_step: 7,
        usual_steps: Some(10),
        convention: Convention::Ratios { rounded: false },
        clips: None,
        thresholds: false,
        serves: EVERYWHERE,
        scheduler: None,
        elsewhere: &["probability flow ODE", "RK45", "Dormand-Prince"],
        advice: "the exact curve, to compare with; more calls where its tolerance asks for them",
    },
];

/// A sampler by its name in the [`CATALOG`].
#[derive(Clone, Copy)]
pub struct SamplerKind(&'static Entry);

/// There is no sampler of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found \"{found}\"; did you mean \"{nearest}\"?", names().join(", "))]
pub struct UnknownSampler {
    /// What was asked for.
    pub found: String,
    /// The name that is most like it.
    pub nearest: &'static str,
}

/// Every name in the [`CATALOG`].
pub fn names() -> Vec<&'static str> {
    CATALOG.iter().map(|entry| entry.name).collect()
}

/// "DPM++ 2M" and `dpmpp_2m` are one name.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace("++", "pp");
    name.chars().filter(|c| c.is_alphanumeric()).collect()
}

impl SamplerKind {
    /// The sampler of a name, by its own or by what it is called elsewhere; case, spaces and
    /// punctuation do not count.
    ///
    /// # Errors
    /// An unknown name, with the nearest.
    pub fn named(name: &str) -> Result<Self, UnknownSampler> {
        let wanted = plain(name);
        let own = CATALOG.iter().find(|entry| plain(entry.name) == wanted);
        let other =
            || CATALOG.iter().find(|entry| entry.elsewhere.iter().any(|n| plain(n) == wanted));
        own.or_else(other).map(Self).ok_or_else(|| {
            let likeness = |n: &&str| strsim::jaro_winkler(&wanted, &plain(n));
            let nearest = names().into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            UnknownSampler { found: name.into(), nearest: nearest.unwrap_or_default() }
        })
    }
}

impl From<Sampler> for SamplerKind {
    fn from(sampler: Sampler) -> Self {
        Self(sampler.entry())
    }
}

impl std::ops::Deref for SamplerKind {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}

impl PartialEq for SamplerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SamplerKind {}

impl fmt::Debug for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl std::str::FromStr for SamplerKind {
    type Err = UnknownSampler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name)
    }
}

impl Serialize for SamplerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for SamplerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_people_write_them() {
        for entry in CATALOG {
            assert_eq!(SamplerKind::named(entry.name).unwrap().name, entry.name);
            assert_eq!(entry.sampler.entry().name, entry.name);
            for name in entry.elsewhere {
                assert!(SamplerKind::named(name).is_ok(), "{name}");
            }
        }
        assert_eq!(SamplerKind::named("DDIM").unwrap().name, "ddim");
        let unknown = SamplerKind::named("dimm").unwrap_err();
        assert_eq!(unknown.nearest, "ddim");
        assert!(unknown.to_string().ends_with("found \"dimm\"; did you mean \"ddim\"?"));
    }
}
