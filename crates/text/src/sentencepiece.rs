//! SentencePiece's `spiece.model`: a protocol buffer of pieces, scores and a normalisation.
//!
//! Only these fields are read (`sentencepiece_model.proto`): `ModelProto` 1 the pieces, each with 1 its
//! text, 2 its score and 3 its type; 2 `trainer_spec` with 3 the type of the model; 3
//! `normalizer_spec` with 2 the compiled normalisation.

use crate::error::shorten;
use crate::limits::{MAX_TOKENS, read_bytes};
use crate::vocabulary::Builder;
use crate::{Result, TextError};
use std::path::Path;

/// A model as its file has it.
pub(crate) struct SentencePiece {
    pub(crate) vocab: Builder,
    /// Pieces that are looked for in the text before it is cut, and whether they are special.
    pub(crate) added: Vec<(String, bool)>,
    /// Empty where texts are not normalised.
    pub(crate) charsmap: Vec<u8>,
}

/// The type of a unigram model.
const UNIGRAM: u64 = 1;
/// The types of pieces that are added tokens.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A field of a message.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Float(f32),
    /// Eight bytes, which no field read here has.
    Double,
}

/// The fields of a message, in order.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn varint(&mut self) -> std::result::Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("a number that is cut short")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits".into())
    }

    fn take(&mut self, length: u64) -> std::result::Result<&'a [u8], String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| format!("a field of {length} bytes where {} are left", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The number and value of the next field.
    fn next(&mut self) -> std::result::Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Double
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
                Value::Float(f32::from_le_bytes(bytes))
            }
            other => return Err(format!("a field of the wire type {other}")),
        };
        Ok(Some((tag >> 3, value)))
    }
}

impl SentencePiece {
    /// Reads a model.
    ///
    /// # Errors
    /// A file that cannot be read, is no such protocol buffer, or holds another kind of model.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = read_bytes(path)?;
        let not = |found| TextError::malformed(path, "", "a SentencePiece model", found);
        let (model, kind, has_normalizer) = Self::parse(&bytes).map_err(not)?;
        if model.vocab.len() == 0 {
            return Err(not("no pieces".into()));
        }
        // Both follow the pieces in every model; without them the file is cut short.
        let Some(kind) = kind.filter(|_| has_normalizer) else {
            return Err(not("no specification of its trainer and normalizer".into()));
        };
        if kind != UNIGRAM {
            let found = format!("a model of type {kind}");
            return Err(TextError::unsupported(path, "trainer_spec", "a unigram model (1)", found));
        }
        Ok(model)
    }

    /// The model, its type if a trainer is specified, and whether a normalizer is.
    fn parse(bytes: &[u8]) -> std::result::Result<(Self, Option<u64>, bool), String> {
        let mut model = Self { vocab: Builder::default(), added: vec![], charsmap: vec![] };
        let mut kind = None;
        let mut has_normalizer = false;
        let mut file = Message(bytes);
        while let Some((field, value)) = file.next()? {
            match (field, value) {
                (1, Value::Bytes(piece)) => model.piece(piece)?,
                (2, Value::Bytes(trainer)) => {
                    let mut trainer = Message(trainer);
                    // Unigram is the default of the field.
                    kind = kind.or(Some(UNIGRAM));
                    while let Some((field, value)) = trainer.next()? {
                        if let (3, Value::Varint(found)) = (field, value) {
                            kind = Some(found);
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => {
                    let mut normalizer = Message(normalizer);
                    has_normalizer = true;
                    while let Some((field, value)) = normalizer.next()? {
                        if let (2, Value::Bytes(map)) = (field, value) {
                            model.charsmap = map.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        Ok((model, kind, has_normalizer))
    }

    fn piece(&mut self, bytes: &[u8]) -> std::result::Result<(), String> {
        let (mut text, mut score, mut kind) = ("", 0.0_f32, 1);
        let mut piece = Message(bytes);
        while let Some((field, value)) = piece.next()? {
            match (field, value) {
                (1, Value::Bytes(bytes)) => {
                    text = std::str::from_utf8(bytes).map_err(|_| "a piece that is not UTF-8")?;
                }
                (2, Value::Float(found)) => score = found,
                (3, Value::Varint(found)) => kind = found,
                _ => {}
            }
        }
        if !score.is_finite() {
            return Err(format!("the score {score} of \"{}\"", shorten(text)));
        }
        if text.is_empty() {
            return Err(format!("the piece {} without a text", self.vocab.len()));
        }
        if kind == CONTROL || kind == USER_DEFINED {
            if self.added.len() >= MAX_TOKENS / 16 {
                return Err("too many control pieces".into());
            }
            self.added.push((text.to_owned(), kind == CONTROL));
        }
        let id = self.vocab.len() as u32;
        self.vocab.push(text, id)?;
        self.vocab.scores.push(f64::from(score));
        Ok(())
    }
}
