//! `--set key=value`, and errors that say where and what else there is.

use crate::TrainError;

/// Puts `value` at the dotted `key` of `change`, `key=value`.
pub(crate) fn apply(table: &mut toml::Table, change: &str) -> Result<(), TrainError> {
    let invalid = |message: String| TrainError::Config(format!("--set {change}: {message}"));
    let Some((key, value)) = change.split_once('=') else {
        return Err(invalid("expected key=value, such as train.steps=200".into()));
    };
    let (key, value) = (key.trim(), value.trim());
    // Whatever is not a TOML value is text: data.path=pets needs no quotes.
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()));
    let mut sections: Vec<&str> = key.split('.').collect();
    let Some(last) = sections.pop().filter(|last| !last.is_empty()) else {
        return Err(invalid("expected a key before the =".into()));
    };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = match entry {
            toml::Value::Table(table) => table,
            _ => return Err(invalid(format!("\"{section}\" is a value, not a section"))),
        };
    }
    table.insert(last.to_string(), value);
    Ok(())
}

/// Says where an error is and, for an unknown key or choice, which one is nearest.
pub(crate) fn explain(error: &toml::de::Error, text: Option<&str>, name: &str) -> TrainError {
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    // In a section that is a choice, the error's own place is the section.
    let names_key = message.starts_with("unknown field") || message.starts_with('`');
    let own_line = |text: &str| {
        let key = quoted.first().filter(|_| names_key)?;
        let at = |line: &str| line.split('=').next().is_some_and(|k| k.trim() == *key);
        text.lines().position(at).map(|line| line + 1)
    };
    let place = match (text, error.span()) {
        (Some(text), _) if own_line(text).is_some() => {
            format!("{name}, line {}", own_line(text).unwrap_or_default())
        }
        (Some(text), Some(span)) => {
            let before = &text.as_bytes()[..span.start.min(text.len())];
            format!("{name}, line {}", 1 + before.iter().filter(|&&b| b == b'\n').count())
        }
        _ => name.to_string(),
    };
    let nearest = match (unknown, quoted.as_slice()) {
        (true, [found, known @ ..]) => known
            .iter()
            .max_by(|a, b| {
                strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b))
            })
            .map(|nearest| format!("; did you mean `{nearest}`?")),
        _ => None,
    };
    TrainError::Config(format!("{place}: {message}{}", nearest.unwrap_or_default()))
}
