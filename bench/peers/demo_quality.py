"""How good are the digits that `sumi demo` draws? An opinion from outside: scikit-learn and SciPy.

    python demo_quality.py DEMO            a demo's folder (its ddim.npz), or an .npz as `sumi sample --npz` writes it
    python demo_quality.py DEMO --split SPLIT.json

The .npz holds `arr_0`, uint8 [N,8,8,1] from 0 to 255, and `arr_1`, the class of each. The digits are scikit-learn's
copy of the ones in Sumi, split as Sumi splits them; SPLIT.json, {"train": [..], "held_out": [..]}, is another split.
Prints JSON; ends with 1 where a bar is missed.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.svm import SVC

SPLIT_SEED = 0x5153
HELD_OUT_FRACTION = 0.2
BARS = {"recognised": 0.97, "frechet_ratio": 1.7, "spread_min": 0.8}


def split(n):
    """Training and held-out indices: a Fisher-Yates shuffle by SplitMix64, the end of it held out."""
    state, mask = SPLIT_SEED, (1 << 64) - 1

    def draw():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    order = list(range(n))
    for last in range(n - 1, 0, -1):
        other = draw() * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    train = n - round(n * HELD_OUT_FRACTION)
    assert sorted(order[train:])[:4] == [2, 15, 18, 21], "not the split of Sumi's data crate"
    return sorted(order[:train]), sorted(order[train:])


def frechet(a, b):
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) over pixels from 0 to 1."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2), which are real even where the covariances
    # are singular, as those of pixels that are always black are.
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * trace_of_root)


def spread(x):
    """Mean Euclidean distance between all pairs."""
    return float(pdist(x).mean())


def samples_file(path):
    if path.is_file():
        return path
    return path / "ddim.npz"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--split", type=Path)
    arguments = parser.parse_args()

    real, real_labels = load_digits(return_X_y=True)
    real = real / 16.0
    if arguments.split:
        given = json.loads(arguments.split.read_text())
        train, held_out = given["train"], given["held_out"]
    else:
        train, held_out = split(len(real))
    path = samples_file(arguments.demo)
    with np.load(path) as file:
        pixels, labels = file["arr_0"], file["arr_1"]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (8, 8, 1) or labels.shape != pixels.shape[:1]:
        sys.exit(f"error: {path}: expected uint8 [N,8,8,1] and [N], found {pixels.dtype} {pixels.shape} and {labels.shape}")
    drawn = pixels.reshape(len(pixels), 64) / 255.0

    # scikit-learn's digits example has gamma 0.001 on values from 0 to 16.
    reader = SVC(gamma=0.001 * 16**2, C=10.0).fit(real[train], real_labels[train])
    right = reader.predict(drawn) == labels
    classes = range(10)
    spreads = {
        str(c): spread(drawn[labels == c]) / spread(real[train][real_labels[train] == c])
        for c in classes
        if (labels == c).sum() > 1
    }
    baseline = frechet(real[train], real[held_out])
    distance = frechet(drawn, real[held_out])
    result = {
        "samples": len(drawn),
        "reader_held_out_accuracy": float(reader.score(real[held_out], real_labels[held_out])),
        "recognised": float(right.mean()),
        "recognised_by_class": {str(c): float(right[labels == c].mean()) for c in classes if (labels == c).any()},
        "frechet_to_held_out": distance,
        "frechet_train_to_held_out": baseline,
        "frechet_ratio": distance / baseline,
        "spread_min": min(spreads.values()),
        "spread_by_class": spreads,
        "bars": BARS,
    }
    result["passed"] = bool(
        result["recognised"] >= BARS["recognised"]
        and result["frechet_ratio"] <= BARS["frechet_ratio"]
        and result["spread_min"] >= BARS["spread_min"]
        and len(spreads) == 10
    )
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
