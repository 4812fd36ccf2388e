//! From a prompt to what a text encoder makes of it.

use crate::encoder::{Encoded, Layer, Reader};
use crate::{Conditioning, Result};
use burn::tensor::{Tensor, TensorData};
use sumi_text::{Chunk, chunks, pad_chunks};

/// A prompt in chunks of ids.
pub(crate) struct Words {
    pub chunks: Vec<Chunk>,
    /// What was too long.
    pub cut: Option<String>,
}

/// Reads a prompt: as it stands, cut to the encoder's length, or with weights, in as many chunks as it
/// takes.
pub(crate) fn read(reader: &Reader, text: &str, plain: bool) -> Result<Words> {
    if !plain {
        return Ok(Words {
            chunks: chunks(&reader.tokenizer, text, reader.max_length)?,
            cut: None,
        });
    }
    let encoding = reader.tokenizer.encode(text, reader.max_length)?;
    let weights = vec![1.0; encoding.ids.len()];
    Ok(Words { chunks: vec![Chunk { ids: encoding.ids, weights }], cut: encoding.cut })
}

/// Fills the shorter of two prompts up with empty chunks: guidance subtracts them token by token.
pub(crate) fn level(reader: &Reader, a: &mut Words, b: &mut Words) -> Result<()> {
    Ok(pad_chunks(&reader.tokenizer, &mut a.chunks, &mut b.chunks, reader.max_length)?)
}

impl Words {
    /// Chunk after chunk through the encoder, each token scaled by its weight.
    ///
    /// Where any weight is not 1, the mean over the whole is put back to what it was, which is what
    /// the WebUI's users have tuned their weights to.
    pub(crate) fn encode(
        &self,
        reader: &Reader,
        layer: Layer,
        skip: usize,
    ) -> Result<Conditioning> {
        let mut parts = Vec::new();
        let mut pooled = None;
        for Chunk { ids, weights } in &self.chunks {
            let Encoded { hidden, pooled: summary } =
                reader.encoder.encode(std::slice::from_ref(ids), layer, skip)?;
            pooled = pooled.or(summary);
            let weighted = weights.iter().any(|&weight| weight != 1.0);
            parts.push(if weighted { scale(hidden, weights) } else { hidden });
        }
        let embeds = match parts.len() {
            1 => parts.swap_remove(0),
            _ => Tensor::cat(parts, 1),
        };
        Ok(Conditioning { embeds, pooled })
    }
}

fn scale(hidden: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    let data = TensorData::new(weights.to_vec(), [1, weights.len(), 1]);
    let scaled = hidden.clone() * Tensor::from_data(data, &hidden.device());
    let mean = |x: Tensor<3>| x.mean().reshape([1, 1, 1]);
    let factor = mean(hidden) / mean(scaled.clone());
    scaled * factor
}
