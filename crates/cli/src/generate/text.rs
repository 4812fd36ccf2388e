//! What an image says about itself.

use crate::error::CliError;
use crate::generate::recipe::{KEYWORD, Lora, Recipe};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use sumi_formats::hash::{LORA_HASH_DIGITS, MODEL_HASH_DIGITS, sha256_of};
use sumi_formats::infotext::{self, Infotext};
use sumi_formats::{atomic, png_text};
use sumi_model::Plan;
use sumi_pictures::Picture;
use sumi_pipelines::Init;
use sumi_sampler::GridKind;

/// The hash of a checkpoint, which takes seconds, computed while the first image is drawn.
pub struct ModelHash {
    running: std::sync::Mutex<Option<JoinHandle<Option<String>>>>,
    done: OnceLock<Option<String>>,
}

impl ModelHash {
    /// Starts hashing.
    pub fn of(file: Option<PathBuf>) -> Self {
        let running = std::thread::spawn(move || sha256_of(&file?).ok());
        Self { running: std::sync::Mutex::new(Some(running)), done: OnceLock::new() }
    }

    /// The hash; waits for it.
    fn get(&self) -> Option<&str> {
        let wait = || self.running.lock().ok()?.take()?.join().ok()?;
        self.done.get_or_init(wait).as_deref()
    }
}

/// Writes images with what they were made from.
pub struct Writer<'a> {
    /// What they depend on.
    pub recipe: &'a Recipe,
    /// Of the checkpoint.
    pub hash: ModelHash,
    /// How they are sampled.
    pub plan: &'a Plan,
}

impl Writer<'_> {
    /// Writes an image of `seed`: pixels, the WebUI's `parameters` and the recipe, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, picture: &Picture, seed: u64, path: &Path) -> Result<(), CliError> {
        let mut recipe = Recipe { seed, ..self.recipe.clone() };
        recipe.model.sha256 = self.hash.get().map(str::to_string);
        let json = serde_json::to_string(&recipe)
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let parameters = self.parameters(&recipe).to_string();
        let texts = [(infotext::KEYWORD, parameters.as_str()), (KEYWORD, json.as_str())];
        let bytes = png_text::insert(&picture.png_bytes(), &texts)?;
        Ok(atomic::write_bytes(path, &bytes)?)
    }

    /// Whether the recipe was drawn from another checkpoint than this.
    pub fn model_changed(&self) -> bool {
        let noted = self.recipe.model.sha256.as_deref();
        noted.is_some_and(|noted| self.hash.get().is_some_and(|found| found != noted))
    }

    /// The fields that WebUI users know.
    fn parameters(&self, recipe: &Recipe) -> Infotext {
        let entry = self.plan.sampler.entry();
        let sampler = entry.webui().unwrap_or(entry.name);
        let mut fields: Vec<(&str, String)> =
            vec![("Steps", recipe.steps.to_string()), ("Sampler", sampler.into())];
        if let Some(kind) = recipe.grid().and_then(GridKind::webui) {
            fields.push(("Schedule type", kind.into()));
        }
        fields.push(("CFG scale", recipe.guidance.to_string()));
        fields.push(("Seed", recipe.seed.to_string()));
        if let (Some(width), Some(height)) = (recipe.width, recipe.height) {
            fields.push(("Size", format!("{width}x{height}")));
        }
        if let Some(hash) = &recipe.model.sha256 {
            fields.push(("Model hash", short(hash, MODEL_HASH_DIGITS)));
        }
        fields.push(("Model", stem(&recipe.model.path)));
        if recipe.init.is_some() {
            let strength = recipe.strength.unwrap_or(Init::usual_strength(recipe.mask.is_some()));
            fields.push(("Denoising strength", strength.to_string()));
        }
        if recipe.clip_skip > 0 {
            // The WebUI counts the layer that it takes, from the end.
            fields.push(("Clip skip", (recipe.clip_skip + 1).to_string()));
        }
        if let Some(eta) = recipe.eta {
            fields.push(("Eta", eta.to_string()));
        }
        if !recipe.loras.is_empty() {
            let hash = |lora: &Lora| {
                let hash = lora.file.sha256.as_deref().unwrap_or_default();
                format!("{}: {}", stem(&lora.file.path), short(hash, LORA_HASH_DIGITS))
            };
            let hashes: Vec<_> = recipe.loras.iter().map(hash).collect();
            fields.push(("Lora hashes", hashes.join(", ")));
        }
        fields.push(("Version", format!("Sumi {}", recipe.sumi_version)));
        let prompt = recipe.loras.iter().fold(recipe.prompt.clone(), |prompt, lora| {
            format!("{prompt} <lora:{}:{}>", stem(&lora.file.path), lora.weight)
        });
        Infotext::new(&prompt, recipe.negative.as_deref().unwrap_or_default(), fields)
    }
}

fn short(hash: &str, digits: usize) -> String {
    hash.chars().take(digits).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
