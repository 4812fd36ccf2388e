//! Text in the fixed-width bitmap fonts of `embedded-graphics`: Latin-1, Greek, raised and lowered digits.

use std::convert::Infallible;

use embedded_graphics::{
    Pixel,
    geometry::{OriginDimensions, Point, Size},
    mono_font::{MonoFont, MonoTextStyle, iso_8859_1 as latin, iso_8859_7 as greek},
    pixelcolor::BinaryColor,
    prelude::{DrawTarget, Drawable},
    text::{Baseline, Text},
};

use crate::Picture;

/// A type size, with its two alphabets and the small size for raised and lowered characters.
pub(crate) struct Font {
    latin: &'static MonoFont<'static>,
    greek: &'static MonoFont<'static>,
    small: &'static MonoFont<'static>,
    raised_px: i32,
    lowered_px: i32,
}

/// Titles.
pub(crate) const TITLE: Font = Font {
    latin: &latin::FONT_9X15_BOLD,
    greek: &greek::FONT_9X15_BOLD,
    small: &latin::FONT_6X10,
    raised_px: -1,
    lowered_px: 6,
};
/// Everything else.
pub(crate) const BODY: Font = Font {
    latin: &latin::FONT_7X13,
    greek: &greek::FONT_7X13,
    small: &latin::FONT_5X8,
    raised_px: -1,
    lowered_px: 6,
};

impl Font {
    /// Height of a line in pixels.
    pub(crate) fn height_px(&self) -> usize {
        self.latin.character_size.height as usize
    }

    /// Width of `text` in pixels.
    pub(crate) fn width_px(&self, text: &str) -> usize {
        text.chars().map(|c| self.glyph(c).advance_px()).sum()
    }

    /// `text`, cut with an ellipsis where it would be wider than `width_px`.
    pub(crate) fn fit(&self, text: &str, width_px: usize) -> String {
        if self.width_px(text) <= width_px {
            return text.to_owned();
        }
        let (mut fitted, mut used) = (String::new(), self.width_px("..."));
        for c in text.chars() {
            used += self.glyph(c).advance_px();
            if used > width_px {
                break;
            }
            fitted.push(c);
        }
        fitted + "..."
    }

    /// Draws `text` with its top left corner at (`x`, `y`).
    pub(crate) fn draw(&self, picture: &mut Picture, text: &str, x: i32, y: i32, colour: [u8; 3]) {
        self.inked(text, |dx, dy| {
            picture.blend(x + dx, y + dy, colour, 1.0);
        });
    }

    /// Draws `text` reading upwards, its beginning at the bottom left corner (`x`, `y`).
    pub(crate) fn draw_upwards(
        &self,
        picture: &mut Picture,
        text: &str,
        x: i32,
        y: i32,
        colour: [u8; 3],
    ) {
        self.inked(text, |dx, dy| {
            picture.blend(x + dy, y - dx, colour, 1.0);
        });
    }

    /// Calls `ink` with the place of each inked pixel of `text`.
    fn inked(&self, text: &str, ink: impl FnMut(i32, i32)) {
        let mut target = Ink(ink);
        // Unicode also has alpha with macron as one character, which no font here holds.
        let text = text.replace('\u{1fb1}', "α\u{304}");
        let mut x = 0;
        for c in text.chars() {
            let glyph = self.glyph(c);
            if glyph.character == OVERLINE {
                let width = self.latin.character_size.width as i32;
                (x - width + 1..x - 1).for_each(|at| (target.0)(at, 1));
                continue;
            }
            let style = MonoTextStyle::new(glyph.font, BinaryColor::On);
            let mut buffer = [0; 4];
            let character = glyph.character.encode_utf8(&mut buffer);
            let place = Point::new(x, glyph.shift_px);
            let Ok(_) =
                Text::with_baseline(character, place, style, Baseline::Top).draw(&mut target);
            x += glyph.advance_px() as i32;
        }
    }

    /// Which font, character and height draw `c`.
    fn glyph(&self, c: char) -> Glyph {
        let plain = |font, character| Glyph { font, character, shift_px: 0 };
        let small = |character, shift_px| Glyph { font: self.small, character, shift_px };
        match c {
            OVERLINE => plain(self.latin, OVERLINE),
            '⁰' => small('0', self.raised_px),
            '¹' => small('1', self.raised_px),
            '²' => small('2', self.raised_px),
            '³' => small('3', self.raised_px),
            '⁴'..='⁹' => small(digit(c, '⁴', 4), self.raised_px),
            '⁻' => small('-', self.raised_px),
            '₀'..='₉' => small(digit(c, '₀', 0), self.lowered_px),
            '₋' => small('-', self.lowered_px),
            'ₜ' => small('t', self.lowered_px),
            '–' | '—' | '−' => plain(self.latin, '-'),
            '‘' | '’' => plain(self.latin, '\''),
            '“' | '”' => plain(self.latin, '"'),
            'Α'..='ώ' => plain(self.greek, c),
            _ => plain(self.latin, c),
        }
    }
}

/// Combining overline or macron: drawn over the character before it, as in the field's alpha-bar.
const OVERLINE: char = '\u{304}';

struct Glyph {
    font: &'static MonoFont<'static>,
    character: char,
    shift_px: i32,
}

impl Glyph {
    fn advance_px(&self) -> usize {
        match self.character {
            OVERLINE => 0,
            _ => self.font.character_size.width as usize,
        }
    }
}

/// The plain digit for a raised or lowered one.
fn digit(c: char, first: char, value: u32) -> char {
    let offset = (c as u32).saturating_sub(first as u32);
    char::from_digit(value + offset, 10).unwrap_or('?')
}

/// Hands every inked pixel to a closure.
struct Ink<F>(F);

impl<F> OriginDimensions for Ink<F> {
    fn size(&self) -> Size {
        Size::new(u32::MAX, u32::MAX)
    }
}

impl<F: FnMut(i32, i32)> DrawTarget for Ink<F> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(place, colour) in pixels {
            if colour == BinaryColor::On {
                (self.0)(place.x, place.y);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(text: &str) -> Vec<(i32, i32)> {
        let mut places = Vec::new();
        BODY.inked(text, |x, y| places.push((x, y)));
        places
    }

    #[test]
    fn every_supported_character_has_its_own_shape() {
        let unknown = ink("\u{4e00}");
        for c in "0aé×αΩλβσε⁰¹²³⁴⁹⁻₀₉ₜ–’“".chars() {
            let drawn = ink(&c.to_string());
            assert!(!drawn.is_empty() && drawn != unknown, "{c}");
        }
        assert_eq!(ink("\u{1fb1}"), ink("α\u{304}"));
        assert_eq!(digit('⁹', '⁴', 4), '9');
        assert_eq!(digit('₃', '₀', 0), '3');
    }

    #[test]
    fn text_stays_inside_its_own_box() {
        let text = "α\u{304}ₜ 10⁻⁵ (x₀)";
        let (width, height) = (BODY.width_px(text) as i32, BODY.height_px() as i32);
        for (x, y) in ink(text) {
            assert!((0..width).contains(&x) && (-1..=height).contains(&y), "({x}, {y})");
        }
    }

    #[test]
    fn long_text_is_cut_to_fit() {
        assert_eq!(BODY.fit("short", 100), "short");
        let fitted = BODY.fit("a rather long caption", 70);
        assert_eq!(fitted, "a rathe...");
        assert!(BODY.width_px(&fitted) <= 70);
    }

    #[test]
    fn upward_text_is_the_same_ink_turned() {
        let mut flat = Picture::filled(60, 60, 1, 0).unwrap();
        let mut turned = flat.clone();
        BODY.draw(&mut flat, "loss", 3, 5, [255; 3]);
        BODY.draw_upwards(&mut turned, "loss", 5, 56, [255; 3]);
        for y in 0..60 {
            for x in 0..60 {
                assert_eq!(flat.pixels[y * 60 + x], turned.pixels[(59 - x) * 60 + y]);
            }
        }
    }
}
