"""Makes resize.json: pictures in other sizes as Pillow, PyTorch and torch-fidelity give them.

Made with Pillow 13.0.0, torch 2.11.0 and torch-fidelity 0.4.0 on the CPU:

    OMP_NUM_THREADS=1 python make_resize.py

Pictures are `formula.uniform` of their names, as bytes. Of results in 8 bits the file has the 64-bit FNV-1a hash and
the first numbers, of results in floats every `step`th number and the mean.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../networks/testdata"))
from formula import uniform  # noqa: E402

# The file alone: the package's front door wants torchvision.
package = Path(importlib.util.find_spec("torch_fidelity").submodule_search_locations[0])
spec = importlib.util.spec_from_file_location("compat", package / "interpolate_compat_tensorflow.py")
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)

FILTERS = dict(box=Image.Resampling.BOX, bilinear=Image.Resampling.BILINEAR, hamming=Image.Resampling.HAMMING,
               bicubic=Image.Resampling.BICUBIC, lanczos=Image.Resampling.LANCZOS)
# Height, width and channels, then the height and width that they become.
SIZES = [
    ((32, 32, 3), (299, 299)),
    ((384, 512, 3), (299, 299)),
    ((28, 28, 1), (32, 32)),
    ((7, 5, 3), (3, 11)),
    ((1, 1, 3), (9, 4)),
    ((1, 3, 1), (40, 40)),
    ((61, 97, 3), (5, 7)),
    ((300, 200, 3), (1, 1)),
    ((3, 200, 1), (64, 64)),
    ((40, 28, 3), (40, 13)),
    ((40, 28, 4), (13, 28)),
    ((90, 20, 1), (30, 15)),
    ((60, 31, 3), (31, 17)),
    ((60, 31, 3), (32, 17)),
]


def picture(name, dims):
    u = uniform(name, dims)
    # Half of it black and white, whose overshoot is clipped.
    grey = np.floor((u + 1) * 128).astype(np.uint8)
    flat = grey.reshape(-1)
    flat[: flat.size // 2] = np.where(flat[: flat.size // 2] > 127, 255, 0)
    return grey


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & ((1 << 64) - 1)
    return f"{h:016x}"


def floats(planes):
    flat = np.asarray(planes, dtype=np.float32).reshape(-1)
    step = max(1, flat.size // 40)
    return dict(step=step, values=[float(f"{x:.9g}") for x in flat[::step]],
                mean=float(f"{flat.astype(np.float64).mean():.12g}"))


def pil(picture, size, resample):
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    if image.mode == "RGBA":
        # Premultiplication, which RGBA gets, is not at issue here.
        return np.stack([pil(picture[..., c : c + 1], size, resample) for c in range(4)], -1)
    return np.asarray(image.resize((size[1], size[0]), resample))


def case(dims, size):
    name = "x".join(map(str, dims)) + "-" + "x".join(map(str, size))
    pixels = picture(name, dims)
    out = dict(name=name, dims=dims, size=size, picture=fnv(pixels.tobytes()), pil={}, pil_float={})
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    for filter, resample in FILTERS.items():
        resized = pil(pixels, size, resample)
        out["pil"][filter] = dict(fnv=fnv(resized.tobytes()), first=resized.reshape(-1)[:12].tolist())
        out["pil_float"][filter] = floats(
            np.stack([np.asarray(Image.fromarray(plane).resize((size[1], size[0]), resample)) for plane in planes]))
    batch = torch.from_numpy(planes)[None]
    out["torch"] = floats(torch.nn.functional.interpolate(batch, size=size, mode="bilinear", align_corners=False))
    tensorflow1 = compat.interpolate_bilinear_2d_like_tensorflow1x
    out["tensorflow1"] = floats(tensorflow1(batch, size=size, align_corners=False))
    return out


def main():
    cases = [case(dims, size) for dims, size in SIZES]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "resize.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
