"""Makes the golden models beside this file: small random diffusers folders and what diffusers samples from them.

Made with torch 2.11.0 and diffusers 0.42.1 on the CPU:

    python make_goldens.py

Each folder holds a model as diffusers writes it, and `expected.safetensors` with, for every run of `RUNS`,
`noise/RUN` (the standard normals that start it) and `samples/RUN` (before any clamp to pixels).
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
SEEDS = [3, 4]


def unet(classes=None, **changes):
    torch.manual_seed(0)
    config = dict(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        num_class_embeds=classes,
    )
    config.update(changes)
    model = UNet2DModel(**config).eval()
    # Move norms and biases off 1 and 0, a little: the walk of a wild random network is chaotic.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def sample(model, scheduler, steps, classes=None, **step_arguments):
    """What the pipelines do with a list of generators, up to their clamp."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    shape = (1, model.config.in_channels, model.config.sample_size, model.config.sample_size)
    x = torch.cat([torch.randn(shape, generator=g) for g in generators])
    noise = x.clone()
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        output = model(x, t, class_labels=classes).sample
        x = scheduler.step(output, t, x, generator=generators, **step_arguments).prev_sample
    return noise, x


def write(name, pipeline, model, runs, bin_weights=False):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=not bin_weights)
    tensors = {}
    for run, (noise, samples) in runs.items():
        tensors[f"noise/{run}"], tensors[f"samples/{run}"] = noise.contiguous(), samples.contiguous()
    save_file(tensors, folder / "expected.safetensors")
    return folder


def main():
    # Today's names, DDPM's own schedule.
    model, scheduler = unet(), DDPMScheduler(variance_type="fixed_large")
    ddim = lambda **changes: DDIMScheduler.from_config(scheduler.config, **changes)
    runs = {
        "ddpm-50": sample(model, scheduler, 50),
        # A random network that predicts eps makes the clamped walk chaotic: after 20 steps torch differs from itself by
        # 0.4 % when its noise is scaled by 1 + 1e-7. So long walks are compared without the clamp, short ones with it.
        "ddim-5-clip": sample(model, ddim(), 5),
        "ddim-20": sample(model, ddim(clip_sample=False), 20),
        "ddim-20-eta1": sample(model, ddim(clip_sample=False), 20, eta=1.0),
        "ddim-7-trailing": sample(model, ddim(clip_sample=False, timestep_spacing="trailing"), 7),
        "ddim-6-linspace": sample(model, ddim(clip_sample=False, timestep_spacing="linspace"), 6),
    }
    write("ddpm", DDPMPipeline(model, scheduler), model, runs)

    # v prediction, dynamic thresholding, cosine, an offset: everything away from the defaults.
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", thresholding=True,
        sample_max_value=2.0, steps_offset=1, set_alpha_to_one=False, num_train_timesteps=400,
    )
    model = unet(block_out_channels=(8, 8, 16), flip_sin_to_cos=False, freq_shift=1, downsample_padding=0,
                 down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3, attention_head_dim=4)
    runs = {
        "ddim-10": sample(model, scheduler, 10),
        "ddpm-40": sample(model, DDPMScheduler.from_config(scheduler.config), 40),
    }
    write("ddim-v", DDIMPipeline(model, scheduler), model, runs)

    # Classes, x_0 prediction.
    scheduler = DDPMScheduler(prediction_type="sample", clip_sample=False)
    model = unet(classes=3, sample_size=16)
    labels = torch.tensor([0, 1])
    runs = {"ddim-20": sample(model, DDIMScheduler.from_config(scheduler.config), 20, labels)}
    write("classes", DDPMPipeline(model, scheduler), model, runs)

    # The names of the published DDPM checkpoints, in a torch file.
    scheduler = DDPMScheduler(variance_type="fixed_large", clip_sample=False)
    model = unet(sample_size=16, attention_head_dim=None, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0, norm_eps=1e-6)
    runs = {"ddim-20": sample(model, DDIMScheduler.from_config(scheduler.config), 20)}
    folder = write("old-names", DDPMPipeline(model, scheduler), model, runs, bin_weights=True)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, tensor in model.state_dict().items():
        if "attentions." in name:
            for new, before in old.items():
                name = name.replace(new, before)
        state[name] = tensor
    torch.save(state, folder / "unet/diffusion_pytorch_model.bin")
    config = json.loads((folder / "unet/config.json").read_text())
    kept = (
        "act_fn attention_head_dim block_out_channels center_input_sample down_block_types downsample_padding "
        "flip_sin_to_cos freq_shift in_channels layers_per_block mid_block_scale_factor norm_eps norm_num_groups "
        "out_channels sample_size time_embedding_type up_block_types"
    ).split()
    config = {"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4"} | {key: config[key] for key in kept}
    (folder / "unet/config.json").write_text(json.dumps(config, indent=2))


main()
