"""How fast one pass of Stable Diffusion's U-Net is beside diffusers': alternating pairs, each side in a process of its own.

    cargo build --release -p sumi-networks --example unet_condition
    /path/to/peers/python bench/peers/sd_step.py --dtype f32 --pairs 3

Run it with a Python that has torch, diffusers and numpy. Both sides make the same weights and inputs, batch 2 of 64x64
latents unless told otherwise, and their outputs are compared. Where other programs use the cores, wall time says little;
the processor time of one thread (--threads 1) suffers less.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTDATA = ROOT / "crates/networks/testdata"


def formula():
    spec = importlib.util.spec_from_file_location("formula", TESTDATA / "make_unet_condition.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def peer(arguments):
    import torch
    from diffusers import UNet2DConditionModel

    numbers = formula()
    torch.set_num_threads(arguments.threads)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[arguments.dtype]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**json.loads(arguments.config.read_text())).to(dtype).eval()
    state = {name: list(value.shape) for name, value in unet.state_dict().items()}
    for name, shape in state.items():
        unet.load_state_dict({name: numbers.weight(name, shape).to(dtype)}, strict=False, assign=True)
    n, h, w = arguments.batch, arguments.height, arguments.width
    config = unet.config
    make = lambda name, shape: numbers.tensor(numbers.uniform(name, shape)).to(dtype)
    context = make("context", [n, 77, config.cross_attention_dim])
    x = make("x", [n, config.in_channels, h, w])
    given = {}
    if config.num_class_embeds:
        given["class_labels"] = torch.zeros(n, dtype=torch.long)
    if config.addition_embed_type:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        ids = torch.tensor([[1024.0, 1024.0, 0.0, 0.0, 1024.0, 1024.0]] * n)
        given["added_cond_kwargs"] = {"text_embeds": make("text_embeds", [n, pooled]), "time_ids": ids}
    run = lambda: unet(x, 981, encoder_hidden_states=context, **given).sample
    with torch.inference_mode():
        y = run()
        secs, cpu = [], time.process_time()
        for _ in range(arguments.reps):
            started = time.perf_counter()
            run()
            secs.append(time.perf_counter() - started)
        cpu = (time.process_time() - cpu) / arguments.reps
    return {"secs": secs, "cpu_secs": cpu, "peak_mib": peak_mib(), "output": y.float().flatten()[:64].tolist()}


def process(command, arguments):
    threads = str(arguments.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=TESTDATA / "configs/unet-sd-1.5.json")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="only diffusers, in this process: what a pair runs")
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(peer(arguments)))
        return
    program = ROOT / "target/release/examples/unet_condition"
    shape = [str(value) for value in (arguments.batch, arguments.height, arguments.width, arguments.reps)]
    sumi = [str(program), str(arguments.config), arguments.dtype, *shape]
    diffusers = [sys.executable, __file__, "--peer", *sys.argv[1:]]
    ratios, cpu_ratios, memory = [], [], []
    for pair in range(arguments.pairs):
        sides = {}
        for name, command in sorted({"sumi": sumi, "diffusers": diffusers}.items(), reverse=pair % 2 == 0):
            sides[name] = process(command, arguments)
        ours, theirs = (statistics.median(sides[name]["secs"]) for name in ("sumi", "diffusers"))
        peaks = [sides[name]["peak_mib"] for name in ("sumi", "diffusers")]
        outputs = [sides[name]["output"] for name in ("sumi", "diffusers")]
        error = max(abs(a - b) for a, b in zip(*outputs)) / max(map(abs, outputs[1]))
        ratios.append(theirs / ours)
        cpu = [sides[name]["cpu_secs"] for name in ("sumi", "diffusers")]
        cpu_ratios.append(cpu[1] / cpu[0])
        memory.append(peaks[0] / peaks[1])
        print(
            f"pair {pair + 1}: sumi {ours:.2f} s, {cpu[0]:.2f} of processor time, {peaks[0]:.0f} MiB; "
            f"diffusers {theirs:.2f} s, {cpu[1]:.2f}, {peaks[1]:.0f} MiB; "
            f"ratio {ratios[-1]:.2f}, of processor time {cpu_ratios[-1]:.2f}; the outputs differ by {error:.1e}",
            flush=True,
        )
    medians = [statistics.median(values) for values in (ratios, cpu_ratios)]
    print(f"median ratio {medians[0]:.2f}, of processor time {medians[1]:.2f}, memory {statistics.median(memory):.2f}x")


if __name__ == "__main__":
    main()
