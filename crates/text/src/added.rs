//! Tokens that are looked for in the text before it is cut: special ones, and those that were added
//! to a vocabulary later.

use crate::characters::is_word;
use crate::limits::MAX_ADDED;
use crate::normalize::Normalizer;
use crate::vocabulary::{Builder, Vocabulary};
use crate::{Result, TextError};
use std::collections::BTreeMap;

/// An added token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) content: String,
    /// Only between characters that are not of a word.
    pub(crate) single_word: bool,
    /// Swallows the white space before it.
    pub(crate) lstrip: bool,
    /// Swallows the white space behind it.
    pub(crate) rstrip: bool,
    /// It is looked for in the normalised text, in its own normalised form.
    pub(crate) normalized: bool,
    pub(crate) special: bool,
}

impl AddedToken {
    /// A special token as the library makes it from a string alone.
    pub(crate) fn special(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }
}

/// All added tokens of a tokenizer.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddedTokens {
    by_id: BTreeMap<u32, AddedToken>,
    ids: BTreeMap<String, u32>,
    /// Normalised forms that differ.
    forms: BTreeMap<u32, String>,
    raw: Vocabulary,
    normalized: Vocabulary,
}

/// A part of a text: an added token, or text between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Token(u32),
    Text(&'a str),
}

impl AddedTokens {
    /// Adds tokens: one that the vocabulary has keeps its id, others get the next free ones.
    ///
    /// # Errors
    /// Too many tokens, or one whose normalised form explodes.
    pub(crate) fn add(
        &mut self,
        tokens: Vec<AddedToken>,
        vocabulary: &Vocabulary,
        normalizer: Option<&Normalizer>,
    ) -> Result<()> {
        let size = vocabulary.len() as u32;
        let last = self.by_id.keys().next_back();
        let mut next = last.map_or(size, |&id| size.max(id.saturating_add(1)));
        for token in tokens.into_iter().filter(|token| !token.content.is_empty()) {
            if self.by_id.len() >= MAX_ADDED {
                return Err(TextError::TooLarge {
                    place: "the added tokens".into(),
                    limit: MAX_ADDED as u64,
                    found: self.by_id.len() as u64 + 1,
                });
            }
            let known = self.ids.get(&token.content).copied();
            let id = known.or_else(|| vocabulary.id(&token.content)).unwrap_or_else(|| {
                next = next.saturating_add(1);
                next - 1
            });
            if let Some(normalizer) = normalizer.filter(|_| token.normalized) {
                let form = normalizer.apply(&token.content)?;
                if form != token.content {
                    self.forms.insert(id, form);
                }
            }
            self.ids.insert(token.content.clone(), id);
            self.by_id.insert(id, token);
        }
        self.index();
        Ok(())
    }

    fn index(&mut self) {
        let of = |normalized: bool| {
            let mut builder = Builder::default();
            for (&id, token) in self.by_id.iter().filter(|(_, t)| t.normalized == normalized) {
                let form = self.forms.get(&id).filter(|_| normalized);
                // There are fewer than a vocabulary may hold.
                let _ = builder.push(form.unwrap_or(&token.content), id);
            }
            builder.finish()
        };
        (self.raw, self.normalized) = (of(false), of(true));
    }

    /// The id of an added token.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The added token with this id, in the form in which it is found in texts.
    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        let token = self.by_id.get(&id)?;
        Some(self.forms.get(&id).unwrap_or(&token.content))
    }

    /// Cuts a text at the tokens that are looked for before normalisation, or after it.
    pub(crate) fn cut<'a>(&self, text: &'a str, normalized: bool) -> Vec<Part<'a>> {
        let tokens = if normalized { &self.normalized } else { &self.raw };
        let mut parts = vec![];
        let (mut start, mut at) = (0, 0);
        while tokens.len() > 0 && at < text.len() {
            let mut longest = None;
            tokens.prefixes(&text[at..], |length, id| longest = Some((length, id)));
            let Some((length, id)) = longest else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let (from, mut to) = (at, at + length);
            at = to;
            let Some(token) = self.by_id.get(&id) else { continue };
            if token.single_word && touches_word(&text[..from], &text[to..]) {
                continue;
            }
            let before = if token.lstrip { text[..from].trim_end().len() } else { from };
            let from = before.max(start);
            if token.rstrip {
                to = text.len() - text[to..].trim_start().len();
            }
            if start < from {
                parts.push(Part::Text(&text[start..from]));
            }
            parts.push(Part::Token(id));
            start = to;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }
}

fn touches_word(before: &str, behind: &str) -> bool {
    before.chars().next_back().is_some_and(is_word) || behind.chars().next().is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(all: Vec<AddedToken>, normalizer: Option<&Normalizer>) -> AddedTokens {
        let mut added = AddedTokens::default();
        added.add(all, &Vocabulary::default(), normalizer).unwrap();
        added
    }

    #[test]
    fn the_longest_of_the_leftmost_wins() {
        let all = ["<a>", "<a>b", "b<"].map(AddedToken::special).to_vec();
        let added = tokens(all, None);
        let parts = added.cut("x<a>b<a>", false);
        assert_eq!(parts, [Part::Text("x"), Part::Token(1), Part::Token(0)]);
        assert_eq!(added.cut("", false), []);
    }

    #[test]
    fn white_space_is_swallowed_where_asked_for() {
        let plain = AddedToken::special("<a>");
        let both = AddedToken { lstrip: true, rstrip: true, ..plain.clone() };
        let parts = tokens(vec![both], None);
        let parts = parts.cut("x  <a> <a>  y", false);
        let expected = [Part::Text("x"), Part::Token(0), Part::Token(0), Part::Text("y")];
        assert_eq!(parts, expected);
        let single = tokens(vec![AddedToken { single_word: true, ..plain }], None);
        assert_eq!(single.cut("x<a>", false), [Part::Text("x<a>")]);
        assert_eq!(single.cut("-<a>", false), [Part::Text("-"), Part::Token(0)]);
    }

    #[test]
    fn normalized_tokens_are_found_in_their_normalized_form() {
        let token = AddedToken { normalized: true, ..AddedToken::special("<END>") };
        let added = tokens(vec![token], Some(&Normalizer::Lowercase));
        assert_eq!(added.cut("<end>", true), [Part::Token(0)]);
        assert_eq!(added.cut("<END>", true), [Part::Text("<END>")]);
        assert_eq!(added.token(0), Some("<end>"));
        assert_eq!(added.id("<END>"), Some(0));
    }
}
