//! The normalisation that SentencePiece compiles into its models.

use crate::normalize::Step;
use unicode_segmentation::UnicodeSegmentation;

/// A trie from strings to their replacements, all of which lie in one string and end with NUL.
///
/// The trie is a double array of 32-bit units (Yata et al., darts-clone): a unit holds a label, the
/// offset to its children, and whether one of them is a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn value(unit: u32) -> u32 {
    unit & 0x7FFF_FFFF
}

fn label(unit: u32) -> u32 {
    unit & 0x8000_00FF
}

fn offset(unit: u32) -> u32 {
    // At most 22 bits shifted by 8.
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

impl Charsmap {
    /// Reads the length of the trie, the trie and the replacements.
    ///
    /// # Errors
    /// A length that the bytes do not have, or replacements that are not UTF-8, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or("no length of its trie")?;
        let length = u32::from_le_bytes(*length) as usize;
        if !length.is_multiple_of(4) || length == 0 || length > rest.len() {
            return Err(format!("a trie of {length} bytes in {}", rest.len()));
        }
        let (trie, replacements) = rest.split_at(length);
        let (units, _) = trie.as_chunks::<4>();
        let replacements =
            std::str::from_utf8(replacements).map_err(|_| "replacements that are not UTF-8")?;
        Ok(Self {
            units: units.iter().map(|&unit| u32::from_le_bytes(unit)).collect(),
            replacements: replacements.to_owned(),
        })
    }

    /// The replacement of the *shortest* key that `text` starts with, as the library has it; keys
    /// are whole graphemes, so that hardly ever matters.
    fn replacement(&self, text: &str) -> Option<&str> {
        let unit = |at: u32| self.units.get(at as usize).copied();
        let mut at = offset(unit(0)?);
        for byte in text.bytes().take_while(|&byte| byte != 0) {
            at ^= u32::from(byte);
            let found = unit(at)?;
            if label(found) != u32::from(byte) {
                return None;
            }
            at ^= offset(found);
            if has_leaf(found) {
                let rest = self.replacements.get(value(unit(at)?) as usize..)?;
                return rest.split('\0').next();
            }
        }
        None
    }

    /// Replaces graphemes of up to five bytes, and the characters of the others.
    pub(crate) fn apply(&self, text: &str, out: &mut Step) {
        for grapheme in text.graphemes(true) {
            let whole = if grapheme.len() < 6 { self.replacement(grapheme) } else { None };
            match whole {
                Some(replacement) => out.push_str(replacement),
                None => {
                    let mut buffer = [0; 4];
                    for c in grapheme.chars() {
                        let own: &str = c.encode_utf8(&mut buffer);
                        out.push_str(self.replacement(own).unwrap_or(own));
                    }
                }
            }
            if out.is_full() {
                return;
            }
        }
    }
}
