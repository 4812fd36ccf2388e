//! From tokens back to text.

use crate::characters::{is_python_space, to_byte};

/// A way to put tokens together.
#[derive(Clone, Debug)]
pub(crate) enum Decoder {
    /// Characters that stand for bytes; behind a word ends what is told here, if anything.
    ByteLevel { suffix: String },
    /// Spaces between tokens, but not before those with the prefix.
    WordPiece { prefix: String, cleanup: bool },
    /// A character that stands for a space; none comes before the first word.
    Metaspace { replacement: char, prepended: bool },
    /// A suffix behind the last token of a word.
    Suffix(String),
    /// Spaces between tokens.
    Spaces,
}

impl Decoder {
    /// The text of these tokens.
    pub(crate) fn text(&self, tokens: &[&str]) -> String {
        match self {
            Self::ByteLevel { suffix } => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| bytes_of(token)).collect();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                match suffix.is_empty() {
                    true => text,
                    false => {
                        text.replace(suffix.as_str(), " ").trim_matches(is_python_space).to_owned()
                    }
                }
            }
            Self::WordPiece { prefix, cleanup } => {
                let piece = |(at, token): (usize, &&str)| {
                    let piece = match token.strip_prefix(prefix.as_str()) {
                        _ if at == 0 => (*token).to_owned(),
                        Some(rest) => rest.to_owned(),
                        None => format!(" {token}"),
                    };
                    if *cleanup { tidy(&piece).replace(" do not", " don't") } else { piece }
                };
                tokens.iter().enumerate().map(piece).collect()
            }
            Self::Metaspace { replacement, prepended } => {
                let piece = |(at, token): (usize, &&str)| match at == 0 && *prepended {
                    true => token.replace(*replacement, ""),
                    false => token.replace(*replacement, " "),
                };
                tokens.iter().enumerate().map(piece).collect()
            }
            Self::Suffix(suffix) => {
                let last = tokens.len().saturating_sub(1);
                let piece = |(at, token): (usize, &&str)| {
                    token.replace(suffix.as_str(), if at == last { "" } else { " " })
                };
                tokens.iter().enumerate().map(piece).collect()
            }
            Self::Spaces => tokens.join(" "),
        }
    }
}

/// The bytes that the characters of a token stand for, or its own where one stands for none.
fn bytes_of(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(to_byte).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Takes away the spaces before punctuation and contractions.
pub(crate) fn tidy(text: &str) -> String {
    const GLUED: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    GLUED.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_puts_tokens_together() {
        let clip = Decoder::ByteLevel { suffix: "</w>".into() };
        assert_eq!(clip.text(&["a</w>", "caf", "Ã©</w>", "!</w>"]), "a café !");
        let bert = Decoder::WordPiece { prefix: "##".into(), cleanup: true };
        assert_eq!(bert.text(&["un", "##able", ",", "no"]), "unable, no");
        let t5 = Decoder::Metaspace { replacement: '▁', prepended: true };
        assert_eq!(t5.text(&["▁a", "▁b", "c"]), "a bc");
        assert_eq!(Decoder::Suffix("</w>".into()).text(&["a</w>", "b</w>"]), "a b");
        assert_eq!(Decoder::Spaces.text(&["a", "b"]), "a b");
    }
}
