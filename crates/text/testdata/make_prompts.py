"""Writes prompts.json.gz: prompts with what the WebUI makes of them.

    python make_prompts.py PATH/TO/stable-diffusion-webui

For each prompt the texts and weights by `modules/prompt_parser.py::parse_prompt_attention`, and the ids and weights of the
chunks by `modules/sd_hijack_clip.py::tokenize_line` on CLIP's vocabulary. Both functions are run as they are, without
the rest of the program, which is not part of this repository (AGPL-3.0). Prompts for whose weights Python's float() fails
are left out: the WebUI stops there.

Made with stable-diffusion-webui 1.10, transformers 5.23.0.
"""

import ast
import gzip
import json
import pathlib
import random
import re
import sys
import types

from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent
MODULES = pathlib.Path(sys.argv[1]) / "modules"
dice = random.Random(5)


def pick(file, names, space):
    tree = ast.parse((MODULES / file).read_text(encoding="utf-8"))
    for node in tree.body:
        name = getattr(node, "name", None) or (node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else None)
        if name in names:
            if isinstance(node, ast.ClassDef):
                node.bases = []
            exec(compile(ast.Module([node], []), file, "exec"), space)
    return space


parser = types.SimpleNamespace(**pick("prompt_parser.py", {"re_attention", "re_break", "parse_prompt_attention"}, {"re": re}))
options = types.SimpleNamespace(emphasis="Original", comma_padding_backtrack=20)
hijack = pick("sd_hijack_clip.py", {"PromptChunk", "FrozenCLIPEmbedderWithCustomWordsBase"}, {"opts": options, "prompt_parser": parser})

merges = gzip.decompress((HERE / "../data/clip_merges.txt.gz").read_bytes()).decode().splitlines()
printing = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
tokens = [chr(b) for b in printing] + [chr(256 + n) for n in range(256 - len(printing))]
tokens += [t + "</w>" for t in tokens] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
vocab = {t: i for i, t in enumerate(tokens)}
clip = CLIPTokenizer(vocab=vocab, merges=[tuple(m.split(" ")) for m in merges])


class Encoder(hijack["FrozenCLIPEmbedderWithCustomWordsBase"]):
    def __init__(self):
        self.chunk_length = 75
        self.comma_token = vocab[",</w>"]
        self.id_start, self.id_end = clip.bos_token_id, clip.eos_token_id
        nothing = types.SimpleNamespace(find_embedding_at_position=lambda tokens, position: (None, None))
        self.hijack = types.SimpleNamespace(embedding_db=nothing)

    def tokenize(self, texts):
        return clip(texts, truncation=False, add_special_tokens=False)["input_ids"]


encoder = Encoder()
PIECES = ["(", ")", "[", "]", "((", "))", ":", ":1.2)", ":.5)", ":-1)", ": 1.5 )", ":1.2.3)", ":+.)", "\\", "\\(", "\\)", "\\[", "\\]", "\\\\", "BREAK", " BREAK ",
          "\nBREAK\n", "BREAKS", "a BREAK,b", "cat", " dog", ", ", ",", " a red hat", "蝴蝶", "é", "\t", "1.5", "x:1", "<|endoftext|>", " masterpiece, best quality,"]
WORDS = "a photo of the astronaut riding horse on mars masterpiece best quality detailed intricate portrait woman face light dark sea sky".split()


def prompts():
    out = ["", " ", ",", "(", ")", "[", "]", "\\", ":", "BREAK", "BREAK BREAK", "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."]
    while len(out) < 700:
        out.append("".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 12))))
    while len(out) < 1000:
        # Long ones, with commas rare or frequent.
        comma = dice.choice([0.01, 0.03, 0.08, 0.3])
        text = ""
        for _ in range(dice.randrange(40, 260)):
            word = dice.choice(WORDS)
            draw = dice.random()
            if draw < 0.03:
                word = f"({word}:{dice.choice(['1.2', '0.8', '1.05'])})"
            elif draw < 0.05:
                word = f"[{word}]"
            elif draw < 0.055:
                word = "BREAK"
            text += word + (", " if dice.random() < comma else " ")
        out.append(text)
    return out


found = []
for prompt in prompts():
    try:
        parts = parser.parse_prompt_attention(prompt)
    except ValueError:
        continue
    chunks, _ = encoder.tokenize_line(prompt)
    found.append([prompt, parts, [[c.tokens, c.multipliers] for c in chunks]])
packed = gzip.compress(json.dumps(found, separators=(",", ":")).encode(), 9, mtime=0)
(HERE / "prompts.json.gz").write_bytes(packed)
print(len(found), "prompts", sum(len(f[2]) for f in found), "chunks", len(packed), "bytes")
