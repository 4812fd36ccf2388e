"""Writes numpy_legacy.json: permutations and choices of numpy.random.RandomState.

Made with numpy 2.4.6. Long ones as FNV-1a, 64 bits, of their little-endian 32-bit words.
Run in this folder: python numpy_legacy.py
"""

import json

import numpy


def digest(values):
    h = 0xCBF29CE484222325
    for byte in values.astype("<u4").tobytes():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def drawn(seed, sizes):
    """One generator, asked several times: (n, size) is a choice, (n, n) a permutation."""
    state = numpy.random.RandomState(seed)
    lists = [state.permutation(n) if n == size else state.choice(n, size, replace=False) for n, size in sizes]
    return [x.tolist() if len(x) <= 20 else digest(x) for x in lists]


SIZES = [(1, 1), (2, 2), (5, 5), (17, 17), (16, 7), (1000, 3), (5000, 1000), (4097, 1000), (70000, 70000)]
golden = [{"seed": seed, "sizes": SIZES, "drawn": drawn(seed, SIZES)} for seed in (0, 2020, 2**32 - 1)]

with open("numpy_legacy.json", "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
