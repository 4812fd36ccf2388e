//! Text encoders by the name of their class.

use crate::{PipelineError, Result};
use burn::tensor::Tensor;
use sumi_networks::bert::BertModel;
use sumi_networks::clip::ClipTextModel;
use sumi_networks::t5::T5Encoder;
use sumi_text::Tokenizer;

/// A text encoder of one of the published kinds.
#[derive(Clone, Debug)]
pub enum TextEncoder {
    /// `CLIPTextModel` and `CLIPTextModelWithProjection`.
    Clip(ClipTextModel),
    /// `BertModel`, as Taiyi has it.
    Bert(BertModel),
    /// `T5EncoderModel`.
    T5(T5Encoder),
}

/// Which of a text encoder's layers the denoiser was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The last one, normalised.
    Last,
    /// The one before the last, as it is (Podell et al., SDXL, section 2.1).
    Penultimate,
}

/// What an encoder says about a batch of chunks.
pub(crate) struct Encoded {
    /// `[N, T, D]`.
    pub hidden: Tensor<3>,
    /// One vector for each chunk, projected: `[N, P]`.
    pub pooled: Option<Tensor<2>>,
}

/// T5 takes any length; the published pipelines cut here.
const T5_LENGTH: usize = 512;

impl TextEncoder {
    /// The most ids that it takes.
    pub(crate) fn max_length(&self) -> usize {
        match self {
            Self::Clip(clip) => clip.text_model.embeddings.position_embedding.entries(),
            Self::Bert(bert) => bert.embeddings.position_embeddings.entries(),
            Self::T5(_) => T5_LENGTH,
        }
    }

    /// Encodes chunks of ids, leaving out `skip` layers beyond what `layer` says.
    pub(crate) fn encode(&self, ids: &[Vec<u32>], layer: Layer, skip: usize) -> Result<Encoded> {
        let failed = |error: &dyn std::fmt::Display| PipelineError::network("text_encoder", error);
        if skip > 0 && !matches!(self, Self::Clip(_)) {
            return Err(PipelineError::request(
                "clip-skip",
                "0 for a text encoder that is not CLIP's",
                skip,
            ));
        }
        Ok(match self {
            Self::Clip(clip) => {
                let said = clip.forward(ids, None).map_err(|error| failed(&error))?;
                let back = |skip: usize| {
                    said.before_last(skip).ok_or_else(|| {
                        let most = said.hidden_states.len() - 1;
                        let expected = format!("up to {most}, as many as the text encoder has");
                        PipelineError::request("clip-skip", expected, skip)
                    })
                };
                let hidden = match (layer, skip) {
                    (Layer::Last, 0) => said.last_hidden_state.clone(),
                    (Layer::Last, skip) => clip.final_layer_norm(back(skip)?),
                    (Layer::Penultimate, skip) => back(skip + 1)?,
                };
                Encoded { hidden, pooled: said.text_embeds }
            }
            // Published pipelines let these see the padding too: no mask is handed on.
            Self::Bert(bert) => {
                let said = bert.forward(ids, None).map_err(|error| failed(&error))?;
                Encoded { hidden: said.last_hidden_state, pooled: None }
            }
            Self::T5(t5) => {
                let hidden = t5.forward(ids, None).map_err(|error| failed(&error))?;
                Encoded { hidden, pooled: None }
            }
        })
    }
}

/// A text encoder with the tokenizer that belongs to it.
#[derive(Debug)]
pub(crate) struct Reader {
    pub tokenizer: Tokenizer,
    /// Ids to a chunk.
    pub max_length: usize,
    pub encoder: TextEncoder,
}
