//! The parts of a `tokenizer.json`, read into closed types.
//!
//! Each part says its kind in `type`, and its options beside it, in any order. One type holds the
//! options of all kinds, so that nothing is buffered while the kind is not known; what a kind does
//! not have is refused.

use crate::charsmap::Charsmap;
use crate::decode::Decoder;
use crate::limits::MAX_PARTS;
use crate::normalize::{Bert, Normalizer, Pattern};
use crate::split::{Prepend, Splitter};
use base64::Engine;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// CLIP's regular expression, as transformers writes it, and as its converter wrote it.
const CLIP_PATTERNS: [&str; 2] = [
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
];

/// A list of at most [`MAX_PARTS`] items.
#[derive(Debug)]
pub(crate) struct Few<T>(pub(crate) Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {MAX_PARTS} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T>, A::Error> {
                let mut items = vec![];
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX_PARTS {
                        return Err(A::Error::custom(format!("more than {MAX_PARTS} items")));
                    }
                    items.push(item);
                }
                Ok(Few(items))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Nothing: sequences are not nested.
#[derive(Debug, Deserialize)]
pub(crate) enum Never {}

/// A part whose sequence holds parts without sequences.
pub(crate) type Part = AnyPart<AnyPart<Never>>;

/// A part of any kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound = "Inner: Deserialize<'de>")]
pub(crate) struct AnyPart<Inner> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    normalizers: Few<Inner>,
    #[serde(default)]
    pretokenizers: Few<Inner>,
    #[serde(default)]
    processors: Few<Inner>,
    #[serde(default)]
    decoders: Few<Inner>,
    lowercase: Option<bool>,
    clean_text: Option<bool>,
    handle_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    precompiled_charsmap: Option<String>,
    pattern: Option<JsonPattern>,
    content: Option<String>,
    prepend: Option<String>,
    strip_left: Option<bool>,
    strip_right: Option<bool>,
    behavior: Option<String>,
    invert: Option<bool>,
    add_prefix_space: Option<bool>,
    #[serde(rename = "trim_offsets")]
    _trim_offsets: Option<bool>,
    use_regex: Option<bool>,
    replacement: Option<char>,
    #[serde(rename = "str_rep")]
    _str_rep: Option<String>,
    prepend_scheme: Option<Prepend>,
    split: Option<bool>,
    individual_digits: Option<bool>,
    prefix: Option<String>,
    suffix: Option<String>,
    cleanup: Option<bool>,
    sep: Option<(String, u32)>,
    cls: Option<(String, u32)>,
    #[serde(default)]
    single: Few<Slot>,
    #[serde(default, rename = "pair")]
    _pair: Few<Slot>,
    #[serde(default)]
    special_tokens: SlotTokens,
}

/// A pattern to replace or to cut at.
#[derive(Debug, Deserialize)]
enum JsonPattern {
    String(String),
    Regex(String),
}

/// A place in a template.
#[derive(Debug, Deserialize)]
enum Slot {
    SpecialToken { id: String },
    Sequence { id: String },
}

/// The ids of a template's special tokens, by name.
#[derive(Debug, Default)]
struct SlotTokens(Vec<(String, Vec<u32>)>);

#[derive(Deserialize)]
struct SlotToken {
    ids: Few<u32>,
}

impl<'de> Deserialize<'de> for SlotTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = SlotTokens;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of special tokens")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SlotTokens, A::Error> {
                let mut tokens = vec![];
                while let Some((name, SlotToken { ids })) = map.next_entry()? {
                    if tokens.len() == MAX_PARTS {
                        return Err(A::Error::custom("too many special tokens"));
                    }
                    tokens.push((name, ids.0));
                }
                Ok(SlotTokens(tokens))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl Part {
    /// The normalisation that SentencePiece compiled, alone or the first of a sequence.
    ///
    /// # Errors
    /// One that is damaged, in words.
    pub(crate) fn charsmap(self) -> Option<Result<Normalizer, String>> {
        if self.kind == "Precompiled" {
            return Some(self.normalizer());
        }
        let mut inner = self.normalizers.0.into_iter();
        Some(inner.find(|part| part.kind == "Precompiled")?.normalizer())
    }
}

/// What comes before and behind the ids of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) before: Vec<u32>,
    pub(crate) behind: Vec<u32>,
}

/// What a part of a `tokenizer.json` stands for, if Sumi has it; refusals are in words.
pub(crate) trait Meaning {
    fn normalizer(self) -> Result<Normalizer, String>;
    fn splitter(self) -> Result<Splitter, String>;
    fn decoder(self) -> Result<Decoder, String>;
    fn frame(self) -> Result<Frame, String>;
}

impl Meaning for Never {
    fn normalizer(self) -> Result<Normalizer, String> {
        match self {}
    }
    fn splitter(self) -> Result<Splitter, String> {
        match self {}
    }
    fn decoder(self) -> Result<Decoder, String> {
        match self {}
    }
    fn frame(self) -> Result<Frame, String> {
        match self {}
    }
}

impl<Inner: Meaning> Meaning for AnyPart<Inner> {
    fn normalizer(self) -> Result<Normalizer, String> {
        Ok(match self.kind.as_str() {
            "NFC" => Normalizer::Nfc,
            "NFD" => Normalizer::Nfd,
            "NFKC" => Normalizer::Nfkc,
            "NFKD" => Normalizer::Nfkd,
            "Lowercase" => Normalizer::Lowercase,
            "StripAccents" => Normalizer::StripAccents,
            "BertNormalizer" => {
                let lowercase = self.lowercase.unwrap_or(true);
                Normalizer::Bert(Bert {
                    clean: self.clean_text.unwrap_or(true),
                    chinese: self.handle_chinese_chars.unwrap_or(true),
                    accents: self.strip_accents.unwrap_or(lowercase),
                    lowercase,
                })
            }
            "Precompiled" => {
                let map = self.precompiled_charsmap.unwrap_or_default();
                let bytes = base64::engine::general_purpose::STANDARD.decode(map);
                let bytes = bytes.map_err(|error| format!("a charsmap that is {error}"))?;
                Normalizer::Charsmap(Charsmap::parse(&bytes)?)
            }
            "Replace" => {
                let pattern = match self.pattern {
                    Some(JsonPattern::String(text)) => Pattern::Text(text),
                    Some(JsonPattern::Regex(regex)) => match regex.as_str() {
                        r"\s+" => Pattern::Spaces,
                        " {2,}" => Pattern::TwoSpaces,
                        _ => return Err(format!("replacing the pattern {regex}")),
                    },
                    None => return Err("replacing without a pattern".into()),
                };
                Normalizer::Replace(pattern, self.content.unwrap_or_default())
            }
            "Prepend" => Normalizer::Prepend(self.prepend.unwrap_or_default()),
            "Strip" => Normalizer::Strip {
                left: self.strip_left.unwrap_or(true),
                right: self.strip_right.unwrap_or(true),
            },
            "Sequence" => Normalizer::Sequence(each(self.normalizers, Inner::normalizer)?),
            kind => return Err(format!("the normalizer {kind}")),
        })
    }

    fn splitter(self) -> Result<Splitter, String> {
        Ok(match self.kind.as_str() {
            "ByteLevel" => Splitter::ByteLevel {
                prefix_space: self.add_prefix_space.unwrap_or(true),
                regex: self.use_regex.unwrap_or(true),
            },
            "Split" => match self.pattern {
                Some(JsonPattern::Regex(regex))
                    if CLIP_PATTERNS.contains(&regex.as_str())
                        && self.behavior.as_deref() == Some("Removed")
                        && self.invert == Some(true) =>
                {
                    Splitter::Clip
                }
                pattern => return Err(format!("splitting at {pattern:?}")),
            },
            "WhitespaceSplit" => Splitter::Whitespace,
            "BertPreTokenizer" => Splitter::Bert,
            "Metaspace" => {
                let never = self.add_prefix_space == Some(false);
                let scheme = if never { Prepend::Never } else { Prepend::Always };
                Splitter::Metaspace {
                    replacement: self.replacement.unwrap_or('▁'),
                    prepend: self.prepend_scheme.unwrap_or(scheme),
                    split: self.split.unwrap_or(true),
                }
            }
            "Digits" => Splitter::Digits { individual: self.individual_digits.unwrap_or(false) },
            "Sequence" => Splitter::Sequence(each(self.pretokenizers, Inner::splitter)?),
            kind => return Err(format!("the pre-tokenizer {kind}")),
        })
    }

    fn decoder(self) -> Result<Decoder, String> {
        Ok(match self.kind.as_str() {
            "ByteLevel" => Decoder::ByteLevel { suffix: String::new() },
            "WordPiece" => Decoder::WordPiece {
                prefix: self.prefix.unwrap_or_else(|| "##".into()),
                cleanup: self.cleanup.unwrap_or(true),
            },
            "Metaspace" => Decoder::Metaspace {
                replacement: self.replacement.unwrap_or('▁'),
                prepended: self.prepend_scheme != Some(Prepend::Never)
                    && self.add_prefix_space != Some(false),
            },
            "BPEDecoder" => Decoder::Suffix(self.suffix.unwrap_or_else(|| "</w>".into())),
            // Texts are decoded only to be shown: what takes several steps is shown as it is.
            "Sequence" if self.decoders.0.len() == 1 => {
                return each(self.decoders, Inner::decoder).map(|mut all| all.swap_remove(0));
            }
            "Sequence" => Decoder::Spaces,
            kind => return Err(format!("the decoder {kind}")),
        })
    }

    fn frame(self) -> Result<Frame, String> {
        match self.kind.as_str() {
            "BertProcessing" | "RobertaProcessing" => {
                let (Some((_, sep)), Some((_, cls))) = (self.sep, self.cls) else {
                    return Err(format!("the post-processor {} without its tokens", self.kind));
                };
                Ok(Frame { before: vec![cls], behind: vec![sep] })
            }
            "TemplateProcessing" => template(self.single, &self.special_tokens),
            "ByteLevel" => Ok(Frame::default()),
            "Sequence" => {
                let mut whole = Frame::default();
                for Frame { before, behind } in each(self.processors, Inner::frame)? {
                    whole.before.splice(0..0, before);
                    whole.behind.extend(behind);
                }
                Ok(whole)
            }
            kind => Err(format!("the post-processor {kind}")),
        }
    }
}

fn each<I, T>(all: Few<I>, meaning: impl FnMut(I) -> Result<T, String>) -> Result<Vec<T>, String> {
    all.0.into_iter().map(meaning).collect()
}

fn template(single: Few<Slot>, tokens: &SlotTokens) -> Result<Frame, String> {
    let mut frame = Frame::default();
    let mut behind = false;
    for slot in single.0 {
        match slot {
            Slot::Sequence { id } if id == "A" && !behind => behind = true,
            Slot::Sequence { id } => return Err(format!("a template with the sequence {id}")),
            Slot::SpecialToken { id } => {
                let Some((_, ids)) = tokens.0.iter().find(|(name, _)| *name == id) else {
                    return Err(format!("a template with the unknown token {id}"));
                };
                if behind { &mut frame.behind } else { &mut frame.before }.extend(ids);
            }
        }
    }
    if behind { Ok(frame) } else { Err("a template without its text".into()) }
}
