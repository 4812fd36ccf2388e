"""Writes ../src/tables.rs: the character classes that the tokenizers library goes by, found by asking it.

    python make_characters.py

Every code point is given to the library's own normalizers and pre-tokenizers, so the tables hold its Unicode
versions (its regular expressions, its categories and Rust's differ) and not those of any document.
Made with tokenizers 0.23.3.
"""

import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(holds):
    out = []
    for c in POINTS:
        if not holds(chr(c)):
            continue
        # Surrogates never occur in a Rust char, so a range may run across them.
        if out and (out[-1][1] == c - 1 or (c == 0xE000 and out[-1][1] == 0xD7FF)):
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def matches(pattern):
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return lambda c: bool(split.pre_tokenize_str(c))


def bert(**on):
    flags = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**(flags | on))


def table(name, doc, holds):
    found = ranges(holds)
    pairs = [f"(0x{a:X}, 0x{b:X})" for a, b in found]
    lines, line = [], "   "
    for pair in pairs:
        if len(line) + len(pair) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {pair},"
    lines.append(line)
    body = "\n".join(lines)
    return f"/// {doc}\npub(crate) const {name}: [(u32, u32); {len(found)}] = [\n{body}\n];\n"


clean = bert(clean_text=True).normalize_str
accents = bert(strip_accents=True).normalize_str
words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
parts = [
    "//! Character classes of the tokenizers library, by `testdata/make_characters.py`.\n",
    table("LETTERS", "`\\p{L}` of its regular expressions.", matches(r"\p{L}")),
    table("NUMBERS", "`\\p{N}` of its regular expressions.", matches(r"\p{N}")),
    table("SPACES", "`\\s` of its regular expressions.", matches(r"\s")),
    table("WORDS", "`\\w` of its regular expressions.", matches(r"\w")),
    table("REMOVED", "What BERT's cleaning removes.", lambda c: clean(c) == ""),
    table("BLANKS", "What BERT's cleaning turns into a space.", lambda c: clean(c) == " "),
    table("ACCENTS", "What BERT's stripping of accents removes.", lambda c: accents(c) == ""),
    table("PUNCTUATION", "What BERT sets apart as punctuation.", lambda c: len(words(f"a{c}a")) == 3),
]
path = pathlib.Path(__file__).parent / "../src/tables.rs"
path.write_text("#[rustfmt::skip]\n".join([parts[0] + "\n"] + parts[1:]) if False else parts[0] + "\n" + "\n".join(
    "#[rustfmt::skip]\n" + part for part in parts[1:]))
