"""Makes `samplers-*/` beside this file: a tiny random network under every sampler that diffusers has.

Made with torch 2.11.0 and diffusers 0.42.1 on the CPU:

    python make_sampler_goldens.py

`samplers-epsilon` and `samplers-v` hold a U-Net of 8 x 8 pixels with Stable Diffusion's schedule, `samplers-flow` the same as a
flow and `samplers-zero-snr` with a schedule that ends without signal. `expected.safetensors` in each holds, for every run SAMPLER/STEPS/GRID, what diffusers draws for the
seeds 3 and 4, each from a generator of its own; `noise` are the standard normals that all of them start from. The scheduler of a run
is made by `from_config` from the folder's, as a user of diffusers changes samplers.
"""

import shutil
from pathlib import Path

import diffusers as d
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
SEEDS = [3, 4]
SHAPE = (1, 2, 8, 8)

# Sumi's name of each, its class and what a user would set.
SAMPLERS = {
    "ddpm": (d.DDPMScheduler, {}),
    "ddim": (d.DDIMScheduler, {}),
    "pndm": (d.PNDMScheduler, {"skip_prk_steps": True}),
    "euler": (d.EulerDiscreteScheduler, {}),
    "euler_a": (d.EulerAncestralDiscreteScheduler, {}),
    "heun": (d.HeunDiscreteScheduler, {}),
    "dpm2": (d.KDPM2DiscreteScheduler, {}),
    "dpm2_a": (d.KDPM2AncestralDiscreteScheduler, {}),
    "lms": (d.LMSDiscreteScheduler, {}),
    "dpm_solver_1": (d.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "solver_order": 1, "final_sigmas_type": "sigma_min"}),
    "dpm_solver_2": (d.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "solver_order": 2, "final_sigmas_type": "sigma_min"}),
    "dpm_solver_3": (d.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"}),
    "dpmpp_2m": (d.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (d.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": (d.UniPCMultistepScheduler, {}),
    "deis": (d.DEISMultistepScheduler, {}),
    "lcm": (d.LCMScheduler, {}),
    "tcd": (d.TCDScheduler, {}),
}
KARRAS = "euler heun dpm2 dpm2_a lms dpmpp_2m dpmpp_2m_sde unipc deis".split()


def unet():
    torch.manual_seed(0)
    model = UNet2DModel(
        sample_size=SHAPE[-1],
        in_channels=SHAPE[1],
        out_channels=SHAPE[1],
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
    ).eval()
    # Move norms and biases off 1 and 0, a little: the walk of a wild random network is chaotic.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def generators():
    return [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]


@torch.no_grad()
def sample(model, scheduler, steps):
    streams = generators()
    x = torch.cat([torch.randn(SHAPE, generator=g) for g in streams])
    scheduler.set_timesteps(steps)
    x = x * getattr(scheduler, "init_noise_sigma", 1.0)
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = model(scaled, t).sample
        extra = {"generator": streams} if takes_generator else {}
        x = scheduler.step(output, t, x, **extra).prev_sample
    return x


def saved(name, model, scheduler):
    """The scheduler as the folder says it: read back, so that nothing in it counts as a default that was never set."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    d.DDPMPipeline(model, scheduler).save_pretrained(folder)
    return type(scheduler).from_pretrained(folder, subfolder="scheduler")


def write(name, runs):
    folder = HERE / name
    runs["noise"] = torch.cat([torch.randn(SHAPE, generator=g) for g in generators()])
    save_file({run: x.contiguous() for run, x in runs.items()}, folder / "expected.safetensors")


def main():
    model = unet()
    for name, prediction in [("samplers-epsilon", "epsilon"), ("samplers-v", "v_prediction")]:
        base = d.DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, prediction_type=prediction
        )
        base = saved(name, model, base)
        runs = {}
        for sampler, (scheduler_class, changes) in SAMPLERS.items():
            for steps in (1, 4, 13, 20):
                for grid in ["own"] + (["karras"] if sampler in KARRAS else []):
                    more = {"use_karras_sigmas": True} if grid == "karras" else {}
                    if (sampler, steps, grid) == ("deis", 1, "karras"):
                        continue  # diffusers goes from the first level to itself and leaves all of the noise
                    scheduler = scheduler_class.from_config(base.config, **changes, **more)
                    try:
                        runs[f"{sampler}/{steps}/{grid}"] = sample(model, scheduler, steps)
                    except Exception as error:
                        print(f"{name} {sampler} {steps} {grid}: diffusers fails: {type(error).__name__}: {str(error)[:90]}")
        write(name, runs)

    # A schedule that ends without signal, and grids that start there.
    base = d.DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing",
    )
    base = saved("samplers-zero-snr", model, base)
    runs = {}
    for sampler in "ddpm ddim euler euler_a dpmpp_2m dpmpp_2m_sde unipc lcm".split():
        scheduler_class, changes = SAMPLERS[sampler]
        # One step of diffusers' Euler takes 4,096 times the picture from itself, in f32.
        for steps in (4, 13) if sampler.startswith("euler") else (1, 4, 13):
            scheduler = scheduler_class.from_config(base.config, **changes)
            try:
                runs[f"{sampler}/{steps}/own"] = sample(model, scheduler, steps)
            except Exception as error:
                print(f"zero snr {sampler} {steps}: diffusers fails: {type(error).__name__}: {str(error)[:90]}")
    write("samplers-zero-snr", runs)

    base = saved("samplers-flow", model, d.FlowMatchEulerDiscreteScheduler(shift=2.0))
    runs = {}
    for sampler, scheduler_class in [("flow_euler", d.FlowMatchEulerDiscreteScheduler), ("flow_heun", d.FlowMatchHeunDiscreteScheduler)]:
        for steps in (1, 4, 13):
            try:
                runs[f"{sampler}/{steps}/own"] = sample(model, scheduler_class.from_config(base.config), steps)
            except Exception as error:
                print(f"{sampler} {steps}: diffusers fails: {type(error).__name__}: {str(error)[:90]}")
    write("samplers-flow", runs)


main()
