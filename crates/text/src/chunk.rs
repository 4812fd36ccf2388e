//! Prompts of any length, cut into the lengths that a text encoder takes.

use crate::prompt::{BREAK, parse};
use crate::{Result, TextError, Tokenizer};

/// How far before the end of a chunk a comma may lie that the chunk is ended at, in tokens: the
/// WebUI's default.
pub const COMMA_REACH: usize = 20;

/// The most chunks of a prompt, 9,600 tokens for CLIP: each goes through the text encoder.
pub const MAX_CHUNKS: usize = 128;

/// A part of a prompt in the length that a text encoder takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Special tokens, the text's ids and padding.
    pub ids: Vec<u32>,
    /// The weight of each id; 1 for the special ones and the padding.
    pub weights: Vec<f32>,
}

/// The ids and weights of a chunk, without special tokens.
#[derive(Default)]
struct Body {
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl Body {
    fn push(&mut self, id: u32, weight: f32) {
        self.ids.push(id);
        self.weights.push(weight);
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { ids: self.ids.split_off(at), weights: self.weights.split_off(at) }
    }
}

/// Cuts a prompt with weights into chunks of `length` ids, special ones included: 77 for CLIP.
///
/// A chunk that is full is ended behind its last comma, if that is at most [`COMMA_REACH`] tokens
/// before its end, and `BREAK` ends a chunk. An empty prompt is one chunk.
///
/// ```
/// use sumi_text::{ClipPad, Tokenizer, chunks};
///
/// let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
/// let chunks = chunks(&tokenizer, "a (red:1.5) hat", 77).unwrap();
/// assert_eq!(chunks.len(), 1);
/// assert_eq!(chunks[0].ids[..6], [49406, 320, 736, 3801, 49407, 49407]);
/// assert_eq!(chunks[0].weights[..5], [1.0, 1.0, 1.5, 1.0, 1.0]);
/// ```
///
/// # Errors
/// As [`Tokenizer::encode`]; more than [`MAX_CHUNKS`].
pub fn chunks(tokenizer: &Tokenizer, text: &str, length: usize) -> Result<Vec<Chunk>> {
    let room = room(tokenizer, length)?;
    let comma = tokenizer.id(",</w>").or_else(|| tokenizer.id(","));
    let mut done = vec![];
    let mut body = Body::default();
    let mut last_comma = None;
    for (text, weight) in parse(text) {
        if (text.as_str(), weight) == BREAK {
            done.push(std::mem::take(&mut body));
            last_comma = None;
            continue;
        }
        for id in tokenizer.ids(&text)? {
            let is_comma = Some(id) == comma;
            if is_comma {
                last_comma = Some(body.ids.len());
            }
            if body.ids.len() == room {
                let near = last_comma.filter(|&at| !is_comma && room - at <= COMMA_REACH);
                let moved = body.split_off(near.map_or(room, |at| at + 1));
                done.push(std::mem::replace(&mut body, moved));
                last_comma = None;
            }
            body.push(id, weight);
        }
    }
    if !body.ids.is_empty() || done.is_empty() {
        done.push(body);
    }
    if done.len() > MAX_CHUNKS {
        return Err(TextError::TooLarge {
            place: "the prompt's chunks".into(),
            limit: MAX_CHUNKS as u64,
            found: done.len() as u64,
        });
    }
    done.into_iter().map(|body| chunk(tokenizer, body, length)).collect()
}

/// Fills up the shorter of two lists with chunks of no text, as guidance needs as many for the
/// negative prompt as for the prompt.
///
/// # Errors
/// As [`chunks`].
pub fn pad_chunks(
    tokenizer: &Tokenizer,
    one: &mut Vec<Chunk>,
    other: &mut Vec<Chunk>,
    length: usize,
) -> Result<()> {
    let count = one.len().max(other.len());
    let empty = chunk(tokenizer, Body::default(), length)?;
    one.resize(count, empty.clone());
    other.resize(count, empty);
    Ok(())
}

/// The ids of text that a chunk holds.
fn room(tokenizer: &Tokenizer, length: usize) -> Result<usize> {
    let room = length.checked_sub(tokenizer.specials()).filter(|&room| room > 0);
    room.ok_or_else(|| TextError::Request {
        what: "the length of a chunk",
        expected: format!("more than the {} special tokens", tokenizer.specials()),
        found: length.to_string(),
    })
}

/// The special tokens around a body, and padding.
fn chunk(tokenizer: &Tokenizer, body: Body, length: usize) -> Result<Chunk> {
    let before = tokenizer.frame.before.len();
    let mut ids = tokenizer.framed(&body.ids);
    let mut weights = vec![1.0; before];
    weights.extend(body.weights);
    weights.resize(length, 1.0);
    let Some(pad) = tokenizer.pad().or(tokenizer.eos()) else {
        return Err(TextError::Request {
            what: "padding a chunk",
            expected: "a tokenizer with a padding token".into(),
            found: "none".into(),
        });
    };
    // Stable Diffusion 2 pads from the first end of the text on, also where the text itself holds one;
    // where both are the same token, as in Stable Diffusion 1, what follows one in the text stays.
    let end = ids.iter().position(|&id| Some(id) == tokenizer.eos() && id != pad);
    ids.truncate(end.map_or(ids.len(), |end| end + 1));
    ids.resize(length, pad);
    Ok(Chunk { ids, weights })
}
