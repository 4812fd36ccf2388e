"""Writes torch_cpu.json: draws of PyTorch's CPU generator, as the bits of float32 values.

Made with torch 2.11.0 on x86-64 with AVX-512 (`torch.backends.cpu.get_cpu_capability()`); torch.randn
takes the path of ATen/native/cpu/DistributionTemplates.h that is compiled for AVX2 and later.
Run in this folder: python torch_cpu.py
"""

import json

import torch

SEEDS = [0, 1, 42, 2**31, 2**63 - 2]
LENGTHS = [1, 5, 15, 16, 17, 20, 31, 64]
INTERLEAVED = [[5, 20, 3], [1, 1, 16, 1, 33, 2], [15, 15, 15, 17, 4], [700, 1, 650, 6]]


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed)


def bits(values):
    return [b & 0xFFFFFFFF for b in values.view(torch.int32).tolist()]


def digest(values):
    """FNV-1a, 64 bits, of the little-endian bytes: long draws as one number."""
    h = 0xCBF29CE484222325
    for byte in values.numpy().tobytes():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def interleaved(seed, lengths):
    g = generator(seed)
    return bits(torch.cat([torch.randn(n, generator=g) for n in lengths]))


golden = {
    "torch": torch.__version__,
    "short": [
        {"seed": s, "bits": bits(torch.randn(n, generator=generator(s)))} for s in SEEDS for n in LENGTHS
    ],
    "long": [
        {"seed": s, "count": n, "digest": digest(torch.randn(n, generator=generator(s)))}
        for s, n in [(s, 3072) for s in SEEDS] + [(7, 1_000_003)]
    ],
    "interleaved": [
        {"seed": s, "counts": c, "bits": interleaved(s, c)} for s, c in zip([0, 3, 2**32 + 5, 9], INTERLEAVED)
    ],
    "uniform": {"seed": 11, "bits": bits(torch.rand(20, generator=generator(11)))},
}

with open("torch_cpu.json", "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
