"""How fast the networks that features are taken from are beside PyTorch's: alternating pairs, each side in a process of its
own.

    cargo build --release -p sumi-networks --example extractors
    /path/to/peers/python bench/peers/extractors.py --network inception --batch 8 --pairs 5

Run it with a Python that has torch, torchvision, numpy, pytorch-fid and efficientnet_lite_pytorch. Both sides make the same
weights and inputs, and their features are compared. PyTorch runs in `inference_mode`, with pictures in both of its
layouts, and the faster one counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTDATA = ROOT / "crates/networks/testdata"


def peer(arguments):
    import torch

    sys.path.insert(0, str(TESTDATA))
    import make_extractors as make

    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        if arguments.network == "inception":
            model, side = make.fid_inception().eval(), 299
            make.fill(model)
            make.fid.fid_inception_v3 = lambda: model
            blocks = make.fid.InceptionV3([3], resize_input=False, normalize_input=False).eval()
            run = lambda x: blocks(x)[0][:, :, 0, 0]
        else:
            model, side = make.EfficientNet.from_name("efficientnet-lite0").eval(), 224
            make.fill(model)
            run = lambda x: model.extract_features(x).mean([2, 3])
        x = make.picture(arguments.network, arguments.batch, side)
        layout = torch.channels_last if arguments.layout == "last" else torch.contiguous_format
        model.to(memory_format=layout)
        x = x.contiguous(memory_format=layout)
        y = run(x)
        run(x)
        secs = []
        for _ in range(arguments.reps):
            started = time.perf_counter()
            run(x)
            secs.append(time.perf_counter() - started)
    return {"secs": secs, "output": y.flatten()[:64].tolist()}


def process(command, arguments):
    threads = str(arguments.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["inception", "efficientnet-lite0"], default="inception")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--layout", choices=["first", "last"], help="only PyTorch, in this process: what a pair runs")
    arguments = parser.parse_args()
    if arguments.layout:
        print(json.dumps(peer(arguments)))
        return
    program = ROOT / "target/release/examples/extractors"
    torch = [sys.executable, __file__, *sys.argv[1:], "--layout"]
    commands = {
        "sumi": [str(program), arguments.network, str(arguments.batch), str(arguments.reps)],
        "torch, channels first": [*torch, "first"],
        "torch, channels last": [*torch, "last"],
    }
    rates, ratios = {name: [] for name in commands}, []
    for pair in range(arguments.pairs):
        sides = {}
        for name, command in sorted(commands.items(), reverse=pair % 2 == 0):
            sides[name] = process(command, arguments)
            rates[name].append(arguments.batch / statistics.median(sides[name]["secs"]))
        ours, *theirs = (rates[name][-1] for name in commands)
        ratios.append(ours / max(theirs))
        outputs = [sides[name]["output"] for name in ("sumi", "torch, channels last")]
        error = max(abs(a - b) for a, b in zip(*outputs)) / max(map(abs, outputs[1]))
        each = ", ".join(f"{name} {values[-1]:.1f}" for name, values in rates.items())
        print(f"pair {pair + 1}, pictures a second: {each}; ratio {ratios[-1]:.2f}; features differ by {error:.1e}", flush=True)
    each = ", ".join(f"{name} {statistics.median(values):.1f}" for name, values in rates.items())
    print(f"{arguments.network}, batch {arguments.batch}, medians: {each}; ratio {statistics.median(ratios):.2f}"
          f" ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
