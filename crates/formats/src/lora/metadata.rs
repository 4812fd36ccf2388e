//! How adapters are scaled, as the metadata says.

use super::{LoraError, Part, bad_metadata};
use crate::limits::MAX_TENSORS;
use crate::{FormatError, source};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The header field into which diffusers writes PEFT's configuration, one key `part.setting` each.
pub(super) const FIELD: &str = "lora_adapter_metadata";

/// The longest `adapter_config.json` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What a `LoraConfig` of PEFT says of the scale.
#[derive(Clone, Debug, Default, PartialEq)]
struct Config {
    alpha: Option<f64>,
    patterns: Vec<(String, f64)>,
    rank_stabilised: bool,
}

/// The settings of each part, or of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    /// By the beginning of the field's name: a part's folder, or nothing.
    configs: BTreeMap<String, Config>,
}

impl Settings {
    /// From a file's own header.
    pub(super) fn of(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Self, LoraError> {
        match metadata.get(FIELD) {
            None => Ok(Self::default()),
            Some(json) => Self::parse(path, FIELD, json.as_bytes()),
        }
    }

    /// From PEFT's own `adapter_config.json`.
    pub(super) fn beside(path: &Path) -> Result<Self, LoraError> {
        let (mut reader, length) = source::open(path)?;
        if length > MAX_CONFIG_BYTES {
            return Err(FormatError::too_large(path, "the file", MAX_CONFIG_BYTES, length).into());
        }
        let json = source::read_exact(path, &mut reader, length)?;
        Self::parse(path, "the configuration", &json)
    }

    fn parse(path: &Path, field: &str, json: &[u8]) -> Result<Self, LoraError> {
        let settings: Self = serde_json::from_slice(json).map_err(|error| {
            bad_metadata(path, field, "a JSON object of LoraConfig's fields", error.to_string())
        })?;
        let patterns = settings.configs.values().flat_map(|config| &config.patterns);
        for (pattern, _) in patterns {
            // PEFT takes them for regular expressions. Paths are what they are used for.
            if plain(pattern).contains(['*', '+', '?', '(', '[', '{', '|', '\\']) {
                let found = format!("the regular expression `{pattern}`");
                let field = format!("{field}: alpha_pattern");
                return Err(FormatError::unsupported(path, &field, None, "paths", found).into());
            }
        }
        Ok(settings)
    }

    /// A layer's alpha, and whether it is divided by the root of the rank.
    pub(super) fn alpha(&self, part: Part, module: &str) -> (Option<f64>, bool) {
        let Some(config) = self.configs.get(part.folder()).or_else(|| self.configs.get("")) else {
            return (None, false);
        };
        let own = config.patterns.iter().find(|(pattern, _)| matches(pattern, module));
        (own.map(|(_, alpha)| *alpha).or(config.alpha), config.rank_stabilised)
    }
}

/// A pattern without what a regular expression needs around a path.
fn plain(pattern: &str) -> String {
    pattern.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".")
}

/// Whether a path is the pattern, or ends with it behind a dot.
fn matches(pattern: &str, module: &str) -> bool {
    let ending = plain(pattern);
    match module.strip_suffix(ending.as_str()) {
        Some("") => true,
        Some(before) => !pattern.starts_with('^') && before.ends_with('.'),
        None => false,
    }
}

/// A number or null.
struct Number(Option<f64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<f64>::deserialize(deserializer)?;
        match value.is_none_or(f64::is_finite) {
            true => Ok(Self(value)),
            false => Err(D::Error::custom("a number that is not finite")),
        }
    }
}

/// Numbers by path, at most [`MAX_TENSORS`].
struct Patterns(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_TENSORS} numbers by path")
            }

            fn visit_unit<E>(self) -> Result<Patterns, E> {
                Ok(Patterns(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns, A::Error> {
                let mut found = Vec::new();
                while let Some(path) = map.next_key::<String>()? {
                    let Number(number) = map.next_value()?;
                    if found.len() == MAX_TENSORS {
                        return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
                    }
                    found.extend(number.map(|number| (path, number)));
                }
                Ok(Patterns(found))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = Settings::default();
                while let Some(key) = map.next_key::<String>()? {
                    let (part, field) = key.rsplit_once('.').unwrap_or(("", &key));
                    if !matches!(field, "lora_alpha" | "alpha_pattern" | "use_rslora")
                        || !Part::ALL.iter().any(|known| part.is_empty() || known.folder() == part)
                    {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let config = settings.configs.entry(part.to_owned()).or_default();
                    match field {
                        "lora_alpha" => config.alpha = map.next_value::<Number>()?.0,
                        "alpha_pattern" => config.patterns = map.next_value::<Patterns>()?.0,
                        _ => {
                            config.rank_stabilised =
                                map.next_value::<Option<bool>>()?.unwrap_or(false);
                        }
                    }
                }
                Ok(settings)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<Settings, LoraError> {
        let metadata = BTreeMap::from([(FIELD.to_string(), json.to_string())]);
        Settings::of(Path::new(""), &metadata)
    }

    #[test]
    fn a_pattern_is_an_ending_and_goes_before_the_rest() {
        let settings = settings(
            r#"{"unet.r": 4, "unet.lora_alpha": 8, "unet.target_modules": ["to_q"],
                "unet.alpha_pattern": {"attn1.to_q": 2, "^conv_in": 3.5}, "unet.use_rslora": false,
                "text_encoder.lora_alpha": 16, "text_encoder.use_rslora": true}"#,
        )
        .unwrap();
        let unet = |module| settings.alpha(Part::Unet, module);
        assert_eq!(unet("mid_block.attn1.to_q"), (Some(2.0), false));
        assert_eq!(unet("mid_block.xattn1.to_q"), (Some(8.0), false));
        assert_eq!(unet("conv_in"), (Some(3.5), false));
        assert_eq!(unet("a.conv_in"), (Some(8.0), false));
        assert_eq!(settings.alpha(Part::TextEncoder, "q_proj"), (Some(16.0), true));
        assert_eq!(settings.alpha(Part::TextEncoder2, "q_proj"), (None, false));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |json| settings(json).unwrap_err().to_string();
        assert!(error("[]").contains("lora_adapter_metadata"), "{}", error("[]"));
        let text = error(r#"{"unet.alpha_pattern": {"to_(q|k)": 2}}"#);
        assert!(text.contains("the regular expression `to_(q|k)` is not supported"), "{text}");
        assert!(error(r#"{"unet.lora_alpha": "8"}"#).contains("invalid type: string"));
    }
}
