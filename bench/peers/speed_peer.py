"""One measurement of one peer, in a process of its own: what speed.py runs. Prints JSON."""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np

# The shape of crates/kernels/examples/convolution.rs.
CONV = {"n": 16, "channels": 256, "side": 16, "kernel": 3}


def peak_memory_bytes():
    """The most that was ever resident, where the system says."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def measure(work, reps):
    """The median second of a call after three to warm up, which also compile."""
    for _ in range(3):
        work()
    times = []
    for _ in range(reps):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def relative_error(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def read_pass(path):
    from safetensors.numpy import load_file

    return load_file(path)


def torch_network(arguments):
    """The network, and one call of it as (module, inputs)."""
    import torch
    from torch import nn

    if arguments.what == "conv":
        shape = (CONV["n"], CONV["channels"], CONV["side"], CONV["side"])
        conv = nn.Conv2d(CONV["channels"], CONV["channels"], CONV["kernel"], padding=CONV["kernel"] // 2)
        return conv, (torch.randn(shape),)
    from diffusers import UNet2DModel

    class Network(nn.Module):
        """Without the wrapping of the output."""

        def __init__(self, unet):
            super().__init__()
            self.unet = unet

        def forward(self, x, timesteps, classes=None):
            return self.unet(x, timesteps, class_labels=classes, return_dict=False)[0]

    network = Network(UNet2DModel.from_pretrained(arguments.model, subfolder="unet"))
    given = read_pass(arguments.first)
    names = [name for name in ("x", "timesteps", "classes") if name in given]
    return network, tuple(torch.from_numpy(given[name]) for name in names)


def torch_forward(arguments, network, inputs):
    """Times forward passes, and holds the output against Sumi's."""
    import torch

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[arguments.dtype]
    network, inputs = network.eval().to(dtype), (inputs[0].to(dtype), *inputs[1:])
    if arguments.channels_last:
        network = network.to(memory_format=torch.channels_last)
        inputs = (inputs[0].to(memory_format=torch.channels_last), *inputs[1:])
    call = torch.compile(network) if arguments.peer == "compiled" else network
    with torch.inference_mode():
        found = {"secs": {"forward": measure(lambda: call(*inputs), arguments.reps)}}
        found["memory"] = peak_memory_bytes()
        if arguments.what == "forward":
            expected = read_pass(arguments.first)["output"]
            found["relative_error"] = relative_error(call(*inputs).float().numpy(), expected)
    return found


def torch_train(arguments, network, inputs):
    """Times training steps on one batch that lies ready."""
    import torch

    network = network.train()
    if arguments.channels_last:
        network = network.to(memory_format=torch.channels_last)
        inputs = (inputs[0].to(memory_format=torch.channels_last), *inputs[1:])
    target = torch.randn_like(inputs[0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.0)
    parameters = list(network.parameters())
    averages = [p.detach().clone() for p in parameters] if arguments.full_step else []
    call = torch.compile(network) if arguments.peer == "compiled" else network

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(call(*inputs), target)
        loss.backward()
        if arguments.full_step:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if arguments.full_step:
            with torch.no_grad():
                torch._foreach_lerp_(averages, parameters, 1e-4)
        return loss.item()

    return {"secs": {"train": measure(step, arguments.reps)}, "memory": peak_memory_bytes()}


def torch_conv(arguments, network, inputs):
    """Forward, and forward with the gradients of inputs and weights."""
    import torch

    found = torch_forward(arguments, network, inputs)
    x = inputs[0].requires_grad_()
    call = torch.compile(network) if arguments.peer == "compiled" else network
    ones = torch.ones_like(x)

    def both():
        x.grad = None
        network.zero_grad()
        call(x).backward(ones)

    found["secs"]["forward_backward"] = measure(both, arguments.reps)
    return found


def convert(arguments):
    """Leaves the network as OpenVINO's own file, so that its process holds nothing of PyTorch."""
    import openvino as ov
    import torch

    # Tracing says what it fixes; the shapes are fixed below.
    warnings.simplefilter("ignore", torch.jit.TracerWarning)
    network, inputs = torch_network(arguments)
    with torch.no_grad():
        model = ov.convert_model(network.eval(), example_input=inputs)
    model.reshape({port: list(value.shape) for port, value in zip(model.inputs, inputs)})
    ov.save_model(model, arguments.ir, compress_to_fp16=False)
    return {}


def openvino(arguments):
    import openvino as ov

    config = {
        "INFERENCE_PRECISION_HINT": arguments.dtype,
        "INFERENCE_NUM_THREADS": arguments.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = ov.Core()
    request = core.compile_model(core.read_model(arguments.ir), "CPU", config).create_infer_request()
    if arguments.what == "conv":
        shape = (CONV["n"], CONV["channels"], CONV["side"], CONV["side"])
        given, inputs = {}, [np.random.default_rng(0).standard_normal(shape, dtype=np.float32)]
    else:
        given = read_pass(arguments.first)
        inputs = [given[name] for name in ("x", "timesteps", "classes") if name in given]
    inputs = dict(enumerate(inputs))
    found = {"secs": {"forward": measure(lambda: request.infer(inputs, share_inputs=True), arguments.reps)}}
    found["memory"] = peak_memory_bytes()
    if "output" in given:
        found["relative_error"] = relative_error(request.get_output_tensor(0).data, given["output"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["eager", "compiled", "openvino"])
    parser.add_argument("what", choices=["forward", "train", "conv"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pass", dest="first", type=Path)
    parser.add_argument("--ir", type=Path)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--convert", action="store_true")
    parser.add_argument("--full-step", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    if arguments.convert:
        found = convert(arguments)
    elif arguments.peer == "openvino":
        found = openvino(arguments)
    else:
        import torch

        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        network, inputs = torch_network(arguments)
        run = {"forward": torch_forward, "train": torch_train, "conv": torch_conv}[arguments.what]
        found = run(arguments, network, inputs)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
