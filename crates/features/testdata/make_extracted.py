"""Makes extracted.json: one picture of 45 x 31 pixels through whole extractors, resize and scale included.

Made with torch 2.11.0, pytorch-fid 0.3.0, torch-fidelity 0.4.0, efficientnet_lite_pytorch 0.1.0 and Pillow 13.0.0:

    OMP_NUM_THREADS=1 python make_extracted.py

Weights are by formula, as in ../../networks/testdata/make_extractors.py; the picture's bytes are too. clean-fid's way is written
out here: channels in Pillow's mode F, bicubic, held to 0 to 255, (x - 128) / 128.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../networks/testdata"))

import make_extractors  # noqa: E402
from formula import uniform  # noqa: E402

WIDTH, HEIGHT = 45, 31


def picture():
    u = uniform("picture", [HEIGHT, WIDTH, 3])
    return np.floor((u + 1) * 128).astype(np.uint8)


def clean(pixels):
    def channel(values):
        image = Image.fromarray(values.astype(np.float32), mode="F")
        return np.asarray(image.resize((299, 299), Image.BICUBIC)).clip(0, 255)

    return torch.from_numpy(np.stack([channel(pixels[:, :, c]) for c in range(3)])[None])


@torch.no_grad()
def main():
    pixels = picture()
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    _, network, *_ = make_extractors.inception()
    make_extractors.fid.fid_inception_v3 = lambda: network
    own = make_extractors.fid.InceptionV3([3]).eval()
    as_is = make_extractors.fid.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    tensorflow = interpolate_bilinear_2d_like_tensorflow1x(planes, size=(299, 299), align_corners=False)
    cases = {
        "pytorch-fid": own(planes / 255)[0],
        "torch-fidelity": as_is((tensorflow - 128) / 128)[0],
        "clean-fid": as_is((clean(pixels) - 128) / 128)[0],
    }
    _, lite, *_ = make_extractors.efficientnet()
    small = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.BICUBIC))
    x = (torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() - 127) / 128
    cases["efficientnet-lite0"] = lite.extract_features(x).mean([2, 3])
    numbers = {name: [float(f"{v:.6g}") for v in value.flatten().tolist()] for name, value in cases.items()}
    (HERE / "extracted.json").write_text(json.dumps(numbers, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
