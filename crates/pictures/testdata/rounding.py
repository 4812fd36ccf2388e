"""Makes rounding.bin: 1279 records of (f32 little-endian x, u8 pixel), x at and one ulp either side of each tie.

The formula is diffusers 0.42's `VaeImageProcessor.denormalize` followed by `numpy_to_pil`. Made with numpy 2.
"""
import pathlib

import numpy as np

ties = ((np.arange(256) + 0.5) / 255 * 2 - 1).astype(np.float32)
levels = (np.arange(256) / 255 * 2 - 1).astype(np.float32)
low, high = np.float32(-2), np.float32(2)
x = np.concatenate([ties, np.nextafter(ties, low), np.nextafter(ties, high), levels,
                    np.random.default_rng(0).uniform(-1.2, 1.2, 255).astype(np.float32)])
unit = np.clip(x / np.float32(2) + np.float32(0.5), 0, 1)
assert unit.dtype == np.float32
pixels = (unit * np.float32(255)).round().astype(np.uint8)
records = np.zeros(len(x), dtype=[("x", "<f4"), ("pixel", "u1")])
records["x"], records["pixel"] = x, pixels
pathlib.Path(__file__).with_name("rounding.bin").write_bytes(records.tobytes())
