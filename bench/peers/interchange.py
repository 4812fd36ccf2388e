"""Opens a folder that Sumi wrote with diffusers, draws with the same seeds and compares.

    sumi sample MODEL --sampler ddim --steps 20 --count 4 --seed 7 --tensors F.safetensors
    python interchange.py MODEL F.safetensors --sampler ddim --steps 20 --seed 7

F.safetensors holds `noise` and `samples`, f32 [N,C,H,W]. Sample i is drawn from a CPU generator of seed SEED + i and,
where the model has classes, is of class i modulo their number unless --class says otherwise. Prints JSON; ends with 1
where a relative error is above 1e-4.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from safetensors.torch import load_file

SCHEDULERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}
BAR = 1e-4


def resolve(folder):
    """The model folder itself, or a run folder's newest checkpoint."""
    latest = folder / "latest"
    return folder / latest.read_text().strip() if latest.is_file() else folder


def open_model(folder):
    """Unconditional models open as a pipeline, the others as their two parts."""
    unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
    if unet.config.num_class_embeds is None:
        pipeline = DDPMPipeline.from_pretrained(folder)
        return pipeline.unet.eval(), pipeline.scheduler, "DDPMPipeline"
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    return unet.eval(), scheduler, "UNet2DModel + DDPMScheduler"


@torch.no_grad()
def draw(unet, scheduler, shape, arguments):
    generators = [torch.Generator("cpu").manual_seed(arguments.seed + i) for i in range(shape[0])]
    noise = randn_tensor(shape, generator=generators)
    classes = None
    if unet.config.num_class_embeds is not None:
        classes = torch.arange(shape[0]) % unet.config.num_class_embeds
        if arguments.class_label is not None:
            classes = torch.full_like(classes, arguments.class_label)
    scheduler.set_timesteps(arguments.steps)
    extra = {"eta": arguments.eta} if arguments.sampler == "ddim" else {}
    x = noise
    for t in scheduler.timesteps:
        output = unet(x, t, class_labels=classes).sample
        x = scheduler.step(output, t, x, generator=generators, **extra).prev_sample
    return noise, x


def relative_error(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("tensors", type=Path)
    parser.add_argument("--sampler", choices=SCHEDULERS, default="ddpm")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--class", dest="class_label", type=int)
    arguments = parser.parse_args()

    unet, scheduler, opened_as = open_model(resolve(arguments.model))
    scheduler = SCHEDULERS[arguments.sampler].from_config(scheduler.config)
    ours = load_file(arguments.tensors)
    noise, samples = draw(unet, scheduler, tuple(ours["samples"].shape), arguments)
    result = {
        "opened_as": opened_as,
        "shape": list(samples.shape),
        "noise_relative_error": relative_error(ours["noise"], noise),
        "samples_relative_error": relative_error(ours["samples"], samples),
        "bar": BAR,
    }
    result["passed"] = max(result["noise_relative_error"], result["samples_relative_error"]) <= BAR
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
