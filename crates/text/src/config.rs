//! `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.

use crate::added::AddedToken;
use crate::limits::{MAX_ADDED, read_text};
use crate::{Result, TextError};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a folder says of its tokenizer beside the vocabulary; other keys are bookkeeping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) tokenizer_class: Option<String>,
    /// Over 1e29 where there is no limit, so that an integer type would not hold it.
    pub(crate) model_max_length: Option<f64>,
    pub(crate) bos_token: Option<Named>,
    pub(crate) eos_token: Option<Named>,
    pub(crate) unk_token: Option<Named>,
    pub(crate) sep_token: Option<Named>,
    pub(crate) pad_token: Option<Named>,
    pub(crate) cls_token: Option<Named>,
    pub(crate) mask_token: Option<Named>,
    pub(crate) additional_special_tokens: Option<Extra>,
    pub(crate) extra_special_tokens: Option<Extra>,
    pub(crate) added_tokens_decoder: Option<AddedMap>,
    pub(crate) padding_side: Option<Side>,
    pub(crate) truncation_side: Option<Side>,
    pub(crate) do_lower_case: Option<bool>,
    pub(crate) tokenize_chinese_chars: Option<bool>,
    pub(crate) strip_accents: Option<bool>,
    pub(crate) clean_up_tokenization_spaces: Option<bool>,
    pub(crate) split_special_tokens: Option<bool>,
    pub(crate) extra_ids: Option<u32>,
}

/// An end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Left,
    Right,
}

/// A special token, by its text alone or with its options.
///
/// The difference matters: a text alone is looked for in the text as it came, and replaces a token
/// with options that was added before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Text(String),
    Token(Options),
}

/// An added token as files have it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Options {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Options {
    pub(crate) fn content(&self) -> &str {
        &self.content
    }

    pub(crate) fn has(&self, content: &str) -> bool {
        self.content == content
    }

    pub(crate) fn special(self) -> Self {
        Self { special: true, ..self }
    }

    /// Without its own word for it, a token is normalised unless it is special.
    pub(crate) fn token(self) -> AddedToken {
        AddedToken {
            normalized: self.normalized.unwrap_or(!self.special),
            content: self.content,
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            special: self.special,
        }
    }
}

impl Named {
    /// A piece of a SentencePiece model that is looked for in the text as it came.
    pub(crate) fn piece(content: String, special: bool) -> Self {
        Self::Token(Options {
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: Some(false),
            special,
        })
    }

    pub(crate) fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(options) => &options.content,
        }
    }

    /// The token that transformers adds for it.
    pub(crate) fn token(self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::special(&text),
            Self::Token(options) => options.special().token(),
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token")
            }

            fn visit_str<E: Error>(self, text: &str) -> std::result::Result<Named, E> {
                Ok(Named::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Named, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Options::deserialize(map).map(Named::Token)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// Further special tokens: a list, or a map whose names do not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra(pub(crate) Vec<Named>);

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Extra;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of tokens")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Extra, A::Error> {
                let mut tokens = vec![];
                while let Some(token) = seq.next_element()? {
                    push(&mut tokens, token)?;
                }
                Ok(Extra(tokens))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Extra, A::Error> {
                let mut tokens = vec![];
                while let Some((_, token)) = map.next_entry::<serde::de::IgnoredAny, _>()? {
                    push(&mut tokens, token)?;
                }
                Ok(Extra(tokens))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// Extra tokens are few: T5 has 100.
fn push<E: Error>(tokens: &mut Vec<Named>, token: Named) -> std::result::Result<(), E> {
    const MAX_EXTRA: usize = 4096;
    if tokens.len() == MAX_EXTRA {
        return Err(E::custom(format!("more than {MAX_EXTRA} special tokens")));
    }
    tokens.push(token);
    Ok(())
}

/// Added tokens by the ids that they had.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddedMap(pub(crate) BTreeMap<u32, Options>);

impl<'de> Deserialize<'de> for AddedMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = AddedMap;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from ids to tokens")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<AddedMap, A::Error> {
                let mut tokens = BTreeMap::new();
                while let Some((id, token)) = map.next_entry::<u32, Options>()? {
                    if tokens.len() == MAX_ADDED {
                        return Err(A::Error::custom("too many added tokens"));
                    }
                    tokens.insert(id, token);
                }
                Ok(AddedMap(tokens))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// The `added_tokens` of a `tokenizer.json`.
#[derive(Debug, Default)]
pub(crate) struct AddedList(pub(crate) Vec<(u32, Options)>);

impl<'de> Deserialize<'de> for AddedList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct List;
        #[derive(Deserialize)]
        struct WithId {
            id: u32,
            content: String,
            #[serde(default)]
            single_word: bool,
            #[serde(default)]
            lstrip: bool,
            #[serde(default)]
            rstrip: bool,
            normalized: Option<bool>,
            #[serde(default)]
            special: bool,
        }
        impl<'de> Visitor<'de> for List {
            type Value = AddedList;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of added tokens")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<AddedList, A::Error> {
                let mut tokens = vec![];
                while let Some(token) = seq.next_element::<WithId>()? {
                    if tokens.len() == MAX_ADDED {
                        return Err(A::Error::custom("too many added tokens"));
                    }
                    let WithId { id, content, single_word, lstrip, rstrip, normalized, special } =
                        token;
                    let options =
                        Options { content, single_word, lstrip, rstrip, normalized, special };
                    tokens.push((id, options));
                }
                Ok(AddedList(tokens))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// `special_tokens_map.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecialMap {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    unk_token: Option<Named>,
    sep_token: Option<Named>,
    pad_token: Option<Named>,
    cls_token: Option<Named>,
    mask_token: Option<Named>,
    additional_special_tokens: Option<Extra>,
    extra_special_tokens: Option<Extra>,
}

/// `added_tokens.json`: ids by token.
#[derive(Debug, Default)]
struct AddedFile(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for AddedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = AddedFile;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<AddedFile, A::Error> {
                let mut tokens = vec![];
                while let Some(entry) = map.next_entry()? {
                    if tokens.len() == MAX_ADDED {
                        return Err(A::Error::custom("too many added tokens"));
                    }
                    tokens.push(entry);
                }
                Ok(AddedFile(tokens))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

fn read<T: for<'de> Deserialize<'de> + Default>(path: &Path) -> Result<T> {
    if !path.exists() {
        return Ok(T::default());
    }
    let text = read_text(path)?;
    if !text.trim_start().starts_with('{') {
        return Err(TextError::malformed(path, "", "a JSON object", "something else"));
    }
    serde_json::from_str(&text).map_err(|error| TextError::json(path, &error))
}

impl Config {
    /// The config of a folder, with what the older files beside it add.
    ///
    /// Files from before `added_tokens_decoder` keep the special tokens and the added ones apart;
    /// where that key is there, they are not looked at, as in transformers.
    ///
    /// # Errors
    /// A file that cannot be read, or is not of its form.
    pub(crate) fn open(folder: &Path, from_json: Option<&AddedList>) -> Result<Self> {
        let mut config: Self = read(&folder.join("tokenizer_config.json"))?;
        if config.added_tokens_decoder.is_some() {
            return Ok(config);
        }
        let special: SpecialMap = read(&folder.join("special_tokens_map.json"))?;
        config.replace_by(special);
        let mut added = BTreeMap::new();
        let AddedFile(old) = read(&folder.join("added_tokens.json"))?;
        for (content, id) in old {
            let special = config.names().any(|name| name.content() == content);
            let (single_word, lstrip, rstrip) = (false, false, false);
            let normalized = Some(!special);
            added.insert(id, Options { content, single_word, lstrip, rstrip, normalized, special });
        }
        for (id, options) in from_json.iter().flat_map(|list| &list.0) {
            added.insert(*id, options.clone());
        }
        config.added_tokens_decoder = Some(AddedMap(added));
        Ok(config)
    }

    fn replace_by(&mut self, map: SpecialMap) {
        let special = |named| match named {
            Named::Token(options) => Named::Token(options.special()),
            text => text,
        };
        let all = |Extra(tokens): Extra| Extra(tokens.into_iter().map(special).collect());
        for (own, new) in [
            (&mut self.bos_token, map.bos_token),
            (&mut self.eos_token, map.eos_token),
            (&mut self.unk_token, map.unk_token),
            (&mut self.sep_token, map.sep_token),
            (&mut self.pad_token, map.pad_token),
            (&mut self.cls_token, map.cls_token),
            (&mut self.mask_token, map.mask_token),
        ] {
            if new.is_some() {
                *own = new.map(special);
            }
        }
        // The config's own list of one name hides the map's, lists of the other name are joined.
        if let Some(extra) = map.additional_special_tokens.filter(|_| self.extra().is_empty()) {
            self.additional_special_tokens = Some(all(extra));
        }
        if let Some(Extra(more)) = map.extra_special_tokens.map(all) {
            let mut joined = self.extra().to_vec();
            joined.extend(more);
            self.extra_special_tokens = Some(Extra(joined));
        }
    }

    /// The named special tokens, in transformers' order.
    pub(crate) fn named(&self) -> [&Option<Named>; 7] {
        [
            &self.bos_token,
            &self.eos_token,
            &self.unk_token,
            &self.sep_token,
            &self.pad_token,
            &self.cls_token,
            &self.mask_token,
        ]
    }

    /// Special tokens without a name.
    pub(crate) fn extra(&self) -> &[Named] {
        let extra = |extra: &'_ Option<Extra>| extra.as_ref().is_some_and(|e| !e.0.is_empty());
        let chosen = match extra(&self.extra_special_tokens) {
            true => &self.extra_special_tokens,
            false => &self.additional_special_tokens,
        };
        chosen.as_ref().map_or(&[], |extra| &extra.0)
    }

    fn names(&self) -> impl Iterator<Item = &Named> {
        self.named().into_iter().flatten().chain(self.extra())
    }

    /// The most ids a text may have, special ones included; `None` where there is no limit.
    pub(crate) fn max_length(&self) -> Option<usize> {
        // Longer than any position table.
        const UNLIMITED: f64 = 1e6;
        let length = self.model_max_length.filter(|length| (1.0..=UNLIMITED).contains(length))?;
        Some(length as usize)
    }
}
