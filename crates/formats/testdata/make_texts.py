"""Writes texts.png with Pillow: the three kinds of text that a PNG may hold.

    python make_texts.py

Made with Pillow 13; `tests/texts.rs` says what is in it.
"""

import pathlib

from PIL import Image, PngImagePlugin

info = PngImagePlugin.PngInfo()
info.add_text("parameters", "a café\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1")
info.add_text("sumi", '{"prompt": "粉色的蝴蝶"}')
info.add_text("workflow", '{"nodes": []}' * 9, zip=True)
info.add_itxt("Title", "小精灵", lang="zh", tkey="标题", zip=True)
here = pathlib.Path(__file__).parent
Image.new("RGB", (4, 3), (200, 10, 30)).save(here / "texts.png", pnginfo=info)
