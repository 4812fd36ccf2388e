//! What a picture was made from, as the AUTOMATIC1111 WebUI writes it under `parameters`.
//!
//! ```text
//! a cat, (red hat:1.2)
//! Negative prompt: blurry
//! Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 512x512
//! ```
//!
//! Both prompts may have several lines; the fields are the last line. A value with a comma, a colon or
//! a line break is written as a JSON string.

use std::fmt;

/// The keyword of the chunk that holds it.
pub const KEYWORD: &str = "parameters";

const NEGATIVE: &str = "Negative prompt:";

/// A last line with fewer fields is part of the prompt.
const LEAST_FIELDS: usize = 3;

/// What a picture was made from.
///
/// ```
/// use sumi_formats::infotext::Infotext;
///
/// let fields = [("Steps", "20"), ("Seed", "1"), ("Lora hashes", "ink: 0123456789ab")];
/// let text = Infotext::new("a cat", "dog", fields).to_string();
/// assert_eq!(
///     text,
///     "a cat\nNegative prompt: dog\nSteps: 20, Seed: 1, Lora hashes: \"ink: 0123456789ab\""
/// );
/// assert_eq!(Infotext::parse(&text).field("Lora hashes"), Some("ink: 0123456789ab"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infotext {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt; empty where there is none.
    pub negative: String,
    /// Names and values, in order: `Steps`, `Sampler`, `CFG scale`, `Seed`, `Size`, `Model hash`, ...
    pub fields: Vec<(String, String)>,
}

impl Infotext {
    /// Prompts and fields.
    pub fn new<K: Into<String>, V: Into<String>>(
        prompt: &str,
        negative: &str,
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { prompt: prompt.into(), negative: negative.into(), fields: fields.collect() }
    }

    /// The value of a field; the last one where there are several.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().rev().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads the text; whatever is not of the form is prompt.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (before, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let fields = fields(last);
        let (prompts, fields) = match fields.len() < LEAST_FIELDS {
            true => (text, vec![]),
            false => (before, fields),
        };
        let mut found = Self { fields, ..Self::default() };
        let mut negative = false;
        for line in prompts.split('\n') {
            let mut line = line.trim();
            if let Some(rest) = line.strip_prefix(NEGATIVE) {
                negative = true;
                line = rest.trim();
            }
            let prompt = if negative { &mut found.negative } else { &mut found.prompt };
            if !prompt.is_empty() {
                prompt.push('\n');
            }
            prompt.push_str(line);
        }
        found
    }
}

impl fmt::Display for Infotext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.prompt.clone();
        if !self.negative.is_empty() {
            text += &format!("\n{NEGATIVE} {}", self.negative);
        }
        let field = |(name, value): &(String, String)| format!("{name}: {}", quoted(value));
        let fields: Vec<String> = self.fields.iter().map(field).collect();
        f.write_str(format!("{text}\n{}", fields.join(", ")).trim())
    }
}

fn quoted(value: &str) -> String {
    match value.contains([',', '\n', ':']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.to_owned(),
    }
}

fn unquoted(value: &str) -> String {
    let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let read = is_quoted.then(|| serde_json::from_str(value).ok()).flatten();
    read.unwrap_or_else(|| value.to_owned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The fields of a line: a name of two and more letters, digits, spaces, `-` and `/`, a colon, and a
/// value up to a comma or in quotes. What is in between is passed over.
fn fields(line: &str) -> Vec<(String, String)> {
    let in_name = |c: char| is_word(c) || matches!(c, ' ' | '-' | '/');
    let mut found = vec![];
    let mut rest = line;
    while let Some(start) = rest.find(is_word) {
        let name = &rest[start..];
        // Where no name ends at a colon, none starts later in the same run of its characters either.
        let end = name.find(|c| !in_name(c)).unwrap_or(name.len());
        let (name, behind) = name.split_at(end);
        rest = behind;
        let Some(value) = behind.strip_prefix(':').filter(|_| name.chars().nth(1).is_some()) else {
            continue;
        };
        let value = value.trim_start();
        let end = quoted_end(value).unwrap_or_else(|| value.find(',').unwrap_or(value.len()));
        let (value, behind) = value.split_at(end);
        rest = behind.strip_prefix(',').unwrap_or(behind);
        found.push((name.to_owned(), unquoted(value)));
    }
    found
}

/// The length of a value in quotes at the start, if a comma or nothing follows it.
fn quoted_end(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let behind = &inner[end + 1..];
    (end > 0 && (behind.is_empty() || behind.starts_with(','))).then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_webui_is_read() {
        let text = "girl with a hat, ((blue eyes)): 1, 2\nsecond line\nNegative prompt: ugly, fat\n\
                    [blurry]\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, \
                    Model hash: 45dee52b, Lora hashes: \"a: 12, b: \\\"34\\\"\", Version: v1.10.1";
        let found = Infotext::parse(text);
        assert_eq!(found.prompt, "girl with a hat, ((blue eyes)): 1, 2\nsecond line");
        assert_eq!(found.negative, "ugly, fat\n[blurry]");
        assert_eq!(found.fields.len(), 8);
        assert_eq!(found.field("Sampler"), Some("Euler a"));
        assert_eq!(found.field("Lora hashes"), Some("a: 12, b: \"34\""));
        assert_eq!(found.field("Version"), Some("v1.10.1"));
        assert_eq!(found.to_string(), text);
    }

    #[test]
    fn what_is_not_of_the_form_is_prompt() {
        let plain = |text: &str| Infotext::new::<&str, &str>(text, "", []);
        assert_eq!(Infotext::parse("a cat"), plain("a cat"));
        assert_eq!(Infotext::parse(""), plain(""));
        assert_eq!(Infotext::parse("Steps: 20, Seed: 1"), plain("Steps: 20, Seed: 1"));
        assert_eq!(Infotext::parse("a\nb: 1, c: 2, d: 3"), plain("a\nb: 1, c: 2, d: 3"));
        let only = Infotext::parse("Steps: 20, Seed: 1, Size: 8x8");
        assert_eq!((only.prompt.as_str(), only.fields.len()), ("", 3));
    }

    #[test]
    fn damaged_quotes_are_text() {
        let found = Infotext::parse("Aa: \"x, Bb: \"y\" z, Cc: \"\\u12\", Dd: \"\", --Ee: 1, F: 2");
        let expected =
            [("Aa", "\"x"), ("Bb", "\"y\" z"), ("Cc", "\"\\u12\""), ("Dd", ""), ("Ee", "1")];
        let found: Vec<_> = found.fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
    }
}
