use crate::added::{AddedTokens, Part};
use crate::bpe::Bpe;
use crate::config::{Config, Named, Side};
use crate::decode::{Decoder, tidy};
use crate::normalize::Normalizer;
use crate::parts::Frame;
use crate::split::{Piece, Splitter};
use crate::unigram::Unigram;
use crate::vocabulary::Vocabulary;
use crate::wordpiece::WordPiece;
use crate::{Result, TextError};

/// A tokenizer: from text to the ids that a text encoder takes, and back.
///
/// A text goes through these steps, as in the library behind transformers: special and added tokens
/// are found; what lies between is normalised and cut into words; the model makes ids of each word; a
/// frame of special tokens is put around them.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(crate) normalizer: Option<Normalizer>,
    pub(crate) splitter: Option<Splitter>,
    pub(crate) model: Model,
    pub(crate) added: AddedTokens,
    pub(crate) frame: Frame,
    pub(crate) decoder: Decoder,
    pub(crate) tidy: bool,
    pub(crate) pad: Option<u32>,
    pub(crate) max_length: Option<usize>,
    pub(crate) pad_left: bool,
    pub(crate) cut_left: bool,
}

/// From a word to ids.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Bpe(Bpe),
    WordPiece(WordPiece),
    Unigram(Unigram),
}

/// The ids of a text in a fixed length, as transformers' `tokenizer(text, padding="max_length",
/// max_length=.., truncation=True)` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// `max_length` ids: special ones, the text's, and padding.
    pub ids: Vec<u32>,
    /// One for every id that is not padding.
    pub attention_mask: Vec<u8>,
    /// The end of the text that did not fit, decoded, as diffusers names it in its warning.
    pub cut: Option<String>,
}

impl Model {
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        match self {
            Self::Bpe(bpe) => bpe.vocabulary(),
            Self::WordPiece(wordpiece) => &wordpiece.vocabulary,
            Self::Unigram(unigram) => unigram.vocabulary(),
        }
    }

    fn encode(&self, word: &str, out: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Bpe(bpe) => bpe.encode(word, out),
            Self::WordPiece(wordpiece) => wordpiece.encode(word, out),
            Self::Unigram(unigram) => unigram.encode(word, out),
        }
    }
}

impl Tokenizer {
    /// The ids of a text, without the special tokens around it.
    ///
    /// # Errors
    /// A character that the vocabulary lacks where it has no token for unknown ones.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut out = vec![];
        for (at, part) in self.added.cut(text, false).into_iter().enumerate() {
            match part {
                Part::Token(id) => out.push(id),
                Part::Text(part) => self.between(part, at == 0, &mut out)?,
            }
        }
        Ok(out)
    }

    /// The ids of a text without raw added tokens.
    fn between(&self, text: &str, first: bool, out: &mut Vec<u32>) -> Result<()> {
        let normal = match &self.normalizer {
            Some(normalizer) => normalizer.apply(text)?,
            None => text.to_owned(),
        };
        // A metaspace comes before the start of the text, and not before what stripping left of it.
        let stripped = text.starts_with(char::is_whitespace)
            && self.normalizer.as_ref().is_some_and(Normalizer::strips_left);
        let first = first && !stripped;
        for (at, part) in self.added.cut(&normal, true).into_iter().enumerate() {
            let text = match part {
                Part::Token(id) => {
                    out.push(id);
                    continue;
                }
                Part::Text(text) => text.to_owned(),
            };
            let mut pieces = vec![Piece { text, first: first && at == 0 }];
            if let Some(splitter) = &self.splitter {
                pieces = splitter.cut(pieces);
            }
            for piece in pieces {
                self.model.encode(&piece.text, out)?;
            }
        }
        Ok(())
    }

    /// The ids of a text in a fixed length: cut or padded, with the special tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::ids`]; a length that does not hold the special tokens; no token to pad with.
    pub fn encode(&self, text: &str, max_length: usize) -> Result<Encoding> {
        let ids = self.ids(text)?;
        let room = max_length.checked_sub(self.specials()).ok_or_else(|| TextError::Request {
            what: "the length of an encoded text",
            expected: format!("at least {} for the special tokens", self.specials()),
            found: max_length.to_string(),
        })?;
        let over = ids.len().saturating_sub(room);
        let kept = if self.cut_left { &ids[over..] } else { &ids[..ids.len() - over] };
        let mut whole = self.framed(kept);
        let mut attention_mask = vec![1; whole.len()];
        let missing = max_length - whole.len();
        if missing > 0 {
            let pad = self.pad.ok_or_else(|| TextError::Request {
                what: "padding a text",
                expected: "a tokenizer with a padding token".into(),
                found: "none".into(),
            })?;
            let at = if self.pad_left { 0 } else { whole.len() };
            whole.splice(at..at, std::iter::repeat_n(pad, missing));
            attention_mask.splice(at..at, std::iter::repeat_n(0, missing));
        }
        let cut = (over > 0).then(|| {
            let all = self.framed(&ids);
            self.decode(&all[max_length - 1..all.len() - 1])
        });
        Ok(Encoding { ids: whole, attention_mask, cut })
    }

    /// These ids within the special tokens.
    pub(crate) fn framed(&self, ids: &[u32]) -> Vec<u32> {
        [&self.frame.before, ids, &self.frame.behind].concat()
    }

    /// How many special tokens are put around a text.
    pub fn specials(&self) -> usize {
        self.frame.before.len() + self.frame.behind.len()
    }

    /// The most ids that the text encoder takes, special ones included, where the folder says so.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// The id that comes before every text, if one does: `<|startoftext|>`, `[CLS]`.
    pub fn bos(&self) -> Option<u32> {
        self.frame.before.first().copied()
    }

    /// The id that comes behind every text, if one does: `<|endoftext|>`, `[SEP]`, `</s>`.
    pub fn eos(&self) -> Option<u32> {
        self.frame.behind.first().copied()
    }

    /// The id that fills up short texts, if there is one.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The id of a token, which may be a special one.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.added.id(token).or_else(|| self.model.vocabulary().id(token))
    }

    /// The text of ids, special ones included; ids without a token are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let token = |&id| self.added.token(id).or_else(|| self.model.vocabulary().token(id));
        let tokens: Vec<&str> = ids.iter().filter_map(token).collect();
        let text = self.decoder.text(&tokens);
        if self.tidy { tidy(&text) } else { text }
    }

    /// Adds the tokens of a config in transformers' order, and takes its lengths and sides.
    ///
    /// # Errors
    /// Too many tokens.
    pub(crate) fn configure(&mut self, config: &Config) -> Result<()> {
        let older = config.added_tokens_decoder.clone().unwrap_or_default().0;
        // A name whose token was added with options has those.
        let resolve = |named: &Named| match older.values().find(|o| o.has(named.content())) {
            Some(options) => Named::Token(options.clone()),
            None => named.clone(),
        };
        let named: Vec<Named> = config.named().into_iter().flatten().map(resolve).collect();
        let is_named = |content: &str| named.iter().any(|name| name.content() == content);
        let mut tokens: Vec<Named> = older.values().cloned().map(Named::Token).collect();
        let first = tokens.len();
        for name in named.iter().chain(config.extra()) {
            let known = self.added.id(name.content()).is_some()
                || tokens[..first].iter().any(|token| token.content() == name.content());
            if !known && !tokens.contains(name) {
                tokens.push(name.clone());
            }
        }
        let tokens = tokens.into_iter().map(|token| match token {
            Named::Token(options) if !is_named(options.content()) => options.token(),
            token => token.token(),
        });
        self.added.add(tokens.collect(), self.model.vocabulary(), self.normalizer.as_ref())?;
        let id = |name: &Option<Named>| self.id(name.as_ref()?.content());
        let pad = id(&config.pad_token);
        self.pad = pad.or(config.pad_token.as_ref().and_then(|_| id(&config.unk_token)));
        self.max_length = config.max_length();
        self.pad_left = config.padding_side == Some(Side::Left);
        self.cut_left = config.truncation_side == Some(Side::Left);
        self.tidy = config.clean_up_tokenization_spaces == Some(true)
            && !matches!(self.model, Model::Bpe(_));
        Ok(())
    }
}
