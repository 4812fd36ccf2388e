//! LoRAs beside a pipeline's weights.

use crate::{Pipeline, PipelineError, Result, TextEncoder};
use std::path::Path;
use sumi_formats::lora::{Part, Targets, read, resolve};
use sumi_nn::{AdapterValues, attach, layer_shapes};

/// What of a LoRA file a pipeline has a place for.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedLora {
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
        targets.add(Part::Unet, layer_shapes(&self.unet));
        for (part, reader) in TEXT_PARTS.into_iter().zip(&self.readers) {
            if let TextEncoder::Clip(clip) = &reader.encoder {
                targets.add(part, layer_shapes(clip));
            }
        }
        let resolved = resolve(&file, &targets)?;
        let adapters = |part: Part| -> Result<Vec<(String, AdapterValues)>> {
            let of_part = resolved.matched.iter().filter(|matched| matched.part == part);
            of_part
                .map(|matched| {
                    let values = matched.values()?;
                    let scale = values.scale * weight;
                    let (rank, down, up) = (values.rank, values.down, values.up);
                    let magnitude = values.magnitude;
                    Ok((matched.module.clone(), AdapterValues { rank, down, up, magnitude, scale }))
                })
                .collect()
        };
        let failed = |error| PipelineError::network("lora", error);
        attach(&mut self.unet, adapters(Part::Unet)?).map_err(failed)?;
        for (part, reader) in TEXT_PARTS.into_iter().zip(&mut self.readers) {
            if let TextEncoder::Clip(clip) = &mut reader.encoder {
                attach(clip, adapters(part)?).map_err(failed)?;
            }
        }
        Ok(AddedLora {
            matched: resolved.matched.len(),
            unmatched: resolved.unmatched.iter().map(ToString::to_string).collect(),
        })
    }
}
