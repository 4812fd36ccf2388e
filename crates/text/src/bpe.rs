//! Byte-pair encoding: neighbours that were often neighbours become one, the most frequent first.

use crate::error::shorten;
use crate::vocabulary::{Pairs, Vocabulary};
use crate::{Result, TextError};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A byte-pair encoding (Sennrich et al. 2016, Algorithm 1).
#[derive(Clone, Debug)]
pub(crate) struct Bpe {
    vocabulary: Vocabulary,
    /// By pair.
    merges: Vec<Merge>,
    options: BpeOptions,
}

/// What a byte-pair encoding does beside merging.
#[derive(Clone, Debug, Default)]
pub(crate) struct BpeOptions {
    /// What stands for a character that the vocabulary lacks; without it such characters are lost.
    pub(crate) unknown: Option<String>,
    /// Before every character of a word but the first.
    pub(crate) prefix: String,
    /// Behind the last character of a word.
    pub(crate) suffix: String,
    /// Several unknown characters in a row are one unknown token.
    pub(crate) fuse_unknown: bool,
    /// A character that the vocabulary lacks becomes its bytes, `<0x41>`.
    pub(crate) byte_fallback: bool,
    /// A word that is a token is not taken apart.
    pub(crate) whole_words: bool,
}

/// Two tokens that become one.
#[derive(Clone, Copy, Debug)]
struct Merge {
    pair: (u32, u32),
    rank: u32,
    new: u32,
}

/// A part of a word: a list linked both ways.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: u32,
    before: Option<u32>,
    after: Option<u32>,
    /// It was merged into the one before it.
    gone: bool,
}

impl Bpe {
    /// The encoding of a vocabulary and its merges, the first of which has the first rank.
    ///
    /// # Errors
    /// A merge whose tokens, or whose result, the vocabulary lacks, in words.
    pub(crate) fn new(
        vocabulary: Vocabulary,
        pairs: &Pairs,
        options: BpeOptions,
    ) -> std::result::Result<Self, String> {
        let mut merges = Vec::with_capacity(pairs.len());
        let mut joined = String::new();
        for (rank, (left, right)) in pairs.iter().enumerate() {
            let id = |token: &str| {
                let missing =
                    || format!("the merge of \"{}\" and \"{}\"", shorten(left), shorten(right));
                vocabulary.id(token).ok_or_else(missing)
            };
            joined.clear();
            joined.push_str(left);
            joined.push_str(right.get(options.prefix.len()..).unwrap_or(right));
            let pair = (id(left)?, id(right)?);
            merges.push(Merge { pair, rank: rank as u32, new: id(&joined)? });
        }
        // Of merges of the same pair, the last counts: it comes first here and is kept.
        merges.sort_unstable_by_key(|merge| (merge.pair, Reverse(merge.rank)));
        merges.dedup_by_key(|merge| merge.pair);
        Ok(Self { vocabulary, merges, options })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn merge(&self, pair: (u32, u32)) -> Option<Merge> {
        let at = self.merges.binary_search_by_key(&pair, |merge| merge.pair).ok()?;
        self.merges.get(at).copied()
    }

    /// The ids of a word.
    ///
    /// # Errors
    /// A character that is not in the vocabulary, where the unknown token is not either.
    pub(crate) fn encode(&self, word: &str, out: &mut Vec<u32>) -> Result<()> {
        if self.options.whole_words
            && let Some(id) = self.vocabulary.id(word)
        {
            out.push(id);
            return Ok(());
        }
        let mut symbols = self.symbols(word)?;
        self.merge_all(&mut symbols);
        out.extend(symbols.iter().filter(|symbol| !symbol.gone).map(|symbol| symbol.id));
        Ok(())
    }

    /// The characters of a word.
    fn symbols(&self, word: &str) -> Result<Vec<Symbol>> {
        let mut ids = Vec::with_capacity(word.len());
        let mut pending = None;
        let mut own = String::new();
        for (at, c) in word.char_indices() {
            own.clear();
            if at > 0 {
                own.push_str(&self.options.prefix);
            }
            own.push(c);
            if at + c.len_utf8() == word.len() {
                own.push_str(&self.options.suffix);
            }
            if let Some(id) = self.vocabulary.id(&own) {
                ids.extend(pending.take());
                ids.push(id);
            } else if let Some(bytes) = self.fallback(&own) {
                // An unknown token from before stays pending, as the library has it.
                ids.extend(bytes);
            } else if let Some(unknown) = &self.options.unknown {
                if !self.options.fuse_unknown {
                    ids.extend(pending.take());
                }
                let id = self.vocabulary.id(unknown);
                let error = || TextError::NoUnknown { text: own.clone(), unknown: unknown.clone() };
                pending = Some(id.ok_or_else(error)?);
            }
        }
        ids.extend(pending);
        let last = ids.len().saturating_sub(1) as u32;
        let link = |(at, id)| {
            let at = at as u32;
            Symbol {
                id,
                before: at.checked_sub(1),
                after: (at < last).then_some(at + 1),
                gone: false,
            }
        };
        Ok(ids.into_iter().enumerate().map(link).collect())
    }

    fn fallback(&self, own: &str) -> Option<Vec<u32>> {
        if !self.options.byte_fallback {
            return None;
        }
        own.bytes().map(|byte| self.vocabulary.id(&format!("<0x{byte:02X}>"))).collect()
    }

    /// Merges the pair of the lowest rank, the leftmost of several, until none is left.
    fn merge_all(&self, symbols: &mut [Symbol]) {
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        let offer = |queue: &mut BinaryHeap<_>, symbols: &[Symbol], left: u32, right: u32| {
            let pair = (symbols[left as usize].id, symbols[right as usize].id);
            if let Some(merge) = self.merge(pair) {
                queue.push(Reverse((merge.rank, left, merge.new)));
            }
        };
        for right in 1..symbols.len() as u32 {
            offer(&mut queue, symbols, right - 1, right);
        }
        while let Some(Reverse((_, at, new))) = queue.pop() {
            let left = symbols[at as usize];
            let Some(next) = left.after.filter(|_| !left.gone) else { continue };
            let right = symbols[next as usize];
            // An entry from before one of the two changed is out of date.
            if self.merge((left.id, right.id)).is_none_or(|merge| merge.new != new) {
                continue;
            }
            symbols[next as usize].gone = true;
            symbols[at as usize] = Symbol { id: new, after: right.after, ..left };
            if let Some(after) = right.after {
                symbols[after as usize].before = Some(at);
                offer(&mut queue, symbols, at, after);
            }
            if let Some(before) = left.before {
                offer(&mut queue, symbols, before, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Builder;

    fn bpe(tokens: &[&str], merges: &[&str], options: BpeOptions) -> Bpe {
        let mut builder = Builder::default();
        for (id, token) in tokens.iter().enumerate() {
            builder.push(token, id as u32).unwrap();
        }
        let mut pairs = Pairs::default();
        merges.iter().for_each(|line| pairs.push_line(line).unwrap());
        Bpe::new(builder.finish(), &pairs, options).unwrap()
    }

    fn ids(bpe: &Bpe, word: &str) -> Vec<u32> {
        let mut out = vec![];
        bpe.encode(word, &mut out).unwrap();
        out
    }

    #[test]
    fn the_lowest_rank_comes_first_and_the_leftmost_of_equals() {
        let tokens = ["a", "b", "c</w>", "ab", "bc</w>", "abc</w>", "aa", "a</w>"];
        let options = || BpeOptions { suffix: "</w>".into(), ..Default::default() };
        let one = bpe(&tokens, &["a b", "b c</w>", "ab c</w>", "a a"], options());
        assert_eq!(ids(&one, "abc"), [5]);
        let two = bpe(&tokens, &["b c</w>", "a b", "ab c</w>", "a a"], options());
        assert_eq!(ids(&two, "abc"), [0, 4]);
        assert_eq!(ids(&two, "aaaa"), [6, 0, 7]);
    }

    #[test]
    fn unknown_characters_are_fused_kept_apart_or_lost() {
        let with = |fuse| BpeOptions {
            unknown: Some("?".into()),
            fuse_unknown: fuse,
            ..Default::default()
        };
        assert_eq!(ids(&bpe(&["?", "a"], &[], with(true)), "xya"), [0, 1]);
        assert_eq!(ids(&bpe(&["?", "a"], &[], with(false)), "xya"), [0, 0, 1]);
        assert_eq!(ids(&bpe(&["?", "a"], &[], BpeOptions::default()), "xya"), [1]);
        let none = bpe(&["a"], &[], with(true));
        assert!(matches!(none.encode("x", &mut vec![]), Err(TextError::NoUnknown { .. })));
    }

    #[test]
    fn a_merge_outside_the_vocabulary_is_refused() {
        let mut builder = Builder::default();
        builder.push("a", 0).unwrap();
        let mut pairs = Pairs::default();
        pairs.push("a", "a").unwrap();
        let error = Bpe::new(builder.finish(), &pairs, BpeOptions::default()).unwrap_err();
        assert_eq!(error, "the merge of \"a\" and \"a\"");
    }
}
