"""Writes normalized.json: a hash over what the tokenizers library makes of every code point, by normalizer.

    python make_normalized.py

The hash is 64-bit FNV-1a over the UTF-8 of `a CODE-POINT \\u0301` normalised, code point after code point, each followed by
a byte 0xFF. Made with tokenizers 0.23.3.
"""

import json
import pathlib

from tokenizers import Regex, normalizers as n

ALL = {
    "NFC": n.NFC(), "NFD": n.NFD(), "NFKC": n.NFKC(), "NFKD": n.NFKD(), "Lowercase": n.Lowercase(), "StripAccents": n.StripAccents(),
    "Bert": n.BertNormalizer(lowercase=True), "BertCased": n.BertNormalizer(lowercase=False, handle_chinese_chars=True),
    "Clip": n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]),
}


def fnv(texts):
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in text.encode() + b"\xff":
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
out = {name: fnv(normalizer.normalize_str(f"a{c}\u0301") for c in points) for name, normalizer in ALL.items()}
(pathlib.Path(__file__).parent / "normalized.json").write_text(json.dumps(out, indent=1) + "\n")
