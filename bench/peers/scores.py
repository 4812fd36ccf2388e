"""Times scores of the same features in Sumi and in the packages that define them, in turn, and compares.

    cargo build --release -p sumi-metrics --example scores
    .peers/bin/python bench/peers/scores.py
    .peers/bin/python bench/peers/scores.py --what fid --pairs 5

| what | features | the peer |
|---|---|---|
| fid | two sets of 50,000 x 2,048 | numpy.mean and numpy.cov of f64, pytorch-fid's calculate_frechet_distance (scipy.linalg.sqrtm) |
| fid-eigvals | the same | torch-fidelity's: numpy.cov, numpy.linalg.eigvals of the product |
| kid | two of 10,000 x 2,048 | torch-fidelity's kid_features_to_metric, 100 subsets of 1,000, in f32 |
| prdc | two of 10,000 x 2,048 | prdc's compute_prdc, 5 neighbours, in f32 |

Sumi computes everything in f64. Features are made up, with a spectrum that falls off as Inception's does, and lie in f32 in .npy files.
Every measurement is a process of its own, Sumi's and the peer's in alternating order, with --threads threads each. Clocks
start when the features lie in memory, the peer's for FID in f64 as pytorch-fid holds them, Sumi's in f32 as they come. Ratios
are the peer's time over Sumi's: above 1, Sumi is faster. Memory is the most that a process ever had resident, features included.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "target/release/examples/scores"
WHAT = {"fid": 50_000, "fid-eigvals": 50_000, "kid": 10_000, "prdc": 10_000}


def make(folder, rows, columns=2048):
    """Two sets with a falling spectrum, cut off below 0 as Inception's features are."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((columns, columns)) * np.exp(-np.arange(columns) / 250)[:, None] * 0.05
    paths = [folder / f"{name}-{rows}.npy" for name in ("real", "generated")]
    for path, shift in zip(paths, (0.0, 0.05)):
        if not path.exists():
            z = rng.standard_normal((rows, columns), dtype=np.float32)
            z[:, :40] *= 1 + shift
            np.save(path, np.maximum(z @ mix.astype(np.float32) + np.float32(0.3 + shift), 0))
    return paths


def peak_memory_bytes():
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def statistics_of(features):
    return features.mean(axis=0), np.cov(features, rowvar=False)


def fidelity_frechet(mean_a, covariance_a, mean_b, covariance_b):
    """torch-fidelity's: roots of the eigenvalues of the product."""
    roots = np.sqrt(np.linalg.eigvals(covariance_a.dot(covariance_b)).astype(complex)).real
    difference = mean_a - mean_b
    return difference @ difference + np.trace(covariance_a) + np.trace(covariance_b) - 2 * roots.sum()


def peer(what, paths):
    """One measurement of a peer."""
    a, b = (np.load(path) for path in paths)
    if what.startswith("fid"):
        from pytorch_fid.fid_score import calculate_frechet_distance

        a, b = (x.astype(np.float64) for x in (a, b))
        distance = calculate_frechet_distance if what == "fid" else fidelity_frechet
        started = time.perf_counter()
        values = [float(distance(*statistics_of(a), *statistics_of(b)))]
    elif what == "kid":
        import torch
        from torch_fidelity.metric_kid import kid_features_to_metric

        a, b = torch.from_numpy(a), torch.from_numpy(b)
        started = time.perf_counter()
        found = kid_features_to_metric(a, b, verbose=False)
        values = [found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]]
    else:
        from prdc import compute_prdc

        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            found = compute_prdc(a, b, 5)
        values = [float(found[key]) for key in ("precision", "recall", "density", "coverage")]
    return {"secs": time.perf_counter() - started, "memory": peak_memory_bytes(), "values": values}


def run(command, threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def compare(what, folder, arguments):
    paths = make(folder, WHAT[what])
    sumi = [EXAMPLE, what.removesuffix("-eigvals"), *paths]
    other = [sys.executable, __file__, "--peer", what, *paths]
    pairs = []
    for i in range(arguments.pairs):
        turn = [("sumi", sumi), ("peer", other)]
        pair = {name: run(command, arguments.threads) for name, command in (turn if i % 2 == 0 else turn[::-1])}
        pairs.append(pair)
        print(f"{what}: {pair['sumi']['secs']:.2f} s, {pair['peer']['secs']:.2f} s", file=sys.stderr, flush=True)
    ratios = sorted(pair["peer"]["secs"] / pair["sumi"]["secs"] for pair in pairs)
    of = lambda name, key: statistics.median(pair[name][key] for pair in pairs)
    return {
        "what": what,
        "sumi_secs": of("sumi", "secs"),
        "peer_secs": of("peer", "secs"),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "sumi_gib": of("sumi", "memory") / 2**30,
        "peer_gib": of("peer", "memory") / 2**30,
        "sumi": pairs[0]["sumi"]["values"],
        "peer": pairs[0]["peer"]["values"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=[*WHAT, "all"], default="all")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keeps the features here")
    parser.add_argument("--peer", choices=WHAT, help="one measurement of a peer")
    parser.add_argument("paths", type=Path, nargs="*")
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(peer(arguments.peer, arguments.paths)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for what in WHAT if arguments.what == "all" else [arguments.what]:
            print(json.dumps(compare(what, folder, arguments)), flush=True)


if __name__ == "__main__":
    main()
