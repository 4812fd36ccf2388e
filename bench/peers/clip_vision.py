"""How fast the picture tower of a CLIP is beside transformers': alternating pairs, each side in a process of its own.

    cargo build --release -p sumi-networks --example clip_vision
    /path/to/peers/python bench/peers/clip_vision.py --network clip-vit-b-32 --batch 16 --pairs 5

Run it with a Python that has torch, transformers and numpy. Both sides make the same weights and pictures, and their
embeddings are compared. PyTorch runs in `inference_mode` with its own fused attention. Where other programs use the cores,
wall time says little; the processor time of one thread (--threads 1) suffers less.
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
    from transformers import CLIPConfig, CLIPModel

    sys.path.insert(0, str(TESTDATA))
    import formula as numbers

    torch.set_num_threads(arguments.threads)
    config = CLIPConfig(**json.loads((TESTDATA / f"configs/{arguments.network}.json").read_text()))
    with torch.device("meta"):
        clip = CLIPModel(config).eval()
    for name, value in clip.state_dict().items():
        if name.startswith("vision_model.") or name.startswith("visual_projection."):
            clip.load_state_dict({name: numbers.weight(name, list(value.shape))}, strict=False, assign=True)
    embeddings = clip.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]
    side = config.vision_config.image_size
    name = f"{arguments.network}.picture"
    x = numbers.tensor(numbers.uniform(name, [arguments.batch, 3, side, side]))
    run = lambda: clip.get_image_features(x).pooler_output
    with torch.inference_mode():
        y = run()
        run()
        secs, cpu = [], time.process_time()
        for _ in range(arguments.reps):
            started = time.perf_counter()
            run()
            secs.append(time.perf_counter() - started)
        cpu = (time.process_time() - cpu) / arguments.reps
    return {"secs": secs, "cpu_secs": cpu, "output": y.flatten()[:64].tolist()}


def process(command, arguments):
    threads = str(arguments.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["clip-vit-b-32", "clip-vit-l-14"], default="clip-vit-b-32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--peer", action="store_true", help="only transformers, in this process: what a pair runs")
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(peer(arguments)))
        return
    program = ROOT / "target/release/examples/clip_vision"
    commands = {
        "sumi": [str(program), arguments.network, str(arguments.batch), str(arguments.reps)],
        "transformers": [sys.executable, __file__, *sys.argv[1:], "--peer"],
    }
    ratios, cpu_ratios = [], []
    for pair in range(arguments.pairs):
        sides = {}
        for name, command in sorted(commands.items(), reverse=pair % 2 == 0):
            sides[name] = process(command, arguments)
        ours, theirs = (arguments.batch / statistics.median(sides[name]["secs"]) for name in commands)
        ratios.append(ours / theirs)
        cpu = [arguments.batch / sides[name]["cpu_secs"] for name in commands]
        cpu_ratios.append(cpu[0] / cpu[1])
        outputs = [sides[name]["output"] for name in commands]
        error = max(abs(a - b) for a, b in zip(*outputs)) / max(map(abs, outputs[1]))
        print(f"pair {pair + 1}, pictures a second: sumi {ours:.2f}, transformers {theirs:.2f}; ratio {ratios[-1]:.2f}; "
              f"a second of processor time: {cpu[0]:.2f}, {cpu[1]:.2f}; ratio {cpu_ratios[-1]:.2f}; embeddings differ by {error:.1e}", flush=True)
    print(f"{arguments.network}, batch {arguments.batch}: median ratio {statistics.median(ratios):.2f}"
          f" ({min(ratios):.2f} to {max(ratios):.2f}), of processor time {statistics.median(cpu_ratios):.2f}"
          f" ({min(cpu_ratios):.2f} to {max(cpu_ratios):.2f})")


if __name__ == "__main__":
    main()
