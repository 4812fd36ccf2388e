//! LoRAs beside a pipeline's weights.

use crate::{Pipeline, Result, TextEncoder};
use std::path::{Path, PathBuf};
use sumi_formats::lora::{Part, Targets, read, resolve};
use sumi_model::{attach_lora, lora_targets};

/// What of a LoRA file a pipeline has a place for.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedLora {
    /// The file: of a folder, the one in it.
    pub file: PathBuf,
    /// How many layers have an adapter now.
    pub matched: usize,
    /// The keys that are left out, each with the reason.
    pub unmatched: Vec<String>,
}

/// The text encoders in the order of the pipeline's.
const TEXT_PARTS: [Part; 2] = [Part::TextEncoder, Part::TextEncoder2];

impl Pipeline {
    /// Puts the adapters of a LoRA file beside the weights that they belong to, `weight` times as strong as
    /// the file says. Weights stay as they are, so a copy of a pipeline without LoRAs costs nothing.
    ///
    /// # Errors
    /// A file that is no LoRA, one for another family of models, one that has no place here at all.
    pub fn add_lora(&mut self, path: &Path, weight: f64) -> Result<AddedLora> {
        let file = read(path)?;
        let mut targets = Targets::new();
        lora_targets(&mut targets, Part::Unet, &self.unet);
        for (part, reader) in TEXT_PARTS.into_iter().zip(&self.readers) {
            match &reader.encoder {
                TextEncoder::Clip(clip) => lora_targets(&mut targets, part, clip),
                TextEncoder::Bert(bert) => lora_targets(&mut targets, part, bert),
                TextEncoder::T5(t5) => lora_targets(&mut targets, part, t5),
            }
        }
        let resolved = resolve(&file, &targets)?;
        attach_lora(&mut self.unet, Part::Unet, &resolved, weight)?;
        for (part, reader) in TEXT_PARTS.into_iter().zip(&mut self.readers) {
            match &mut reader.encoder {
                TextEncoder::Clip(clip) => attach_lora(clip, part, &resolved, weight)?,
                TextEncoder::Bert(bert) => attach_lora(bert, part, &resolved, weight)?,
                TextEncoder::T5(t5) => attach_lora(t5, part, &resolved, weight)?,
            };
        }
        Ok(AddedLora {
            file: file.path.clone(),
            matched: resolved.matched.len(),
            unmatched: resolved.unmatched.iter().map(ToString::to_string).collect(),
        })
    }
}
