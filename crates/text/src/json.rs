//! `tokenizer.json`: the file in which the tokenizers library keeps all of a tokenizer.

use crate::added::AddedTokens;
use crate::bpe::{Bpe, BpeOptions};
use crate::config::AddedList;
use crate::decode::Decoder;
use crate::limits::read_text;
use crate::parts::{Frame, Meaning, Part};
use crate::tokenizer::{Model, Tokenizer};
use crate::unigram::Unigram;
use crate::vocabulary::{Builder, Pairs};
use crate::wordpiece::{MAX_WORD_CHARS, WordPiece};
use crate::{Result, TextError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::path::Path;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "truncation")]
    _truncation: Option<IgnoredAny>,
    pub(crate) padding: Option<Padding>,
    #[serde(default)]
    pub(crate) added_tokens: AddedList,
    pub(crate) normalizer: Option<Part>,
    pub(crate) pre_tokenizer: Option<Part>,
    pub(crate) post_processor: Option<Part>,
    pub(crate) decoder: Option<Part>,
    pub(crate) model: ModelPart,
}

/// What short texts are filled up with.
#[derive(Deserialize)]
pub(crate) struct Padding {
    pub(crate) pad_token: String,
}

/// The model, of any kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelPart {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(crate) vocab: Builder,
    #[serde(default)]
    pub(crate) merges: Pairs,
    unk_token: Option<String>,
    unk_id: Option<u32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    dropout: Option<f64>,
    max_input_chars_per_word: Option<usize>,
    alpha: Option<f64>,
    #[serde(rename = "nbest_size")]
    _nbest_size: Option<u32>,
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read, or is not of this form.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let file: Self =
            serde_json::from_str(&text).map_err(|error| TextError::json(path, &error))?;
        let vocab = &file.model.vocab;
        if vocab.len() == 0 {
            return Err(TextError::malformed(path, "`model.vocab`", "tokens", "none"));
        }
        Ok(file)
    }

    /// The tokenizer that the file describes.
    ///
    /// # Errors
    /// A part that Sumi does not have, or a model that contradicts itself.
    pub(crate) fn tokenizer(self, path: &Path) -> Result<Tokenizer> {
        let not = |field: &'static str| {
            move |found: String| {
                TextError::unsupported(path, field, "the parts of CLIP, BERT and T5", found)
            }
        };
        let normalizer = self.normalizer.map(Part::normalizer).transpose();
        let normalizer = normalizer.map_err(not("`normalizer`"))?;
        let splitter = self.pre_tokenizer.map(Part::splitter).transpose();
        let splitter = splitter.map_err(not("`pre_tokenizer`"))?;
        let frame = self.post_processor.map(Part::frame).transpose();
        let frame: Frame = frame.map_err(not("`post_processor`"))?.unwrap_or_default();
        let decoder = self.decoder.map(Part::decoder).transpose();
        let decoder = decoder.map_err(not("`decoder`"))?.unwrap_or(Decoder::Spaces);
        let model = self.model.model(path)?;
        let mut added = AddedTokens::default();
        let tokens = self.added_tokens.0.into_iter().map(|(_, options)| options.token());
        added.add(tokens.collect(), model.vocabulary(), normalizer.as_ref())?;
        Ok(Tokenizer {
            normalizer,
            splitter,
            model,
            added,
            frame,
            decoder,
            tidy: false,
            pad: None,
            max_length: None,
            pad_left: false,
            cut_left: false,
        })
    }
}

impl ModelPart {
    /// The kind, which older files leave to be seen from the rest.
    pub(crate) fn kind(&self) -> &str {
        match &self.kind {
            Some(kind) => kind,
            None if !self.vocab.scores.is_empty() => "Unigram",
            None if self.merges.len() > 0 => "BPE",
            None => "WordPiece",
        }
    }

    fn model(self, path: &Path) -> Result<Model> {
        let not = |found: String| TextError::malformed(path, "`model`", "a sound model", found);
        let unsupported = |expected: &str, found: &str| {
            Err(TextError::unsupported(path, "`model`", expected, found))
        };
        if self.dropout.is_some_and(|p| p != 0.0) || self.alpha.is_some_and(|a| a != 0.0) {
            return unsupported("a model without chance", "`dropout` or `alpha`");
        }
        // Each is put before or behind every character or word.
        const MAX_AFFIX: usize = 64;
        let affixes = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        if affixes.into_iter().flatten().any(|affix| affix.len() > MAX_AFFIX) {
            return unsupported("prefixes and suffixes of at most 64 bytes", "a longer one");
        }
        Ok(match self.kind() {
            "BPE" => {
                let options = BpeOptions {
                    unknown: self.unk_token,
                    prefix: self.continuing_subword_prefix.unwrap_or_default(),
                    suffix: self.end_of_word_suffix.unwrap_or_default(),
                    fuse_unknown: self.fuse_unk,
                    byte_fallback: self.byte_fallback,
                    whole_words: self.ignore_merges,
                };
                Model::Bpe(Bpe::new(self.vocab.finish(), &self.merges, options).map_err(not)?)
            }
            "WordPiece" => {
                let max_chars = self.max_input_chars_per_word.unwrap_or(MAX_WORD_CHARS);
                if max_chars > 10 * MAX_WORD_CHARS {
                    return unsupported("words of at most 1000 characters", "longer ones");
                }
                Model::WordPiece(WordPiece {
                    vocabulary: self.vocab.finish(),
                    unknown: self.unk_token.unwrap_or_else(|| "[UNK]".into()),
                    prefix: self.continuing_subword_prefix.unwrap_or_else(|| "##".into()),
                    max_chars,
                })
            }
            "Unigram" => {
                Model::Unigram(unigram(self.vocab, self.unk_id, self.byte_fallback).map_err(not)?)
            }
            kind => return unsupported("BPE, WordPiece or Unigram", kind),
        })
    }
}

/// A unigram model of a vocabulary with scores.
///
/// # Errors
/// A vocabulary without scores, or an unknown token outside it, in words.
pub(crate) fn unigram(
    mut vocab: Builder,
    unknown: Option<u32>,
    byte_fallback: bool,
) -> std::result::Result<Unigram, String> {
    let scores = std::mem::take(&mut vocab.scores);
    if scores.len() != vocab.len() {
        return Err("a vocabulary without scores".into());
    }
    Unigram::new(vocab.finish(), scores, unknown, byte_fallback)
}
