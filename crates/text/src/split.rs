//! How a text is cut into words.

use crate::characters::{is_letter, is_number, is_punctuation, is_sign, is_space, of_byte};

/// A way to cut a text.
#[derive(Clone, Debug)]
pub(crate) enum Splitter {
    /// CLIP's regular expression: contractions, words, single digits, runs of other signs; what lies
    /// between them is dropped.
    Clip,
    /// GPT-2's regular expression where asked for, then bytes as characters.
    ByteLevel { prefix_space: bool, regex: bool },
    /// At white space, which is dropped.
    Whitespace,
    /// At white space, and around punctuation.
    Bert,
    /// Spaces as a character of their own, before which words start.
    Metaspace { replacement: char, prepend: Prepend, split: bool },
    /// Around numbers, or around each digit.
    Digits { individual: bool },
    /// One after the other.
    Sequence(Vec<Splitter>),
}

/// Where a metaspace is put before a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Prepend {
    First,
    Never,
    Always,
}

/// A piece of the text.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// It starts where the whole text starts.
    pub(crate) first: bool,
}

impl Splitter {
    /// The pieces, cut further; empty ones are dropped.
    pub(crate) fn cut(&self, pieces: Vec<Piece>) -> Vec<Piece> {
        if let Self::Sequence(all) = self {
            return all.iter().fold(pieces, |pieces, one| one.cut(pieces));
        }
        let mut out = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let mut keep = |text: String, start: usize| {
                if !text.is_empty() {
                    out.push(Piece { text, first: piece.first && start == 0 });
                }
            };
            self.cut_one(&piece, &mut keep);
        }
        out
    }

    fn cut_one(&self, piece: &Piece, keep: &mut impl FnMut(String, usize)) {
        let text = &piece.text;
        match self {
            Self::Clip => spans(text, clip_end, |from, to, whole| {
                if whole {
                    keep(text[from..to].to_owned(), from);
                }
            }),
            Self::ByteLevel { prefix_space, regex } => {
                let prefix = if *prefix_space && !text.starts_with(' ') { " " } else { "" };
                let text = format!("{prefix}{text}");
                let mut mapped =
                    |from, to| keep(text[from..to].bytes().map(of_byte).collect(), from);
                if *regex {
                    spans(&text, gpt2_end, |from, to, _| mapped(from, to));
                } else {
                    mapped(0, text.len());
                }
            }
            Self::Whitespace => {
                spans(
                    text,
                    |rest| run(rest, |c| !c.is_whitespace()),
                    |from, to, whole| {
                        if whole {
                            keep(text[from..to].to_owned(), from);
                        }
                    },
                );
            }
            Self::Bert => {
                let end = |rest: &str| {
                    let first = rest.chars().next()?;
                    if is_punctuation(first) && !first.is_whitespace() {
                        return Some(first.len_utf8());
                    }
                    run(rest, |c| !c.is_whitespace() && !is_punctuation(c))
                };
                spans(text, end, |from, to, whole| {
                    if whole {
                        keep(text[from..to].to_owned(), from);
                    }
                });
            }
            Self::Metaspace { replacement, prepend, split } => {
                metaspace(piece, *replacement, *prepend, *split, keep);
            }
            Self::Digits { individual } => {
                let end = |rest: &str| {
                    let first = rest.chars().next()?;
                    if *individual && first.is_numeric() {
                        return Some(first.len_utf8());
                    }
                    run(rest, |c| c.is_numeric() == first.is_numeric())
                };
                spans(text, end, |from, to, _| keep(text[from..to].to_owned(), from));
            }
            Self::Sequence(_) => {}
        }
    }
}

fn metaspace(
    piece: &Piece,
    replacement: char,
    prepend: Prepend,
    split: bool,
    keep: &mut impl FnMut(String, usize),
) {
    let mut text = piece.text.replace(' ', replacement.encode_utf8(&mut [0; 4]));
    let wanted = match prepend {
        Prepend::Always => true,
        Prepend::First => piece.first,
        Prepend::Never => false,
    };
    if wanted && !text.starts_with(replacement) {
        text.insert(0, replacement);
    }
    if !split {
        return keep(text, 0);
    }
    let mut start = 0;
    for (at, _) in text.match_indices(replacement) {
        if at > start {
            keep(text[start..at].to_owned(), start);
            start = at;
        }
    }
    keep(text[start..].to_owned(), start);
}

/// Calls `found` with the bounds of every match of `end`, and of what lies between matches.
fn spans(
    text: &str,
    end: impl Fn(&str) -> Option<usize>,
    mut found: impl FnMut(usize, usize, bool),
) {
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        match end(&text[at..]).filter(|&length| length > 0) {
            Some(length) => {
                if start < at {
                    found(start, at, false);
                }
                found(at, at + length, true);
                at += length;
                start = at;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    if start < at {
        found(start, at, false);
    }
}

/// The length in bytes of the run of such characters at the start, if there is one.
fn run(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let length = text.find(|c| !wanted(c)).unwrap_or(text.len());
    (length > 0).then_some(length)
}

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

fn starts_with_one_of(text: &str, all: &[&str]) -> Option<usize> {
    all.iter().find(|one| text.starts_with(**one)).map(|one| one.len())
}

/// `<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
fn clip_end(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    starts_with_one_of(text, &["<|startoftext|>", "<|endoftext|>"])
        .or_else(|| starts_with_one_of(text, &CONTRACTIONS))
        .or_else(|| run(text, is_letter))
        .or_else(|| is_number(first).then(|| first.len_utf8()))
        .or_else(|| run(text, is_sign))
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
fn gpt2_end(text: &str) -> Option<usize> {
    if let Some(length) = starts_with_one_of(text, &CONTRACTIONS) {
        return Some(length);
    }
    let (space, rest) = match text.strip_prefix(' ') {
        Some(rest) => (1, rest),
        None => (0, text),
    };
    let kinds: [fn(char) -> bool; 3] = [is_letter, is_number, is_sign];
    if let Some(length) = kinds.iter().find_map(|kind| run(rest, kind)) {
        return Some(space + length);
    }
    let spaces = run(text, is_space)?;
    let last = text[..spaces].chars().next_back()?.len_utf8();
    // A run of spaces leaves its last one to the word that follows.
    Some(if spaces < text.len() && spaces > last { spaces - last } else { spaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(splitter: &Splitter, text: &str) -> Vec<String> {
        let pieces = splitter.cut(vec![Piece { text: text.into(), first: true }]);
        pieces.into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn clip_cuts_digits_apart_and_drops_spaces() {
        let words = cut(&Splitter::Clip, "it's 42, don't!? <|endoftext|> 'tis");
        let expected = ["it", "'s", "4", "2", ",", "don", "'t", "!?", "<|endoftext|>", "'t", "is"];
        assert_eq!(words, expected);
    }

    #[test]
    fn gpt2_keeps_spaces_with_the_word_behind() {
        let splitter = Splitter::ByteLevel { prefix_space: false, regex: true };
        assert_eq!(cut(&splitter, "a  b 12\n\nc "), ["a", "Ġ", "Ġb", "Ġ12", "Ċ", "Ċ", "c", "Ġ"]);
    }

    #[test]
    fn bert_sets_punctuation_apart() {
        assert_eq!(cut(&Splitter::Bert, " ab,c  d.. "), ["ab", ",", "c", "d", ".", "."]);
    }

    #[test]
    fn metaspaces_start_words() {
        let all = |prepend| Splitter::Metaspace { replacement: '▁', prepend, split: true };
        assert_eq!(cut(&all(Prepend::Always), "a b▁▁c"), ["▁a", "▁b", "▁", "▁c"]);
        assert_eq!(cut(&all(Prepend::Never), "a b"), ["a", "▁b"]);
        let chain = Splitter::Sequence(vec![Splitter::Whitespace, all(Prepend::First)]);
        assert_eq!(cut(&chain, "a b"), ["▁a", "b"]);
    }
}
