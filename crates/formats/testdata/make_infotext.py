"""Writes infotext.json: lines of fields with what the WebUI reads of them, and values as it quotes them.

    python make_infotext.py PATH/TO/stable-diffusion-webui

The pattern and the two functions of `modules/infotext_utils.py` are run as they are; the file is not part of this
repository (AGPL-3.0). Made with stable-diffusion-webui 1.10.
"""

import ast
import json
import pathlib
import random
import re
import sys

tree = ast.parse((pathlib.Path(sys.argv[1]) / "modules/infotext_utils.py").read_text(encoding="utf-8"))
webui = {"re": re, "json": json}
for node in tree.body:
    name = getattr(node, "name", None) or getattr(getattr(node, "targets", [None])[0], "id", None)
    if name in {"re_param_code", "re_param", "quote", "unquote"}:
        exec(compile(ast.Module([node], []), "infotext_utils.py", "exec"), webui)

dice = random.Random(1)
PIECES = ["Steps", ": ", "20", ", ", ",", ":", '"', '\\"', "\\", "a", "-", "/", " ", "Seed: 1", 'Lora hashes: "x: 1, y: 2"', "_", "é", "蝶", '"q"', "512x512", "\t", "  "]
lines = []
while len(lines) < 150:
    line = "".join(dice.choice(PIECES) for _ in range(dice.randrange(4, 24)))
    found = webui["re_param"].findall(line.strip())
    # With fewer the line is part of the prompt.
    if len(found) >= 3:
        lines.append([line, [[k, webui["unquote"](v)] for k, v in found]])
values = ["", "a", "a b", "a, b", "a: b", 'x "y"', 'x, "y"', "a\nb", "蝶, 粉色", "\\, \x07\x7f\t", "é:"]
data = dict(lines=lines, values=[[v, webui["quote"](v)] for v in values])
(pathlib.Path(__file__).parent / "infotext.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
