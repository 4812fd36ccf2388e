"""Weights and inputs that Rust computes too (`sumi_testkit::formula`), so that no golden file holds any.

Element i of the tensor `name` is u(name, i), uniform in [-1, 1) with 24 bits: a 32-bit FNV-1a of the name, with i, through
MurmurHash3's finaliser. What has two dimensions or more is scaled to a variance of 1 / fan_in; a vector called `weight` is
1 + u / 4, any other vector u / 4.
"""

import numpy as np
import torch


def uniform(name, count):
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 % 2**32
    u = np.uint32(seed) ^ (np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        u = (u ^ (u >> np.uint32(shift))) * np.uint32(factor)
    u = (u ^ (u >> np.uint32(16))) >> np.uint32(8)
    return u.astype(np.float64) / 2**23 - 1


def values(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if len(shape) >= 2:
        u = u * (3 / np.prod(shape[1:])) ** 0.5
    else:
        u = u / 4 + name.endswith(".weight")
    return torch.tensor(u.reshape(shape), dtype=torch.float32)


def fill(model, prefix=""):
    """Fills every parameter; returns the names and shapes."""
    shapes = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shapes[prefix + name] = list(parameter.shape)
            parameter.copy_(values(prefix + name, parameter.shape))
    return shapes
