//! Everything that an image depends on: read from the command, written into the image, and read back from
//! it.

use crate::args::{Dtype, GenerateArgs, Rng};
use crate::error::CliError;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use sumi_formats::png_text;
use sumi_model::SamplerChoice;
use sumi_sampler::{GridKind, SamplerKind};

/// Under which keyword a PNG carries it.
pub const KEYWORD: &str = "sumi";
const STEPS: usize = 50;
const GUIDANCE: f64 = 7.5;
/// As many seeds as the WebUI knows.
const SEED_BITS: u32 = 32;

/// A file, and what it held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub path: PathBuf,
    /// SHA-256 of its bytes, of a LoRA's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A LoRA and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    pub file: Source,
    pub weight: f64,
}

/// Everything that one image depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub sumi_version: String,
    pub model: Source,
    pub prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    pub plain_prompt: bool,
    pub clip_skip: usize,
    pub seed: u64,
    pub rng: Rng,
    /// The model's own where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid_rho: Option<f64>,
    pub steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    pub guidance: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub loras: Vec<Lora>,
    pub dtype: Dtype,
    pub vae_tiling: bool,
}

impl Source {
    /// The file at `path`, by its full name, so that the recipe holds wherever the command runs next.
    fn new(path: &Path) -> Self {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Self { path, sha256: None }
    }

    /// Notes what the file holds, or holds it against what was noted when an image was drawn from it.
    ///
    /// # Errors
    /// Another file than then.
    pub fn pin(&mut self, found: String, option: &str) -> Result<(), CliError> {
        match &self.sha256 {
            Some(noted) if *noted != found => Err(CliError::Failed(format!(
                "{}: expected what --{option} named when the image was drawn, found another file \
                 (name one with --{option})",
                self.path.display()
            ))),
            _ => {
                self.sha256 = Some(found);
                Ok(())
            }
        }
    }
}

impl Recipe {
    /// What the command asks for, on top of the image that `--from` names.
    ///
    /// # Errors
    /// An image that carries no recipe, a mask without a picture.
    pub fn of(args: &GenerateArgs) -> Result<Self, CliError> {
        let base = args.from.as_deref().map(Self::read).transpose()?;
        let named = |given: &Option<PathBuf>| given.as_deref().map(Source::new);
        let missing = |option| CliError::Usage(format!("{option}: expected one, found none"));
        let Some(mut recipe) = base.or_else(|| Self::fresh(args)) else {
            return Err(missing("--model and --prompt"));
        };
        let seed = args.seed.unwrap_or(recipe.seed);
        recipe = Self { sumi_version: env!("CARGO_PKG_VERSION").into(), seed, ..recipe };
        let set = |to: &mut Option<String>, name: Option<&str>| {
            if let Some(name) = name {
                *to = Some(name.to_string());
            }
        };
        set(&mut recipe.sampler, args.sampler.map(|kind| kind.name));
        set(&mut recipe.grid_kind, args.grid_kind.and_then(grid_name));
        if let Some(model) = named(&args.model) {
            recipe.model = model;
        }
        recipe.prompt = args.prompt.clone().unwrap_or(recipe.prompt);
        recipe.negative = args.negative.clone().or(recipe.negative);
        recipe.plain_prompt |= args.plain_prompt;
        recipe.clip_skip = args.clip_skip.unwrap_or(recipe.clip_skip);
        recipe.rng = args.rng.unwrap_or(recipe.rng);
        recipe.grid_rho = args.grid_rho.or(recipe.grid_rho);
        recipe.steps = args.steps.unwrap_or(recipe.steps);
        recipe.eta = args.eta.or(recipe.eta);
        recipe.guidance = args.guidance.unwrap_or(recipe.guidance);
        recipe.width = args.width.or(recipe.width);
        recipe.height = args.height.or(recipe.height);
        recipe.init = named(&args.start.init).or(recipe.init);
        recipe.mask = named(&args.start.mask).or(recipe.mask);
        recipe.strength = args.start.strength.or(recipe.strength);
        if !args.lora.is_empty() {
            let loras = args.lora.iter();
            recipe.loras = loras
                .map(|lora| Lora { file: Source::new(&lora.path), weight: lora.weight })
                .collect();
        }
        recipe.dtype = args.dtype.unwrap_or(recipe.dtype);
        recipe.vae_tiling |= args.vae_tiling;
        for (option, given) in
            [("--mask", recipe.mask.is_some()), ("--strength", recipe.strength.is_some())]
        {
            if given && recipe.init.is_none() {
                return Err(CliError::Usage(format!("{option}: expected --init with it")));
            }
        }
        Ok(recipe)
    }

    /// Model and prompt, and the usual values for everything else.
    fn fresh(args: &GenerateArgs) -> Option<Self> {
        Some(Self {
            sumi_version: String::new(),
            model: Source::new(args.model.as_deref()?),
            prompt: args.prompt.clone()?,
            negative: None,
            plain_prompt: false,
            clip_skip: 0,
            seed: random_seed(),
            rng: Rng::default(),
            sampler: None,
            grid_kind: None,
            grid_rho: None,
            steps: STEPS,
            eta: None,
            guidance: GUIDANCE,
            width: None,
            height: None,
            init: None,
            mask: None,
            strength: None,
            loras: Vec::new(),
            dtype: Dtype::default(),
            vae_tiling: false,
        })
    }

    /// The recipe that a PNG carries.
    fn read(path: &Path) -> Result<Self, CliError> {
        let texts = png_text::read(path)?;
        let found = texts.iter().find(|(keyword, _)| keyword == KEYWORD);
        let Some((_, json)) = found else {
            let other = texts.iter().any(|(keyword, _)| keyword == "parameters");
            return Err(CliError::Failed(format!(
                "{}: expected a PNG that sumi generate wrote, found one without its recipe{}",
                path.display(),
                if other { " (it carries the WebUI's parameters: see sumi inspect)" } else { "" }
            )));
        };
        serde_json::from_str(json).map_err(|error| {
            CliError::Failed(format!("{}: its recipe cannot be read: {error}", path.display()))
        })
    }

    /// The kind of grid that it names, where it names one that exists.
    pub fn grid(&self) -> Option<GridKind> {
        let name = self.grid_kind.as_deref()?;
        GridKind::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(kind, ..)| kind)
    }

    /// Sampler, steps and grid.
    ///
    /// # Errors
    /// A recipe that names what does not exist.
    pub fn choice(&self) -> Result<SamplerChoice, CliError> {
        let unknown = |what: &str, name: &str| {
            CliError::Usage(format!("{what}: expected one that exists, found {name}"))
        };
        let kind = self.sampler.as_deref().map(|name| {
            SamplerKind::named(name).map_err(|error| CliError::Usage(format!("--sampler: {error}")))
        });
        let grid = self.grid_kind.as_deref();
        let grid = grid.map(|name| self.grid().ok_or_else(|| unknown("--grid-kind", name)));
        Ok(SamplerChoice {
            kind: kind.transpose()?,
            steps: Some(self.steps),
            eta: self.eta,
            grid: grid.transpose()?,
            rho: self.grid_rho,
            ..SamplerChoice::default()
        })
    }
}

fn grid_name(kind: GridKind) -> Option<&'static str> {
    GridKind::ALL.into_iter().find(|(known, ..)| *known == kind).map(|(_, name, _)| name)
}

/// From the system's own random state.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> (u64::BITS - SEED_BITS)
}
