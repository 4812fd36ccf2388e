//! Samplers by their names.

use crate::{CATALOG, Entry, Sampler};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// A sampler by its name in the [`CATALOG`].
#[derive(Clone, Copy)]
pub struct SamplerKind(&'static Entry);

/// There is no sampler of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found \"{found}\"; did you mean \"{nearest}\"?", names().join(", "))]
pub struct UnknownSampler {
    /// What was asked for.
    pub found: String,
    /// The name that is most like it.
    pub nearest: &'static str,
}

/// Every name in the [`CATALOG`].
pub fn names() -> Vec<&'static str> {
    CATALOG.iter().map(|entry| entry.name).collect()
}

/// "DPM++ 2M" and `dpmpp_2m` are one name.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace("++", "pp");
    name.chars().filter(|c| c.is_alphanumeric()).collect()
}

impl SamplerKind {
    /// The sampler of a name, by its own or by what it is called elsewhere; case, spaces and
    /// punctuation do not count.
    ///
    /// # Errors
    /// An unknown name, with the nearest.
    pub fn named(name: &str) -> Result<Self, UnknownSampler> {
        let wanted = plain(name);
        let own = CATALOG.iter().find(|entry| plain(entry.name) == wanted);
        let other = || {
            CATALOG.iter().find(|entry| {
                entry.elsewhere.iter().chain(&entry.scheduler).any(|n| plain(n) == wanted)
            })
        };
        own.or_else(other).map(Self).ok_or_else(|| {
            let likeness = |n: &&str| strsim::jaro_winkler(&wanted, &plain(n));
            let nearest = names().into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            UnknownSampler { found: name.into(), nearest: nearest.unwrap_or_default() }
        })
    }
}

impl From<Sampler> for SamplerKind {
    fn from(sampler: Sampler) -> Self {
        Self(sampler.entry())
    }
}

impl std::ops::Deref for SamplerKind {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}

impl PartialEq for SamplerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SamplerKind {}

impl fmt::Debug for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl std::str::FromStr for SamplerKind {
    type Err = UnknownSampler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name)
    }
}

impl Serialize for SamplerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for SamplerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_people_write_them() {
        for entry in CATALOG {
            assert_eq!(SamplerKind::named(entry.name).unwrap().name, entry.name);
            assert_eq!(entry.sampler.entry().name, entry.name);
            for name in entry.elsewhere {
                assert!(SamplerKind::named(name).is_ok(), "{name}");
            }
        }
        assert_eq!(SamplerKind::named("DDIM").unwrap().name, "ddim");
        let unknown = SamplerKind::named("dimm").unwrap_err();
        assert_eq!(unknown.nearest, "ddim");
        assert!(unknown.to_string().ends_with("found \"dimm\"; did you mean \"ddim\"?"));
    }
}
