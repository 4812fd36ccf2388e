//! Tokens and their ids.

use crate::error::shorten;
use crate::limits::MAX_TOKENS;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A token: where it lies in the text, and its id.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
    id: u32,
}

/// A map from token to id and back.
///
/// All tokens lie in one string and are found by bisection: a map of owned strings would take ten
/// times the bytes of a file of short tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    text: String,
    /// By token.
    entries: Vec<Entry>,
    /// Places in `entries`, by id.
    by_id: Vec<u32>,
}

/// Tokens in the order of their file.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    text: String,
    entries: Vec<Entry>,
    /// Of a unigram vocabulary: the logarithms of the probabilities, by id.
    pub(crate) scores: Vec<f64>,
}

impl Builder {
    /// Adds a token; one that is there already gets the new id.
    ///
    /// # Errors
    /// More than [`MAX_TOKENS`], in words.
    pub(crate) fn push(&mut self, token: &str, id: u32) -> Result<(), String> {
        if self.entries.len() >= MAX_TOKENS {
            return Err(format!("a vocabulary of more than {MAX_TOKENS} tokens"));
        }
        let start = u32::try_from(self.text.len()).map_err(|_| "more than 4 GB of tokens")?;
        let length = u32::try_from(token.len()).map_err(|_| "a token of more than 4 GB")?;
        self.text.push_str(token);
        self.entries.push(Entry { start, length, id });
        Ok(())
    }

    /// The number of tokens so far, repeated ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The vocabulary of what was added.
    pub(crate) fn finish(self) -> Vocabulary {
        let Self { text, mut entries, .. } = self;
        let token = |entry: &Entry| bytes(&text, entry);
        // Of tokens that occur twice, the last counts: it comes first here and is kept.
        entries.sort_unstable_by(|a, b| token(a).cmp(token(b)).then(b.start.cmp(&a.start)));
        entries.dedup_by(|b, a| token(a) == token(b));
        let mut by_id: Vec<u32> = (0..entries.len() as u32).collect();
        by_id.sort_unstable_by_key(|&at| entries[at as usize].id);
        Vocabulary { text, entries, by_id }
    }
}

fn bytes<'a>(text: &'a str, entry: &Entry) -> &'a [u8] {
    &text.as_bytes()[entry.start as usize..][..entry.length as usize]
}

impl Vocabulary {
    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The id of a token.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        let found =
            self.entries.binary_search_by(|entry| bytes(&self.text, entry).cmp(token.as_bytes()));
        found.ok().map(|at| self.entries[at].id)
    }

    /// A token with this id.
    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        let entry = |at: u32| self.entries[at as usize];
        let at = self.by_id.binary_search_by_key(&id, |&at| entry(at).id).ok()?;
        let entry = entry(self.by_id[at]);
        self.text.get(entry.start as usize..(entry.start + entry.length) as usize)
    }

    /// Calls `found` with the length in bytes and the id of every token that `text` starts with,
    /// from short to long.
    pub(crate) fn prefixes(&self, text: &str, mut found: impl FnMut(usize, u32)) {
        let mut range = &self.entries[..];
        for (depth, &byte) in text.as_bytes().iter().enumerate() {
            // All in the range agree with the text so far; an ended token sorts before all longer.
            let next = |entry: &Entry| bytes(&self.text, entry).get(depth).copied();
            let from = range.partition_point(|entry| next(entry) < Some(byte));
            let to = range.partition_point(|entry| next(entry) <= Some(byte));
            range = &range[from..to];
            match range.first() {
                None => return,
                Some(first) if first.length as usize == depth + 1 => found(depth + 1, first.id),
                Some(_) => {}
            }
        }
    }
}

/// Reads `{"token": 0, ..}` and `[["token", -1.5], ..]`, the two forms of a vocabulary.
impl<'de> serde::Deserialize<'de> for Builder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Builder;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from token to id, or a list of tokens and scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Builder, A::Error> {
                let mut builder = Builder::default();
                while let Some((Token(token), id)) = map.next_entry::<Token, u32>()? {
                    builder.push(&token, id).map_err(A::Error::custom)?;
                }
                Ok(builder)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Builder, A::Error> {
                let mut builder = Builder::default();
                while let Some((Token(token), score)) = seq.next_element::<(Token, f64)>()? {
                    let id = builder.len() as u32;
                    builder.push(&token, id).map_err(A::Error::custom)?;
                    builder.scores.push(score);
                }
                Ok(builder)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// A string of the file, borrowed where it has no escapes.
struct Token<'a>(std::borrow::Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Token<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Token<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Token<'de>, E> {
                Ok(Token(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Token<'de>, E> {
                Ok(Token(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Pairs of tokens that become one, in the order of their ranks.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    text: String,
    /// Where a pair starts, where its second token starts, where it ends.
    places: Vec<[u32; 3]>,
}

impl Pairs {
    /// Adds the pair of the next rank.
    ///
    /// # Errors
    /// More than [`crate::MAX_MERGES`], in words.
    pub(crate) fn push(&mut self, left: &str, right: &str) -> Result<(), String> {
        if self.places.len() >= crate::MAX_MERGES {
            return Err(format!("more than {} merges", crate::MAX_MERGES));
        }
        let at = |length| u32::try_from(length).map_err(|_| "more than 4 GB of merges");
        let start = at(self.text.len())?;
        self.text.push_str(left);
        let middle = at(self.text.len())?;
        self.text.push_str(right);
        self.places.push([start, middle, at(self.text.len())?]);
        Ok(())
    }

    /// Adds `left right`, with one space between them.
    ///
    /// # Errors
    /// No or several spaces, or too many merges, in words.
    pub(crate) fn push_line(&mut self, line: &str) -> Result<(), String> {
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => self.push(left, right),
            _ => Err(format!("a merge \"{}\" that is not two tokens", shorten(line))),
        }
    }

    /// The number of pairs.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The pairs, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|&[start, middle, end]| {
            let piece = |from: u32, to: u32| &self.text[from as usize..to as usize];
            (piece(start, middle), piece(middle, end))
        })
    }
}

/// Reads `["a b", ..]` and `[["a", "b"], ..]`, the two forms of merges.
impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = Pairs::default();
                while seq.next_element_seed(One(&mut pairs))?.is_some() {}
                Ok(pairs)
            }
        }
        deserializer.deserialize_seq(All)
    }
}

/// One merge, in either form.
struct One<'a>(&'a mut Pairs);

impl<'de> serde::de::DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a merge: two tokens")
    }

    fn visit_str<E: Error>(self, line: &str) -> Result<(), E> {
        self.0.push_line(line).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let short = || A::Error::custom("a merge that is not two tokens");
        let Token(left) = seq.next_element()?.ok_or_else(short)?;
        let Token(right) = seq.next_element()?.ok_or_else(short)?;
        if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return Err(short());
        }
        self.0.push(&left, &right).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_tokens_counts() {
        let builder: Builder =
            serde_json::from_str(r#"{"a": 0, "ab": 1, "a": 2, "abc": 3}"#).unwrap();
        let vocabulary = builder.finish();
        assert_eq!(vocabulary.len(), 3);
        assert_eq!(vocabulary.id("a"), Some(2));
        assert_eq!(vocabulary.id("b"), None);
        assert_eq!(vocabulary.token(3), Some("abc"));
        assert_eq!(vocabulary.token(0), None);
    }

    #[test]
    fn prefixes_come_from_short_to_long() {
        let builder: Builder =
            serde_json::from_str(r#"{"": 0, "a": 1, "b": 2, "abc": 3, "abd": 4, "abcd": 5}"#)
                .unwrap();
        let mut found = vec![];
        builder.finish().prefixes("abcde", |length, id| found.push((length, id)));
        assert_eq!(found, [(1, 1), (3, 3), (4, 5)]);
    }

    #[test]
    fn both_forms_of_merges_are_read() {
        let pairs: Pairs = serde_json::from_str(r#"["a b", ["c d", "e"]]"#).unwrap();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "b"), ("c d", "e")]);
        for bad in [r#"["ab"]"#, r#"["a b c"]"#, r#"[["a"]]"#, r#"[["a", "b", "c"]]"#, "[1]"] {
            assert!(serde_json::from_str::<Pairs>(bad).is_err(), "{bad}");
        }
    }
}
