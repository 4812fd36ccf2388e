//! The unigram language model: the most probable way to put a text together.

use crate::vocabulary::Vocabulary;
use crate::{Result, TextError};

/// A unigram model (Kudo 2018, Sec. 3.2), as SentencePiece and T5 have it.
#[derive(Clone, Debug)]
pub(crate) struct Unigram {
    vocabulary: Vocabulary,
    /// Logarithms of probabilities, by id.
    scores: Vec<f64>,
    least: f64,
    unknown: Option<u32>,
    byte_fallback: bool,
}

/// How much less probable an unknown character is than the rarest token, as a logarithm.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The best way to a place in the text.
#[derive(Clone, Copy, Default)]
struct Best {
    id: Option<u32>,
    score: f64,
    start: Option<usize>,
}

impl Best {
    fn offer(&mut self, id: Option<u32>, score: f64, start: usize) {
        if self.start.is_none() || score > self.score {
            *self = Self { id, score, start: Some(start) };
        }
    }
}

impl Unigram {
    /// A model whose unknown token is one of the vocabulary.
    ///
    /// # Errors
    /// An unknown token that is not, in words.
    pub(crate) fn new(
        vocabulary: Vocabulary,
        scores: Vec<f64>,
        unknown: Option<u32>,
        byte_fallback: bool,
    ) -> std::result::Result<Self, String> {
        match unknown {
            Some(id) if id as usize >= scores.len() => {
                Err(format!("the unknown token {id} of {} tokens", scores.len()))
            }
            _ => {
                let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
                Ok(Self { vocabulary, scores, least, unknown, byte_fallback })
            }
        }
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The ids of a word.
    ///
    /// # Errors
    /// A character that is not in the vocabulary, where there is no unknown token.
    pub(crate) fn encode(&self, word: &str, out: &mut Vec<u32>) -> Result<()> {
        let best = self.best(word);
        let mut pieces = vec![];
        let mut end = word.len();
        while let Some(Best { id, start: Some(start), .. }) = best.get(end).filter(|_| end > 0) {
            // Several unknown characters in a row are one.
            match pieces.last_mut() {
                Some((None, from, _)) if id.is_none() => *from = *start,
                _ => pieces.push((*id, *start, end)),
            }
            end = *start;
        }
        for (id, start, end) in pieces.into_iter().rev() {
            match id {
                Some(id) => out.push(id),
                None => self.encode_unknown(&word[start..end], out)?,
            }
        }
        Ok(())
    }

    /// The most probable way to every place (Viterbi); no id stands for the unknown token.
    fn best(&self, word: &str) -> Vec<Best> {
        let unknown_score = self.least - UNKNOWN_PENALTY;
        let mut best = vec![Best::default(); word.len() + 1];
        for (start, c) in word.char_indices() {
            let here = best[start].score;
            let mut single = false;
            self.vocabulary.prefixes(&word[start..], |length, id| {
                let score = self.scores.get(id as usize).copied().unwrap_or(self.least);
                let known = (Some(id) != self.unknown).then_some(id);
                best[start + length].offer(known, score + here, start);
                single |= length == c.len_utf8();
            });
            if !single {
                best[start + c.len_utf8()].offer(None, unknown_score + here, start);
            }
        }
        best
    }

    fn encode_unknown(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        // Two unknown characters may together be a token that was less probable than they are.
        if let Some(id) = self.vocabulary.id(text) {
            out.push(id);
            return Ok(());
        }
        if self.byte_fallback {
            let bytes = text.bytes().map(|byte| self.vocabulary.id(&format!("<0x{byte:02X}>")));
            if let Some(ids) = bytes.collect::<Option<Vec<_>>>() {
                out.extend(ids);
                return Ok(());
            }
        }
        let error = || TextError::NoUnknown { text: text.into(), unknown: String::new() };
        out.push(self.unknown.ok_or_else(error)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Builder;

    #[test]
    fn the_most_probable_way_wins() {
        let builder: Builder = serde_json::from_str(
            r#"[["<unk>", 0], ["a", -1], ["b", -1], ["ab", -2.5], ["abc", -2.5]]"#,
        )
        .unwrap();
        let scores = builder.scores.clone();
        let model = Unigram::new(builder.finish(), scores.clone(), Some(0), false).unwrap();
        let ids = |word| {
            let mut out = vec![];
            model.encode(word, &mut out).unwrap();
            out
        };
        assert_eq!(ids("ab"), [1, 2]);
        assert_eq!(ids("abc"), [4]);
        assert_eq!(ids("axyb"), [1, 0, 2], "unknown ones are fused");
        assert_eq!(ids(""), [0; 0]);
        let error = Unigram::new(Vocabulary::default(), scores, Some(5), false).unwrap_err();
        assert_eq!(error, "the unknown token 5 of 5 tokens");
    }
}
