//! Prompts as the denoiser takes them.

use crate::prompt;
use crate::{Pipeline, PipelineError, Prompts, Result};
use burn::tensor::Tensor;
use sumi_model::Network;
use sumi_networks::unet_condition::{Extra, UNetCondition};
use sumi_sampler::SamplerError;

/// What a denoiser is told about one picture.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// The words, `[1, T, D]`.
    pub embeds: Tensor<3>,
    /// The whole prompt in one vector, `[1, P]`, where the denoiser wants it.
    pub pooled: Option<Tensor<2>>,
}

impl Conditioning {
    fn zeros(&self) -> Self {
        Self {
            embeds: self.embeds.zeros_like(),
            pooled: self.pooled.as_ref().map(Tensor::zeros_like),
        }
    }
}

/// A part of a prompt that a text encoder does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// "prompt" or "negative prompt".
    pub which: &'static str,
    /// What is lost.
    pub text: String,
}

/// The prompt, what it is guided away from, and what was cut off.
pub(crate) struct Both {
    pub with: Conditioning,
    /// Where there is guidance.
    pub without: Option<Conditioning>,
    pub cut: Vec<Cut>,
}

impl Pipeline {
    /// Encodes the prompts.
    pub(crate) fn encode(&self, prompts: &Prompts, guided: bool) -> Result<Both> {
        let zeros = prompts.negative.is_none() && self.zeros_for_empty_prompt;
        let negative = guided.then(|| prompts.negative.as_deref().unwrap_or_default());
        let mut cut = Vec::new();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for reader in &self.readers {
            let mut words = prompt::read(reader, &prompts.prompt, prompts.plain)?;
            let mut against = match negative {
                Some(text) => Some(prompt::read(reader, text, prompts.plain)?),
                None => None,
            };
            if let Some(against) = &mut against {
                prompt::level(reader, &mut words, against)?;
            }
            with.push(words.encode(reader, self.layer, prompts.clip_skip)?);
            // As in diffusers, what is guided away from goes through all layers.
            let against_said = against.as_ref().map(|words| words.encode(reader, self.layer, 0));
            without.extend(against_said.transpose()?);
            for (which, words) in [("prompt", Some(&words)), ("negative prompt", against.as_ref())]
            {
                let lost = words.and_then(|words| words.cut.clone());
                cut.extend(lost.map(|text| Cut { which, text }));
            }
        }
        cut.dedup();
        let with = join(with);
        let without = match (guided, zeros) {
            (false, _) => None,
            (true, true) => Some(with.zeros()),
            (true, false) => Some(join(without)),
        };
        Ok(Both { with, without, cut })
    }
}

/// The words of several encoders side by side, and the last one's summary.
fn join(parts: Vec<Conditioning>) -> Conditioning {
    let pooled = parts.iter().rev().find_map(|part| part.pooled.clone());
    let mut embeds: Vec<Tensor<3>> = parts.into_iter().map(|part| part.embeds).collect();
    let embeds = match embeds.len() {
        1 => embeds.swap_remove(0),
        _ => Tensor::cat(embeds, 2),
    };
    Conditioning { embeds, pooled }
}

/// A U-Net over latents with everything that it is told: a network like any other.
#[derive(Clone)]
pub(crate) struct Told<'a> {
    pub unet: &'a UNetCondition,
    /// `[N, T, D]`.
    pub context: Tensor<3>,
    pub extra: Extra,
    /// What stands beside the latents in the channels, `[1, C, h, w]`.
    pub beside: Option<Tensor<4>>,
}

impl Network for Told<'_> {
    fn output(
        &self,
        input: Tensor<4>,
        times: &[f32],
    ) -> std::result::Result<Tensor<4>, SamplerError> {
        let n = input.dims()[0];
        let input = match &self.beside {
            Some(beside) => Tensor::cat(vec![input, beside.clone().repeat_dim(0, n)], 1),
            None => input,
        };
        self.unet.forward(input, times, self.context.clone(), &self.extra).map_err(|error| {
            SamplerError::Denoiser(Box::new(PipelineError::network("unet", error)))
        })
    }
}
