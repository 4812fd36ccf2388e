//! WordPiece: the longest token that a word starts with, and so on.

use crate::vocabulary::Vocabulary;
use crate::{Result, TextError};

/// A WordPiece model, as BERT has it.
#[derive(Clone, Debug)]
pub(crate) struct WordPiece {
    pub(crate) vocabulary: Vocabulary,
    /// What stands for a word that cannot be put together.
    pub(crate) unknown: String,
    /// Before every token that does not start a word.
    pub(crate) prefix: String,
    /// A longer word is unknown.
    pub(crate) max_chars: usize,
}

/// The longest word that BERT looks at, in characters.
pub(crate) const MAX_WORD_CHARS: usize = 100;

impl WordPiece {
    /// The ids of a word.
    ///
    /// # Errors
    /// A word that cannot be put together, where the unknown token is not in the vocabulary.
    pub(crate) fn encode(&self, word: &str, out: &mut Vec<u32>) -> Result<()> {
        let kept = out.len();
        let short = word.chars().nth(self.max_chars).is_none();
        if short && self.longest_first(word, out) {
            return Ok(());
        }
        out.truncate(kept);
        let id = self.vocabulary.id(&self.unknown);
        let error = || TextError::NoUnknown { text: word.into(), unknown: self.unknown.clone() };
        out.push(id.ok_or_else(error)?);
        Ok(())
    }

    /// Whether the whole word could be put together.
    fn longest_first(&self, word: &str, out: &mut Vec<u32>) -> bool {
        let mut rest = word.to_owned();
        let mut prefix = 0;
        while rest.len() > prefix {
            let mut longest = None;
            self.vocabulary.prefixes(&rest, |length, id| {
                if length > prefix {
                    longest = Some((length, id));
                }
            });
            let Some((length, id)) = longest else { return false };
            out.push(id);
            rest.replace_range(..length, &self.prefix);
            prefix = self.prefix.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Builder;

    #[test]
    fn the_longest_token_wins_and_a_word_is_whole_or_unknown() {
        let mut builder = Builder::default();
        for (id, token) in ["[UNK]", "un", "##aff", "##able", "unaff", "##"].iter().enumerate() {
            builder.push(token, id as u32).unwrap();
        }
        let model = WordPiece {
            vocabulary: builder.finish(),
            unknown: "[UNK]".into(),
            prefix: "##".into(),
            max_chars: 12,
        };
        let ids = |word| {
            let mut out = vec![];
            model.encode(word, &mut out).unwrap();
            out
        };
        assert_eq!(ids("unaffable"), [4, 3]);
        assert_eq!(ids("unable"), [1, 3]);
        assert_eq!(ids("unaffables"), [0]);
        assert_eq!(ids("unableableab"), [0]);
        assert_eq!(ids("unaffableable"), [0], "13 characters");
    }
}
