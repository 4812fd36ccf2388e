//! Prompts as users of the WebUI write them: weights in brackets.
//!
//! | written | weight |
//! |---|---|
//! | `(word)` | 1.1 |
//! | `((word))` | 1.21 |
//! | `(word:1.5)` | 1.5 |
//! | `[word]` | 1 / 1.1 |
//! | `\(word\)` | 1, with the brackets |
//! | `a BREAK b` | `b` starts a new chunk |
//!
//! Brackets multiply what is in them. One that is closed but was not opened is text; one that is
//! opened but not closed reaches to the end. All rules: `docs/prompts.md`.

use crate::characters::{is_letter, is_number, is_python_space as is_space};

/// The factor of `(word)`; `[word]` has its inverse.
pub const BRACKET: f64 = 1.1;

/// The most brackets that may be open at once; more are text. Each multiplies all that is in it, so
/// that without a limit a long prompt would take as long as its length squared.
pub const MAX_OPEN: usize = 100;

/// What [`parse`] gives for `BREAK`: this text with this weight.
///
/// A weight multiplies it like everything else in its brackets, so that within weighted brackets it
/// is a word, as in the WebUI.
pub const BREAK: (&str, f32) = ("BREAK", -1.0);

/// Cuts a prompt into texts and their weights.
///
/// ```
/// use sumi_text::prompt::parse;
///
/// let parts = parse("a (red:1.5) ((hat:0.5))");
/// let parts: Vec<_> = parts.iter().map(|(text, weight)| (text.as_str(), *weight)).collect();
/// assert_eq!(parts, [("a ", 1.0), ("red", 1.5), (" ", 1.0), ("hat", 0.55)]);
/// ```
pub fn parse(text: &str) -> Vec<(String, f32)> {
    let mut parts = Parts::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '\\' => {
                // A bracket or backslash behind it is text; it itself is dropped either way.
                let escaped = rest[1..].chars().next().filter(|c| "()[]\\".contains(*c));
                length += escaped.map_or(0, char::len_utf8);
                parts.push(&rest[1..length], 1.0);
            }
            '(' if parts.may_open() => parts.round.push(parts.all.len()),
            '[' if parts.may_open() => parts.square.push(parts.all.len()),
            '(' | '[' => parts.push(&rest[..1], 1.0),
            ')' if parts.close_round(BRACKET) => {}
            ']' if parts.close_square() => {}
            ')' | ']' => parts.push(&rest[..1], 1.0),
            ':' => match weight(rest) {
                Some((end, weight)) => {
                    length = end;
                    if !parts.close_round(weight) {
                        parts.push(&rest[..end], 1.0);
                    }
                }
                None => parts.push(":", 1.0),
            },
            _ => {
                length = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                parts.push_words(&rest[..length]);
            }
        }
        rest = &rest[length..];
    }
    parts.finish()
}

/// Texts and weights so far, and the brackets that are open.
#[derive(Default)]
struct Parts {
    all: Vec<(String, f64)>,
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parts {
    fn may_open(&self) -> bool {
        self.round.len() + self.square.len() < MAX_OPEN
    }

    fn push(&mut self, text: &str, weight: f64) {
        self.all.push((text.to_owned(), weight));
    }

    /// A text without brackets, cut at every `BREAK`.
    fn push_words(&mut self, text: &str) {
        let mut start = 0;
        for (from, to) in breaks(text) {
            self.push(&text[start..from], 1.0);
            self.push(BREAK.0, f64::from(BREAK.1));
            start = to;
        }
        self.push(&text[start..], 1.0);
    }

    fn multiply(&mut self, from: usize, factor: f64) {
        for (_, weight) in &mut self.all[from..] {
            *weight *= factor;
        }
    }

    fn close_round(&mut self, factor: f64) -> bool {
        let open = self.round.pop();
        open.map(|from| self.multiply(from, factor)).is_some()
    }

    fn close_square(&mut self) -> bool {
        let open = self.square.pop();
        open.map(|from| self.multiply(from, 1.0 / BRACKET)).is_some()
    }

    /// Closes what is open and joins neighbours of the same weight.
    fn finish(mut self) -> Vec<(String, f32)> {
        // Both lists are in order, so that one walk does.
        for (at, (_, weight)) in self.all.iter_mut().enumerate() {
            for _ in self.round.iter().take_while(|&&from| from <= at) {
                *weight *= BRACKET;
            }
            for _ in self.square.iter().take_while(|&&from| from <= at) {
                *weight *= 1.0 / BRACKET;
            }
        }
        let mut joined: Vec<(String, f64)> = vec![];
        for (text, weight) in self.all {
            match joined.last_mut() {
                Some((last, same)) if *same == weight => last.push_str(&text),
                _ => joined.push((text, weight)),
            }
        }
        if joined.is_empty() {
            joined.push((String::new(), 1.0));
        }
        joined.into_iter().map(|(text, weight)| (text, weight as f32)).collect()
    }
}

/// The length and the weight of `:1.2)` at the start, with spaces around the number.
///
/// What is not a number, such as `:1.2.3)`, is text.
fn weight(text: &str) -> Option<(usize, f64)> {
    let behind = text.strip_prefix(':')?.trim_start_matches(is_space);
    let end = behind.find(|c: char| !is_numeral(c)).unwrap_or(behind.len());
    let (number, rest) = behind.split_at(end);
    let rest = rest.trim_start_matches(is_space).strip_prefix(')')?;
    // Weights typed with a Chinese keyboard are numbers too.
    let ascii = |c| match u32::from(c) {
        code @ 0xFF10..=0xFF19 => char::from(b'0' + (code - 0xFF10) as u8),
        _ => c,
    };
    let number: f64 = number.chars().map(ascii).collect::<String>().parse().ok()?;
    Some((text.len() - rest.len(), number))
}

fn is_numeral(c: char) -> bool {
    matches!(c, '0'..='9' | '０'..='９' | '.' | '+' | '-')
}

/// Where `BREAK` stands as a word of its own, with the spaces around it.
fn breaks(text: &str) -> Vec<(usize, usize)> {
    let is_word = |c: char| is_letter(c) || is_number(c) || c == '_';
    let mut found = vec![];
    let mut start = 0;
    for (at, word) in text.match_indices(BREAK.0) {
        let (before, behind) = (&text[..at], &text[at + word.len()..]);
        if before.chars().next_back().is_some_and(is_word)
            || behind.chars().next().is_some_and(is_word)
        {
            continue;
        }
        let from = before.trim_end_matches(is_space).len().max(start);
        start = text.len() - behind.trim_start_matches(is_space).len();
        found.push((from, start));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, f32)> {
        parse(text)
    }

    fn assert_parts(text: &str, expected: &[(&str, f64)]) {
        let expected: Vec<(String, f32)> =
            expected.iter().map(|(text, weight)| ((*text).to_owned(), *weight as f32)).collect();
        assert_eq!(parsed(text), expected, "{text:?}");
    }

    #[test]
    fn brackets_multiply() {
        assert_parts("", &[("", 1.0)]);
        assert_parts("plain text", &[("plain text", 1.0)]);
        assert_parts("(a)", &[("a", 1.1)]);
        assert_parts("((a))", &[("a", 1.1 * 1.1)]);
        assert_parts("[a]", &[("a", 1.0 / 1.1)]);
        assert_parts("(a:1.5)(b: .5 )", &[("a", 1.5), ("b", 0.5)]);
        assert_parts("((a:1.5) b)", &[("a", 1.5 * 1.1), (" b", 1.1)]);
        assert_parts("(a:-1)(b:+2)", &[("a", -1.0), ("b", 2.0)]);
        assert_parts("(a:１．５)(b:１.５)", &[("a:１．５", 1.1), ("b", 1.5)]);
    }

    #[test]
    fn brackets_that_do_not_match_are_text_or_reach_to_the_end() {
        assert_parts("a)", &[("a)", 1.0)]);
        assert_parts("a]", &[("a]", 1.0)]);
        assert_parts("a (b c", &[("a ", 1.0), ("b c", 1.1)]);
        assert_parts("a [b (c", &[("a ", 1.0), ("b ", 1.0 / 1.1), ("c", 1.1 * (1.0 / 1.1))]);
        assert_parts("(a]b)", &[("a]b", 1.1)]);
        assert_parts("a:1.5)", &[("a:1.5)", 1.0)]);
        assert_parts("[a:1.5)", &[("a:1.5)", 1.0 / 1.1)]);
    }

    #[test]
    fn a_hundred_brackets_are_open_at_most() {
        let parts = parse(&"(".repeat(101));
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].0, "(");
        let grown = (1.1_f64.powi(100)) as f32;
        assert!((parts[0].1 / grown - 1.0).abs() < 1e-5, "{}", parts[0].1);
    }

    #[test]
    fn what_is_no_weight_is_text() {
        assert_parts("(a:b)", &[("a:b", 1.1)]);
        assert_parts("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        assert_parts("(a:)", &[("a:", 1.1)]);
        assert_parts("a:1.2", &[("a:1.2", 1.0)]);
    }

    #[test]
    fn escaped_brackets_are_text() {
        assert_parts(r"\(a\) \[b\] \\ \c", &[(r"(a) [b] \ c", 1.0)]);
        assert_parts(r"(\(a\):1.5)", &[("(a)", 1.5)]);
        assert_parts("\\", &[("", 1.0)]);
    }

    #[test]
    fn break_is_a_part_of_its_own() {
        assert_parts("a BREAK b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        assert_parts("BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0)]);
        assert_parts("BREAKS xBREAK BREAK_", &[("BREAKS xBREAK BREAK_", 1.0)]);
        let two = [("a", 1.0), ("BREAK", -1.0), ("", 1.0), ("BREAK", -1.0), ("b", 1.0)];
        assert_parts("a\nBREAK BREAK\tb", &two);
        assert_parts("(a BREAK b)", &[("a", 1.1), ("BREAK", -1.1), ("b", 1.1)]);
    }
}
