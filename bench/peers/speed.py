"""Runs the same network, weights, input, type and threads in Sumi and in another program, in turn, and compares.

    python3 bench/peers/speed.py --what forward --network ddpm-cifar10 --batch 8 --peer all
    python3 bench/peers/speed.py --what forward --dtype bf16 --peer all
    python3 bench/peers/speed.py --what train --network digits --batch 128
    python3 bench/peers/speed.py --what conv

`sumi bench --save` writes the network and `--output` one forward pass; the peers load both, and their output is held
against Sumi's. Every measurement is a process of its own, Sumi's and the peer's in alternating order; a process's time is
the median of its repetitions after a warm-up, its memory the most that was ever resident. Ratios are the peer's time over
Sumi's: above 1, Sumi is faster. Memory ratios are Sumi's over the peer's.

In training, Sumi's step is all that `sumi train` does: noising, forward, backward, clipping, AdamW and the average of the
weights. The peer's is forward, backward and AdamW on a batch that lies ready; --full-step adds clipping and the average.

This file needs Python alone. The peers run with $SUMI_PEERS_PYTHON or with .peers, which is made where it is missing.
Ends with 1 where an output differs by more than BARS of its greatest value.

Measure on a quiet machine: PyTorch's threads wait for each other by spinning, and lose far more than Sumi's when they
share their cores. On Linux every pair says how many cores other programs used meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEER = Path(__file__).with_name("speed_peer.py")
PEERS = ["eager", "compiled", "openvino"]
# Relative to the greatest value; in 16 bits the programs round at different places.
BARS = {"f32": 1e-3, "bf16": 0.1}
# What other programs may use of a machine that is still called quiet.
QUIET_CORES = 0.1
# Repetitions of one process take about so long, and are no fewer and no more.
PROCESS_SECS, LEAST_REPS, MOST_REPS = 2.0, 5, 100


def talk(line):
    print(line, file=sys.stderr, flush=True)


def run(command, **more):
    """The JSON that a command prints."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}")
    return json.loads(done.stdout)


def peers_python():
    """The interpreter that has the peers; makes it where it is missing."""
    if given := os.environ.get("SUMI_PEERS_PYTHON"):
        return given
    python = ROOT / ".peers" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    check = "from importlib.util import find_spec as f; import sys; sys.exit(not all(map(f, ['torch', 'diffusers', 'openvino'])))"
    if not python.is_file() or subprocess.run([python, "-c", check]).returncode != 0:
        talk("making .peers, once")
        subprocess.run(["cargo", "xtask", "peers"], cwd=ROOT, check=True, stdout=sys.stderr)
    return str(python)


def build(arguments):
    """Sumi's program for this work, from the sources as they are."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    if arguments.what == "conv":
        program, command = target / "examples/convolution", ["-p", "sumi-kernels", "--example", "convolution"]
    else:
        program, command = target / "sumi", []
    if not arguments.no_build:
        subprocess.run(["cargo", "build", "--release", *command], cwd=ROOT, check=True)
    return program


class Others:
    """How many cores other programs use, on average since it was made; None where the system does not say."""

    def __init__(self):
        self.began = self.now()

    @staticmethod
    def now():
        try:
            # user, nice, system, idle, iowait, irq, softirq, steal
            fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        except OSError:
            return None
        busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy - sum(os.times()[:4])

    def cores(self):
        if self.began is None:
            return None
        secs, busy = (now - then for now, then in zip(self.now(), self.began))
        return max(busy / secs, 0.0)


class Comparison:
    """Everything that the two sides share, in a folder of its own."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.program, self.python = build(arguments), peers_python()
        self.model, self.first = folder / "model", folder / "pass.safetensors"
        self.reps = arguments.reps or LEAST_REPS
        if arguments.what == "conv":
            self.reps = arguments.reps or 21
            return
        self.sumi_bench("forward", arguments.network, 1, "--save", self.model, "--output", self.first)
        if not arguments.reps:
            once = self.sumi_bench(arguments.what, self.model, 2)["min_secs"]
            self.reps = round(min(max(PROCESS_SECS / once, LEAST_REPS), MOST_REPS))

    def sumi_bench(self, what, network, reps, *more):
        a = self.arguments
        command = [self.program, "bench", "--what", what, "--network", network, "--reps", reps, "--batch", a.batch]
        return run([*command, "--dtype", a.dtype, "--threads", a.threads, "--json", *more])

    def sumi(self):
        """Seconds of each work, and the peak of memory."""
        if self.arguments.what == "conv":
            found = run([self.program, "--json", "--reps", self.reps, "--threads", self.arguments.threads])
            return {"secs": {work: found[work]["median_secs"] for work in ("forward", "forward_backward")}}
        found = self.sumi_bench(self.arguments.what, self.model, self.reps)
        return {"secs": {self.arguments.what: found["median_secs"]}, "memory": found["peak_memory_bytes"]}

    def peer(self, name, *more):
        a = self.arguments
        threads = str(a.threads)
        command = [self.python, PEER, name, a.what, "--dtype", a.dtype, "--threads", threads, "--reps", self.reps]
        command += ["--model", self.model, "--pass", self.first, "--ir", self.folder / f"{a.what}.xml", *more]
        command += ["--full-step"] if a.full_step else []
        command += ["--channels-last"] if a.channels_last else []
        limits = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return run(command, env={**os.environ, **limits})

    def compare(self, name):
        """All pairs with one peer."""
        if name == "openvino":
            self.peer(name, "--convert")
        pairs = []
        for i in range(self.arguments.pairs):
            sides, others = {}, Others()
            for side in ("sumi", "peer") if i % 2 == 0 else ("peer", "sumi"):
                sides[side] = self.sumi() if side == "sumi" else self.peer(name)
            works = sides["sumi"]["secs"].keys() & sides["peer"]["secs"].keys()
            sides["ratios"] = {w: sides["peer"]["secs"][w] / sides["sumi"]["secs"][w] for w in sorted(works)}
            pairs.append(sides)
            shown = ", ".join(
                f"{w} {r:.3f} ({1e3 * sides['peer']['secs'][w]:.2f} / {1e3 * sides['sumi']['secs'][w]:.2f} ms)"
                for w, r in sides["ratios"].items()
            )
            sides["others_cores"] = others.cores()
            noise = "" if sides["others_cores"] is None else f"; other programs: {sides['others_cores']:.2f} cores"
            talk(f"{name}, pair {i + 1}: {shown}{noise}")
        return summary(pairs)


def summary(pairs):
    """Medians over the pairs."""

    def median(of):
        return statistics.median(of(pair) for pair in pairs)

    result = {"pairs": pairs, "works": {}}
    for work in pairs[0]["ratios"]:
        result["works"][work] = {
            "ratio": median(lambda p: p["ratios"][work]),
            "ratios": [p["ratios"][work] for p in pairs],
            "sumi_secs": median(lambda p: p["sumi"]["secs"][work]),
            "peer_secs": median(lambda p: p["peer"]["secs"][work]),
        }
    if all(p["sumi"].get("memory") and p["peer"].get("memory") for p in pairs):
        result["memory_ratio"] = median(lambda p: p["sumi"]["memory"] / p["peer"]["memory"])
        result["sumi_memory_bytes"] = median(lambda p: p["sumi"]["memory"])
        result["peer_memory_bytes"] = median(lambda p: p["peer"]["memory"])
    others = [p["others_cores"] for p in pairs if p["others_cores"] is not None]
    if others:
        result["others_cores"] = statistics.median(others)
    errors = [p["peer"]["relative_error"] for p in pairs if "relative_error" in p["peer"]]
    if errors:
        result["relative_error"] = max(errors)
    return result


def show(result):
    print(f"{'peer':<10} {'work':<17} {'ratio':>7} {'from':>7} {'to':>7} {'peer ms':>10} {'sumi ms':>10} {'memory':>8} {'error':>9}")
    for name, peer in result["peers"].items():
        for work, row in peer["works"].items():
            memory = f"{peer['memory_ratio']:.2f}x" if "memory_ratio" in peer else ""
            error = f"{peer['relative_error']:.1e}" if "relative_error" in peer else ""
            print(
                f"{name:<10} {work:<17} {row['ratio']:>7.3f} {min(row['ratios']):>7.3f} {max(row['ratios']):>7.3f} "
                f"{1e3 * row['peer_secs']:>10.2f} {1e3 * row['sumi_secs']:>10.2f} {memory:>8} {error:>9}"
            )
    for work, best in result["against_best"].items():
        print(f"{work}, against the best of them ({best['peer']}): {best['ratio']:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=["forward", "train", "conv"], default="forward")
    parser.add_argument("--network", default="ddpm-cifar10", help="as `sumi bench --network`")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=BARS, default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer", choices=[*PEERS, "all"], default="eager", help="openvino does not train")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--reps", type=int, help="repetitions of each process; for some 2 s where nothing is said")
    parser.add_argument("--full-step", action="store_true", help="the peer clips gradients and averages weights too")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch with its other layout of pictures")
    parser.add_argument("--no-build", action="store_true", help="take target/release as it is")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.what != "forward" and arguments.dtype != "f32":
        parser.error(f"--dtype {arguments.dtype}: expected f32 with --what {arguments.what}")
    if arguments.what == "train" and arguments.peer == "openvino":
        parser.error("--peer openvino: expected eager or compiled with --what train, OpenVINO does not train")
    names = PEERS if arguments.peer == "all" else [arguments.peer]
    names = [name for name in names if arguments.what != "train" or name != "openvino"]

    with tempfile.TemporaryDirectory(prefix="sumi-speed-") as folder:
        comparison = Comparison(arguments, Path(folder))
        peers = {name: comparison.compare(name) for name in names}
    result = {
        "what": arguments.what,
        "network": arguments.network if arguments.what != "conv" else None,
        "batch": arguments.batch if arguments.what != "conv" else None,
        "dtype": arguments.dtype,
        "threads": arguments.threads,
        "reps": comparison.reps,
        "peers": peers,
        "against_best": {},
    }
    for name, peer in peers.items():
        for work, row in peer["works"].items():
            best = result["against_best"].get(work)
            if best is None or row["ratio"] < best["ratio"]:
                result["against_best"][work] = {"peer": name, "ratio": row["ratio"]}
    if any(peer.get("others_cores", 0.0) > QUIET_CORES for peer in peers.values()):
        talk(f"warning: other programs used more than {QUIET_CORES} cores: these ratios are not to be trusted")
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    worst = max((peer.get("relative_error", 0.0) for peer in peers.values()), default=0.0)
    if not worst <= BARS[arguments.dtype]:
        sys.exit(f"error: an output differs by {worst:.1e} of its greatest value, more than {BARS[arguments.dtype]}")


if __name__ == "__main__":
    main()
