//! What kind of character a character is, to the tokenizers library.

use crate::tables;

fn within(table: &[(u32, u32)], c: char) -> bool {
    let at = table.partition_point(|&(_, last)| last < c as u32);
    table.get(at).is_some_and(|&(first, _)| first <= c as u32)
}

/// `\p{L}`.
pub(crate) fn is_letter(c: char) -> bool {
    within(&tables::LETTERS, c)
}

/// `\p{N}`.
pub(crate) fn is_number(c: char) -> bool {
    within(&tables::NUMBERS, c)
}

/// `\s`.
pub(crate) fn is_space(c: char) -> bool {
    within(&tables::SPACES, c)
}

/// `\w`.
pub(crate) fn is_word(c: char) -> bool {
    within(&tables::WORDS, c)
}

/// White space as Python's strings and regular expressions have it: four control characters more.
pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `[^\s\p{L}\p{N}]`.
pub(crate) fn is_sign(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

/// What BERT's cleaning makes of a character; nothing where it is removed.
pub(crate) fn clean(c: char) -> Option<char> {
    if within(&tables::BLANKS, c) { Some(' ') } else { (!within(&tables::REMOVED, c)).then_some(c) }
}

/// A mark over or under another character.
pub(crate) fn is_accent(c: char) -> bool {
    within(&tables::ACCENTS, c)
}

/// What BERT sets apart as a word of its own.
pub(crate) fn is_punctuation(c: char) -> bool {
    within(&tables::PUNCTUATION, c)
}

/// What BERT takes for Chinese, by blocks of Unicode; extension E starts at 2B820, and BERT starts
/// it at 2B920.
pub(crate) fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0x2_F800..=0x2_FA1F
    )
}

/// The character that stands for a byte in byte-level vocabularies: itself where Latin-1 prints it,
/// and otherwise one from U+0100 on, in order.
pub(crate) fn of_byte(byte: u8) -> char {
    let shift = match byte {
        0..=0x20 => 0x100,
        // 33 bytes came before.
        0x7F..=0xA0 => 0x100 + 33 - 0x7F,
        0xAD => 0x143 - 0xAD,
        _ => 0,
    };
    char::from_u32(u32::from(byte) + shift).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character stands for in byte-level vocabularies.
pub(crate) fn to_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0..=0xFF => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    };
    u8::try_from(byte).ok().filter(|&byte| of_byte(byte) == c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for byte in 0..=255 {
            assert_eq!(to_byte(of_byte(byte)), Some(byte));
        }
        assert_eq!(of_byte(b' '), '\u{120}');
        assert_eq!(to_byte(' '), None);
        assert_eq!(to_byte('\u{144}'), None);
    }

    #[test]
    fn tables_hold_their_ends() {
        assert!(is_letter('A') && is_letter('ß') && !is_letter('1') && !is_letter('@'));
        assert!(is_number('9') && is_number('½') && !is_number('a'));
        assert!(is_space('\u{3000}') && !is_space('\u{200b}'));
        assert_eq!(clean('\u{200d}'), None);
        assert_eq!(clean('\t'), Some(' '));
        assert_eq!(clean('x'), Some('x'));
        assert!(is_accent('\u{301}') && !is_accent('a'));
        assert!(is_punctuation('$') && is_punctuation('。') && !is_punctuation('a'));
    }
}
