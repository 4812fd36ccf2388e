"""Makes vae_image.json: a picture as diffusers' VaeImageProcessor hands it to the autoencoder.

Made with diffusers 0.42.1 and Pillow 13.0.0:

    python make_vae_image.py

The picture is `formula.uniform` of "vae-image", as bytes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../networks/testdata"))
from formula import uniform  # noqa: E402


def main():
    own, to = [19, 14], [16, 24]
    pixels = np.floor((uniform("vae-image", [*own, 3]) + 1) * 128).astype(np.uint8)
    planes = VaeImageProcessor().preprocess(Image.fromarray(pixels), height=to[0], width=to[1])
    out = dict(own=own, to=to, planes=[float(x) for x in planes.flatten().tolist()])
    (HERE / "vae_image.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
