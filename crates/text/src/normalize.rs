//! What is done to a text before it is cut.

use crate::characters::{clean, is_accent, is_chinese, is_space};
use crate::charsmap::Charsmap;
use crate::error::shorten;
use crate::{Result, TextError};
use unicode_normalization_alignments::UnicodeNormalization;

/// A change to a text.
#[derive(Clone, Debug)]
pub(crate) enum Normalizer {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    /// Character by character, without regard to the end of a word.
    Lowercase,
    StripAccents,
    Bert(Bert),
    Charsmap(Charsmap),
    Replace(Pattern, String),
    Prepend(String),
    Strip {
        left: bool,
        right: bool,
    },
    Sequence(Vec<Normalizer>),
}

/// What is replaced.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// `\s+`.
    Spaces,
    /// ` {2,}`.
    TwoSpaces,
    Text(String),
}

/// BERT's own normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bert {
    pub(crate) clean: bool,
    pub(crate) chinese: bool,
    pub(crate) accents: bool,
    pub(crate) lowercase: bool,
}

/// A text that may not grow over a limit: what a hostile file replaces by what is its own choice.
#[derive(Debug)]
pub(crate) struct Step {
    text: String,
    limit: usize,
}

/// The most that normalisation may lengthen a text: NFKD makes 18 characters of one.
const MAX_GROWTH: usize = 64;

impl Step {
    fn of(text: &str, limit: usize) -> Self {
        Self { text: String::with_capacity(text.len().min(limit)), limit }
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        if !self.is_full() {
            self.text.push_str(text);
        }
    }

    fn extend(&mut self, characters: impl Iterator<Item = char>) {
        for c in characters {
            if self.is_full() {
                return;
            }
            self.text.push(c);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() > self.limit
    }
}

impl Normalizer {
    /// The text after this change.
    ///
    /// # Errors
    /// A text that grows more than any sound normalisation makes it.
    pub(crate) fn apply(&self, text: &str) -> Result<String> {
        let limit = text.len().saturating_mul(MAX_GROWTH).saturating_add(1024);
        self.within(text, limit)
    }

    /// Whether white space at the start is dropped.
    pub(crate) fn strips_left(&self) -> bool {
        match self {
            Self::Strip { left, .. } => *left,
            Self::Sequence(all) => all.iter().any(Self::strips_left),
            _ => false,
        }
    }

    fn within(&self, text: &str, limit: usize) -> Result<String> {
        if let Self::Sequence(all) = self {
            let first = text.to_owned();
            return all.iter().try_fold(first, |text, one| one.within(&text, limit));
        }
        let mut out = Step::of(text, limit);
        match self {
            Self::Nfc => out.extend(text.nfc().map(|(c, _)| c)),
            Self::Nfd => out.extend(text.nfd().map(|(c, _)| c)),
            Self::Nfkc => out.extend(text.nfkc().map(|(c, _)| c)),
            Self::Nfkd => out.extend(text.nfkd().map(|(c, _)| c)),
            Self::Lowercase => out.extend(text.chars().flat_map(char::to_lowercase)),
            Self::StripAccents => out.extend(
                text.chars()
                    .filter(|&c| !unicode_normalization_alignments::char::is_combining_mark(c)),
            ),
            Self::Bert(bert) => out.text = bert.apply(text),
            Self::Charsmap(map) => map.apply(text, &mut out),
            Self::Replace(pattern, with) => pattern.replace(text, with, &mut out),
            Self::Prepend(prefix) if !text.is_empty() => {
                out.push_str(prefix);
                out.push_str(text);
            }
            Self::Prepend(_) | Self::Sequence(_) => {}
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                out.push_str(if *right { text.trim_end() } else { text });
            }
        }
        if out.is_full() {
            return Err(TextError::TooLarge {
                place: format!("the normalisation of \"{}\"", shorten(text)),
                limit: limit as u64,
                found: out.text.len() as u64,
            });
        }
        Ok(out.text)
    }
}

impl Bert {
    fn apply(self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.clean {
            text = text.chars().filter_map(clean).collect();
        }
        if self.chinese {
            let mut apart = String::with_capacity(text.len());
            for c in text.chars() {
                match is_chinese(c) {
                    true => apart.extend([' ', c, ' ']),
                    false => apart.push(c),
                }
            }
            text = apart;
        }
        if self.accents {
            text = text.nfd().map(|(c, _)| c).filter(|&c| !is_accent(c)).collect();
        }
        if self.lowercase {
            text = text.chars().flat_map(char::to_lowercase).collect();
        }
        text
    }
}

impl Pattern {
    fn replace(&self, text: &str, with: &str, out: &mut Step) {
        let run: fn(char) -> bool = match self {
            // An empty pattern matches nothing.
            Self::Text(pattern) if pattern.is_empty() => return out.push_str(text),
            Self::Text(pattern) => {
                let mut pieces = text.split(pattern.as_str());
                out.push_str(pieces.next().unwrap_or_default());
                for piece in pieces {
                    out.push_str(with);
                    out.push_str(piece);
                }
                return;
            }
            Self::Spaces => is_space,
            Self::TwoSpaces => |c| c == ' ',
        };
        let least = if matches!(self, Self::TwoSpaces) { 2 } else { 1 };
        let mut rest = text;
        while let Some(start) = rest.find(run) {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(|c| !run(c)).unwrap_or(rest.len());
            out.push_str(if rest[..end].chars().count() < least { &rest[..end] } else { with });
            rest = &rest[end..];
        }
        out.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_spaces_are_replaced() {
        let replace =
            |pattern, text: &str| Normalizer::Replace(pattern, "_".into()).apply(text).unwrap();
        assert_eq!(replace(Pattern::Spaces, " a \t\u{3000}b\n"), "_a_b_");
        assert_eq!(replace(Pattern::TwoSpaces, " a  b   "), " a_b_");
        assert_eq!(replace(Pattern::Text("ab".into()), "abxabab"), "_x__");
        assert_eq!(replace(Pattern::Text("".into()), "ab"), "ab");
    }

    #[test]
    fn a_text_that_explodes_is_refused() {
        let grow = Normalizer::Replace(Pattern::Text("a".into()), "a".repeat(100));
        let error = Normalizer::Sequence(vec![grow; 8]).apply("aaaa").unwrap_err();
        assert!(error.to_string().contains("is over the limit of 1280"), "{error}");
    }

    #[test]
    fn bert_spaces_chinese_out() {
        let bert = Bert { clean: true, chinese: true, accents: true, lowercase: true };
        assert_eq!(bert.apply("É中\u{0}x\u{200b}\u{fffd}"), "e 中 x");
        let plain = Bert { clean: false, chinese: true, accents: false, lowercase: false };
        assert_eq!(plain.apply("a\0中"), "a\0 中 ");
    }

    /// Against the library, by `testdata/make_normalized.py`: all 1,112,064 code points.
    #[test]
    fn every_code_point_is_normalized_as_the_library_does() {
        let bert = |lowercase| {
            Normalizer::Bert(Bert { clean: true, chinese: true, accents: lowercase, lowercase })
        };
        let clip = vec![
            Normalizer::Nfc,
            Normalizer::Replace(Pattern::Spaces, " ".into()),
            Normalizer::Lowercase,
        ];
        let all = [
            ("NFC", Normalizer::Nfc),
            ("NFD", Normalizer::Nfd),
            ("NFKC", Normalizer::Nfkc),
            ("NFKD", Normalizer::Nfkd),
            ("Lowercase", Normalizer::Lowercase),
            ("StripAccents", Normalizer::StripAccents),
            ("Bert", bert(true)),
            ("BertCased", bert(false)),
            ("Clip", Normalizer::Sequence(clip)),
        ];
        let golden: std::collections::BTreeMap<String, String> =
            serde_json::from_str(include_str!("../testdata/normalized.json")).unwrap();
        for (name, normalizer) in all {
            // FNV-1a.
            let mut hash = 0xCBF2_9CE4_8422_2325_u64;
            for c in '\0'..=char::MAX {
                let text = normalizer.apply(&format!("a{c}\u{301}")).unwrap();
                for byte in text.bytes().chain([0xFF]) {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
                }
            }
            assert_eq!(format!("{hash:016x}"), golden[name], "{name}");
        }
    }
}
