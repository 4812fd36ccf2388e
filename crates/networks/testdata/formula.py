"""Weights and inputs that Rust makes too (`sumi_testkit::formula`), so that no golden file holds any.

A number is made from the name of its tensor and its place in it: `uniform(name, shape)`, in [-1, 1), from the upper 24
bits of splitmix64's output number i, seeded with the FNV-1a hash of the name. A weight is u / sqrt(fan_in), a
normalisation's gain 1 + 0.1 u, a bias 0.1 u, a running variance (1 + u / 2) / 6, by which a convolution's products keep
the size that they have before a ReLU.
"""

import math

import numpy as np
import torch

MASK = (1 << 64) - 1


def fnv(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def uniform(name, shape):
    with np.errstate(over="ignore"):
        z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(fnv(name))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1).reshape(shape)


def weight(name, shape):
    u = uniform(name, shape)
    if len(shape) > 1:
        u = u / math.sqrt(math.prod(shape[1:]))
    elif name.endswith(".running_var"):
        u = (1 + 0.5 * u) / 6
    elif ("norm" in name.lower() or "bn" in name.lower()) and name.endswith(".weight"):
        u = 1 + 0.1 * u
    else:
        u = 0.1 * u
    return tensor(u)


def tensor(values):
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
