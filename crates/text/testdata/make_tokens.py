"""Writes the token ids that transformers gives for 2,000 strings, by several tokenizers.

    python make_tokens.py PATH/TO/bert/vocab.txt

`vocab.txt` is the Chinese BERT vocabulary of PyPI's cn-clip 1.6.0 (`cargo xtask data bert-vocab`); it is not part of the
repository. What is written:

- `strings.json.gz`: the strings;
- `folders/NAME/`: small tokenizer folders as diffusers and older transformers save them;
- `tokens.json.gz`: for each tokenizer the ids of all strings without special tokens, joined, with their counts, and what
  `tokenizer(text, padding="max_length", max_length=L, truncation=True)` gives for every tenth string, with the text that
  diffusers says was cut.

Made with transformers 5.23.0, tokenizers 0.23.3, sentencepiece 0.2.1.
"""

import gzip
import json
import pathlib
import random
import shutil
import sys
import tempfile
import unicodedata

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer, CLIPTokenizer, PreTrainedTokenizerFast, T5Tokenizer

HERE = pathlib.Path(__file__).parent
FOLDERS = HERE / "folders"
dice = random.Random(20)

WORDS = """a photo of an astronaut riding a horse on mars, masterpiece, best quality, (detailed:1.2), 8k, HDR photograph portrait
woman's face don't we'll you're I've I'm he'd it's 'tis rock'n'roll O'Neil the naïve café über straße STRASSE İstanbul ISPARTA
ıstanbul DŽungla ǆ ﬁne ﬂow ½ ¼ Ⅳ ² ③ 12345 3.14 1,000,000 50% $9.99 C++ C# f(x)=y^2 foo_bar @user #tag http://example.com/?a=b&c=d
&amp; &lt;b&gt; &nbsp; &#39; <|endoftext|> <|startoftext|> <|ENDOFTEXT|> [CLS] [SEP] [MASK] [unk] <pad> </s> <unk> <extra_id_0>
粉色的蝴蝶,小精灵,卡通 可爱的狗,小精灵,卡通 漂亮的猫 飞流直下三千尺,疑是银河落九天 日本語のテキスト 한국어 텍스트 ελληνικά Σίσυφος ΣΊΣΥΦΟΣ
русский текст ЁЖИК עברית العربية مرحبا हिन्दी नमस्ते ไทย ภาษาไทย ქართული հայերեն አማርኛ ᏣᎳᎩ ꭰꮿ Ꭰ ⴰⵎⴰⵣⵉⵖ 😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ❤️ ☺ ⚡ 🧙🏿‍♂️ ™ © ® … — – “quoted”
‘single’ «guillemets» ¿qué? ¡hola! æther œuvre ø ł đ ñ ç ö ä ü ÿ Ǆ Å Å ﷺ ﬃ ㎏ ㍿ ① ⅷ ⁵ ₂ ﾊﾝｶｸ ＦＵＬＬ　ＷＩＤＴＨ １２３ 𝐛𝐨𝐥𝐝 𝒜 𝟙𝟚 𐐀𐐨 𠀀 𪚥 🀄 ẞ ŉ ǰ ΐ և""".split()

SPACES = ["\t", "\n", "\r\n", "\v", "\f", " ", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", " ", " ", " ", " ", " ",
          " ", " ", " ", "　", "​", "‌", "‍", "⁠", "﻿", "᠎", "    "]
CONTROLS = [chr(c) for c in range(32)] + ["\x7f", "\x80", "\x9f", "�", "", "\U000f0000", "‮", "⁦", "­",
                                         "￿", "\U0010ffff", "\U0001fae8", "\U00016d40", "ࢗ", "᲋", "ꟑ"]
MARKS = [chr(c) for c in (0x300, 0x301, 0x302, 0x303, 0x308, 0x30A, 0x323, 0x327, 0x328, 0x345, 0x483, 0x5B0, 0x64B, 0x93C, 0xE48, 0x20D0, 0x3099, 0xFE0F, 0x1D165)]


def any_char():
    while True:
        c = dice.randrange(0x30000 if dice.random() < 0.8 else 0x110000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def strings():
    out = ["", " ", "!", "a", "A", "\0", "ß", "İ", "I", "ſ", "<|endoftext|>", "<|endoftext|><|endoftext|>", "a<|endoftext|>b", "<|startoftext|> a cat <|endoftext|>"]
    out += WORDS
    out += [a + s + b for s in SPACES for a, b in (("a", "b"), ("", "1"))] + SPACES
    out += ["x" + c + "y" for c in CONTROLS] + CONTROLS
    out += [dice.choice("aeiouAEIOUncsIiΑ") + m + dice.choice(["", "x", " "]) for m in MARKS for _ in range(2)]
    for form in ("NFD", "NFC", "NFKD", "NFKC"):
        out += [unicodedata.normalize(form, w) for w in dice.sample(WORDS, 25)]
    for change in (str.upper, str.lower, str.title, str.swapcase):
        out += [change(w) for w in dice.sample(WORDS, 25)]
    # Sentences, with all kinds of space between the words and marks on them.
    while len(out) < 1500:
        words = [dice.choice(WORDS) for _ in range(dice.randrange(1, 14))]
        text = ""
        for word in words:
            text += word + (dice.choice(SPACES) if dice.random() < 0.1 else dice.choice([" ", ", ", ",", "", " - "]))
            if dice.random() < 0.05:
                text += dice.choice(MARKS)
            if dice.random() < 0.03:
                text += dice.choice(CONTROLS)
        out.append(text)
    while len(out) < 1900:
        out.append("".join(any_char() for _ in range(dice.randrange(1, 30))))
    # Random pieces of what special tokens and contractions are made of.
    while len(out) < 1985:
        out.append("".join(dice.choice(["<|", "|>", "endoftext", "startoftext", "<|endoftext|>", "'", "'s", "'S", "’s", "'ll", "a", " ", "1", "!", "[CLS]", "</s>", "▁", "</w>", "##", "é"]) for _ in range(dice.randrange(1, 12))))
    # Long ones: one word, many words, one emoji, digits, spaces, Chinese.
    out += ["a" * 3000, "supercalifragilistic" * 60, "word " * 700, "👩‍👩‍👧‍👦" * 150, "7" * 1200, " " * 2500, "é" * 1000, "é" * 700,
            "蝴蝶" * 600, "a1b2" * 400, "don't " * 300, ",.!?" * 500, "İ" * 500, "\n" * 1000, "x" + "̀" * 900]
    assert len(out) == 2000
    return out


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def clip_files():
    """CLIP's whole vocabulary in the form of transformers' conversion."""
    merges = gzip.decompress((HERE / "../data/clip_merges.txt.gz").read_bytes()).decode().splitlines()
    printing = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    tokens = [chr(b) for b in printing] + [chr(256 + n) for n in range(256 - len(printing))]
    tokens += [t + "</w>" for t in tokens] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]


def token(content, normalized=True, **rest):
    return dict(content=content, lstrip=False, normalized=normalized, rstrip=False, single_word=False) | rest


def small_clip(every_byte):
    """A vocabulary of a few hundred tokens, as tests of other projects have it."""
    vocab, merges = clip_files()
    merges = merges[:300]
    tokens = ["<|startoftext|>", "<|endoftext|>"]
    tokens += [t for t, i in vocab.items() if i < 512 and (every_byte or t[0].isascii())]
    have = set(tokens)
    kept = [m for m in merges if (m[0] in have and m[1] in have) and not have.add(m[0] + m[1])]
    tokens += [a + b for a, b in kept]
    return {t: i for i, t in enumerate(tokens)}, kept


def unigram_pieces():
    pieces = {c: -8.0 - n / 50 for n, c in enumerate("▁abcdefghijklmnopqrstuvwxyzABCDEFGHI0123456789.,'!?éüß中国的")}
    words = "▁a ▁the ▁photo of ▁of ing er ▁cat s ▁don t ▁astronaut ▁riding ▁horse on ▁on ▁master piece ▁best ▁quality hello ▁hello 中国 ▁蝴蝶 ▁Stra ße ▁caf caf fe é ▁ﬁ fi".split()
    pieces |= {w: -3.0 - n / 7 for n, w in enumerate(words)}
    return list(pieces.items())


def folders():
    if FOLDERS.exists():
        shutil.rmtree(FOLDERS)
    # The old layout, as Stable Diffusion 1.5 has it: options on some tokens, text alone for the padding.
    vocab, merges = small_clip(True)
    old = FOLDERS / "clip-old"
    write(old / "vocab.json", vocab)
    (old / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    bos, eos = token("<|startoftext|>"), token("<|endoftext|>")
    typed = {"__type": "AddedToken"}
    write(old / "tokenizer_config.json", dict(add_prefix_space=False, bos_token=bos | typed, do_lower_case=True, eos_token=eos | typed,
          errors="replace", model_max_length=77, pad_token="<|endoftext|>", tokenizer_class="CLIPTokenizer", unk_token=eos | typed))
    write(old / "special_tokens_map.json", dict(bos_token=bos, eos_token=eos, pad_token="<|endoftext|>", unk_token=eos))
    # The layout in between, as SDXL's second tokenizer has it, with a token that a fine-tune added.
    middle = FOLDERS / "clip-middle"
    shutil.copytree(old, middle)
    write(middle / "tokenizer_config.json", dict(add_prefix_space=False, bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="!", unk_token="<|endoftext|>",
          clean_up_tokenization_spaces=True, model_max_length=77, tokenizer_class="CLIPTokenizer", added_tokens_decoder={
              "0": token("<|startoftext|>", special=True), "1": token("<|endoftext|>", special=True), "2": token("!", False, special=True),
              "900": token("<cat-toy>", True, special=False), "901": token("Mars", False, special=False) | dict(single_word=True, lstrip=True)}))
    write(middle / "special_tokens_map.json", dict(bos_token="nothing that is looked at"))
    # What save_pretrained writes now: tokenizer.json alone. Some bytes are missing, so that texts are unknown.
    vocab, merges = small_clip(False)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        write(scratch / "vocab.json", vocab)
        (scratch / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
        write(scratch / "tokenizer_config.json", dict(tokenizer_class="CLIPTokenizer", model_max_length=16))
        CLIPTokenizer.from_pretrained(scratch).save_pretrained(FOLDERS / "clip-new")
    # BERT, small: a vocabulary of characters and pieces.
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyzABCDI0123456789,.!?'$|<>[]()-é中国的蝴蝶粉色猫狗",
              *("##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789éß中的"), "photo", "of", "cat", "astro", "##naut", "##ing", "rid", "master", "##piece", "##s", "Café", "cafe", "strasse", "##ss", "istanbul", "de", "##ta", "##il", "##ed"]
    bert = FOLDERS / "bert-old"
    bert.mkdir(parents=True)
    (bert / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    write(bert / "tokenizer_config.json", dict(do_lower_case=False, tokenize_chinese_chars=True, strip_accents=None, model_max_length=512, tokenizer_class="BertTokenizer", cls_token="[CLS]", mask_token="[MASK]", pad_token="[PAD]", sep_token="[SEP]", unk_token="[UNK]"))
    write(bert / "special_tokens_map.json", dict(cls_token="[CLS]", mask_token="[MASK]", pad_token="[PAD]", sep_token="[SEP]", unk_token="[UNK]"))
    write(bert / "added_tokens.json", {"<new>": 400, "[Wow]": 401})
    config = dict(do_lower_case=True, tokenize_chinese_chars=False, strip_accents=False, clean_up_tokenization_spaces=True, model_max_length=64, tokenizer_class="BertTokenizerFast")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        shutil.copy(bert / "vocab.txt", scratch)
        write(scratch / "tokenizer_config.json", config)
        BertTokenizer.from_pretrained(scratch).save_pretrained(FOLDERS / "bert-new")
    # T5, small, from a SentencePiece model with SentencePiece's own normalisation (nmt_nfkc).
    spm = FOLDERS / "t5-spiece"
    spm.mkdir(parents=True)
    corpus = FOLDERS / "corpus.txt"
    corpus.write_text("\n".join(" ".join(dice.choice(WORDS) for _ in range(12)) for _ in range(400)), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(spm / "spiece"), vocab_size=420, character_coverage=0.98, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["<sep>"], num_threads=1, minloglevel=2)
    corpus.unlink()
    (spm / "spiece.vocab").unlink()
    write(spm / "tokenizer_config.json", dict(tokenizer_class="T5Tokenizer", model_max_length=512, extra_ids=10))
    T5Tokenizer.from_pretrained(spm).save_pretrained(FOLDERS / "t5-new")
    # A general file: other parts than the classes have.
    general = Tokenizer(models.Unigram([("<unk>", 0.0), *unigram_pieces()], unk_id=0))
    general.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Replace("``", '"'), normalizers.Lowercase(), normalizers.StripAccents()])
    general.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)])
    general.decoder = decoders.Metaspace()
    general.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    PreTrainedTokenizerFast(tokenizer_object=general, pad_token="<pad>", unk_token="<unk>", model_max_length=32).save_pretrained(FOLDERS / "general-unigram")
    bytes_ = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(clip_files()[0]) if i < 256} | {"Ġa": 256, "he": 257}, merges=[("Ġ", "a"), ("h", "e")]))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bytes_.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=bytes_, pad_token="!", model_max_length=32, padding_side="left", truncation_side="left").save_pretrained(FOLDERS / "general-bytes")
    for junk in FOLDERS.glob("*/special_tokens_map.json"):
        assert junk.parent.name.endswith(("old", "middle"))


def record(tokenizer, texts):
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    length = min(tokenizer.model_max_length, 77)
    encodings = []
    for text in texts[::10]:
        kept = tokenizer(text, padding="max_length", max_length=length, truncation=True)
        whole = tokenizer(text, padding="longest")["input_ids"]
        cut = None
        if len(whole) > length:
            cut = tokenizer.batch_decode([whole[length - 1 : -1]])[0]
        encodings.append([kept["input_ids"], kept["attention_mask"], cut])
    return dict(length=length, counts=[len(i) for i in ids], ids=sum(ids, []), encodings=encodings)


def main():
    texts = strings()
    folders()
    out = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        vocab, merges = clip_files()
        for name, pad in (("clip", "<|endoftext|>"), ("clip-bang", "!")):
            out[name] = record(CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77), texts)
        shutil.copy(sys.argv[1], scratch / "vocab.txt")
        # As Taiyi's tokenizer is configured.
        write(scratch / "tokenizer_config.json", dict(tokenizer_class="BertTokenizer", do_lower_case=True, model_max_length=512, strip_accents=None, tokenize_chinese_chars=True))
        out["bert"] = record(BertTokenizer.from_pretrained(scratch), texts)
    classes = dict(clip=CLIPTokenizer, bert=BertTokenizer, t5=T5Tokenizer, general=PreTrainedTokenizerFast)
    for folder in sorted(FOLDERS.iterdir()):
        out[folder.name] = record(classes[folder.name.split("-")[0]].from_pretrained(folder), texts)
    # SentencePiece's normalisation is a table of a quarter of a megabyte.
    for large in [file for file in FOLDERS.glob("*/*") if file.stat().st_size > 40_000]:
        (large.parent / (large.name + ".gz")).write_bytes(gzip.compress(large.read_bytes(), 9, mtime=0))
        large.unlink()
    for name, data in (("strings", texts), ("tokens", out)):
        packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), 9, mtime=0)
        (HERE / f"{name}.json.gz").write_bytes(packed)
        print(name, len(packed))


main()
