"""Writes frechet.json: Frechet distances as pytorch-fid computes them (numpy.cov, scipy.linalg.sqrtm).

Made with numpy 2.4.6 and scipy 1.17.1. Features are rounded to three decimals, so that the file is small and exact.
"full": both covariances regular; "few": fewer samples than features; "constant": a feature that never changes;
"far": features of very different scale.
Run in this folder: python frechet.py
"""

import json

import numpy
import scipy.linalg


def frechet(a, b):
    covariances = [numpy.atleast_2d(numpy.cov(x, rowvar=False)) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    assert numpy.isfinite(root).all()
    difference = a.mean(axis=0) - b.mean(axis=0)
    traces = sum(numpy.trace(c) for c in covariances)
    return float(difference @ difference + traces - 2 * numpy.trace(root.real))


rng = numpy.random.default_rng(0)
mix = rng.normal(size=(8, 8))
sets = {
    "full": (rng.normal(size=(40, 8)), rng.normal(size=(30, 8)) @ mix + 0.5),
    "few": (rng.normal(size=(6, 10)), rng.normal(size=(5, 10)) * 2 + 0.3),
    "constant": (rng.normal(size=(30, 5)) * [1, 1, 0, 1, 1], rng.normal(size=(25, 5)) * [2, 1, 1, 0.5, 0] + 1),
    "far": (rng.normal(size=(50, 3)) * [100, 1, 0.1], rng.normal(size=(50, 3)) * [120, 1.5, 0.05] + [5, 1, 0]),
    "one": (rng.normal(size=(20, 1)), rng.normal(size=(20, 1)) * 3 + 1),
}
cases = []
for name, (a, b) in sets.items():
    a, b = a.round(3), b.round(3)
    cases.append({"name": name, "a": a.tolist(), "b": b.tolist(), "distance": frechet(a, b)})

with open("frechet.json", "w") as file:
    json.dump(cases, file, separators=(",", ":"))
    file.write("\n")
