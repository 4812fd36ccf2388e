"""Writes scores.json: distances and scores as pytorch-fid, torch-fidelity and prdc compute them.

Made with pytorch-fid 0.3.0, torch-fidelity 0.4.0, prdc 0.2, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, torch 2.11.0.
Features come from a formula that crates/metrics/tests/scores.rs repeats: whole numbers from a linear congruential
generator, over 64, mixed by a band matrix, so both sides have the same bits.
Run in this folder: OMP_NUM_THREADS=1 python scores.py
"""

import contextlib
import io
import json

import numpy
import torch
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric


def features(rows, columns, seed, offset=0, rank=0, copies=0):
    """Sums of 3 neighbouring columns of whole numbers over 64; `rank` repeats columns, `copies` the first rows at the end."""
    state, values = seed, []
    for _ in range(rows * columns):
        state = (state * 1103515245 + 12345) % 2**31
        values.append((state >> 16) % 128 - 64)
    x = numpy.array(values, dtype=float).reshape(rows, columns)
    x = (x + 2 * numpy.roll(x, -1, axis=1) + numpy.roll(x, -2, axis=1)) / 64 + offset
    if rank:
        x = x[:, numpy.arange(columns) % rank]
    if copies:
        x[-copies:] = x[:copies]
    return x


def frechet(a, b):
    with contextlib.redirect_stdout(io.StringIO()):
        means = [x.mean(axis=0) for x in (a, b)]
        covariances = [numpy.cov(x, rowvar=False) for x in (a, b)]
        return float(calculate_frechet_distance(means[0], covariances[0], means[1], covariances[1]))


def exact_frechet(a, b):
    """With the centred samples as factors of the covariances, which loses no digits where these are singular."""
    factors = [(x - x.mean(axis=0)) / numpy.sqrt(len(x) - 1) for x in (a, b)]
    difference = a.mean(axis=0) - b.mean(axis=0)
    cross = numpy.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(difference @ difference + sum((f**2).sum() for f in factors) - 2 * cross)


def kid(a, b, subsets, size, seed):
    found = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=subsets, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    return [found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]]


def inception(a, splits, shuffle, seed):
    found = isc_features_to_metric(torch.from_numpy(a), splits, shuffle, seed)
    return [found["inception_score_mean"], found["inception_score_std"]]


def manifolds(a, b, k):
    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(a, b, k)
    return [float(found[key]) for key in ("precision", "recall", "density", "coverage")]


PAIRS = {
    "plain": (dict(rows=300, columns=16, seed=1), dict(rows=260, columns=16, seed=2, offset=0.125)),
    "rank-deficient": (dict(rows=200, columns=24, seed=3, rank=9), dict(rows=150, columns=24, seed=4, rank=7, offset=0.25)),
    "one singular": (dict(rows=200, columns=20, seed=5, rank=6), dict(rows=200, columns=20, seed=6)),
    "few": (dict(rows=30, columns=64, seed=7), dict(rows=20, columns=64, seed=8, offset=0.5)),
    "few and many": (dict(rows=30, columns=40, seed=9), dict(rows=500, columns=40, seed=10)),
    "duplicates": (dict(rows=120, columns=8, seed=11, copies=30), dict(rows=90, columns=8, seed=12, copies=40)),
    "copied": (dict(rows=150, columns=8, seed=13), dict(rows=100, columns=8, seed=13)),
}

cases = []
for name, (first, second) in PAIRS.items():
    a, b = features(**first), features(**second)
    size = min(len(a), len(b)) // 2
    cases.append(
        {
            "name": name,
            "first": first,
            "second": second,
            "frechet": frechet(a, b),
            "exact_frechet": exact_frechet(a, b),
            "kid_size": size,
            "kid": kid(a, b, 10, size, 2020),
            "inception": [inception(4 * a, 10, True, 2020), inception(4 * a, 7, False, 0)],
            "manifolds": [manifolds(a, b, k) for k in (1, 5)],
        }
    )

with open("scores.json", "w") as file:
    json.dump(cases, file, indent=1)
    file.write("\n")
