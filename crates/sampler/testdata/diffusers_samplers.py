"""Makes `diffusers_samplers.json`: whole sampling loops of diffusers' schedulers, computed in float64.

Made with torch 2.11.0, diffusers 0.42.1, numpy and scipy 1.17.1 on the CPU:

    python diffusers_samplers.py

The start and the network are those of diffusers' own scheduler tests: 0, 1, .. 767 over 768, shaped (3, 8, 8, 4) and
permuted, times the scheduler's init_noise_sigma; the network says x t / (t + 1) of the scheduler's scaled input.
diffusers keeps its tables in float32, which alone moves results by more than 1e-5, so float32 is made another name of
float64 before diffusers is read. Noise is drawn in true float32 from one CPU generator of seed 0 for the whole tensor.
Every 16th element of the result is kept, and the sum of all absolute values.
"""

import json
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import scipy.integrate
import scipy.stats
import torch

TRUE_FLOAT32 = torch.float32
torch.set_default_dtype(torch.float64)
torch.float32 = torch.float64
np.float32 = np.float64
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import diffusers.utils.torch_utils as torch_utils  # noqa: E402

diffusers.logging.set_verbosity_error()
# Only for its Brownian trees, in whose place the noise is drawn.
sys.modules["torchsde"] = types.ModuleType("torchsde")
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402


def draw(shape, generator=None, device=None, dtype=None, layout=None):
    return torch.randn(shape, generator=generator, dtype=TRUE_FLOAT32).to(torch.float64)


torch_utils.randn_tensor = draw

class BrownianPath:
    """A Brownian path against sigma for two-stage steps, in place of torchsde's tree: first the noise of the way to
    the middle, then that of the whole way, which it is a part of."""

    def __init__(self, generator):
        self.generator, self.half = generator, None

    def __call__(self, sigma, sigma_next):
        z = draw(start().shape, self.generator)
        if self.half is None:
            self.half = (sigma_next, z)
            return z
        (middle, first), self.half = self.half, None
        part = (sigma - middle) / (sigma - sigma_next)
        return part**0.5 * first + (1 - part) ** 0.5 * z


LINEAR = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
SCALED = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
EPS, V = "epsilon", "v_prediction"
USUAL_STEPS = (1, 5, 7, 10, 25, 33)


def start():
    return (torch.arange(768, dtype=torch.float64) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2)


def loop(scheduler, steps, step_options):
    scheduler.set_timesteps(steps)
    for table in ("betas", "alphas_cumprod", "sigmas"):
        assert getattr(scheduler, table, start()).dtype == torch.float64, table
    generator = torch.Generator().manual_seed(0)
    if scheduler.__class__.__name__ == "DPMSolverSDEScheduler":
        scheduler.noise_sampler = BrownianPath(generator)
        generator = None
    if "generator" in scheduler.step.__code__.co_varnames and generator is not None:
        step_options = {**step_options, "generator": generator}
    x = start() * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else start()
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(scaled * t / (t + 1), t, x, **step_options).prev_sample
    assert x.dtype == torch.float64 and torch.isfinite(x).all()
    return x


cases = []


def add(sampler, name, steps, config=(), table=LINEAR, prediction=EPS, settings=(), step_options=()):
    config, settings = dict(config), dict(settings)
    scheduler_class = DPMSolverSDEScheduler if name == "DPMSolverSDEScheduler" else getattr(diffusers, name)
    told = dict(config)
    if table is not None:
        told = {**told, **table, "prediction_type": prediction}
    scheduler = scheduler_class(**told)
    x = loop(scheduler, steps, dict(step_options))
    grid = {"spacing": config.get("timestep_spacing")}
    for kind in ("karras", "exponential", "beta"):
        if config.get(f"use_{kind}_sigmas") or config.get("sigma_schedule") == kind:
            grid["kind"] = kind
    case = {
        "sampler": sampler,
        "scheduler": name,
        "process": "scaled-linear" if table is SCALED else "linear" if table else name[:3].lower(),
        "steps": steps,
        "prediction": prediction,
        "offset": config.get("steps_offset"),
        "shift": config.get("shift"),
        "clip": config.get("clip_sample"),
        "start": float(scheduler.init_noise_sigma) if name.startswith("EDM") else None,
        **grid,
        **settings,
        "sum": float(f"{x.abs().sum().item():.10g}"),
        "values": [float(f"{v:.9g}") for v in x.contiguous().flatten()[::16].tolist()],
    }
    cases.append({key: value for key, value in case.items() if value is not None})


def spread(sampler, name, steps=USUAL_STEPS, kinds=(), spacings=(), predictions=(EPS, V), config=(), **more):
    """One case for each number of steps, and the others at 10 steps (spacings at 7 too, which divides nothing)."""
    config = dict(config)
    for prediction in predictions:
        for n in steps if prediction == EPS else [n for n in steps if n in (7, 10)]:
            add(sampler, name, n, config, prediction=prediction, **more)
    for spacing in spacings:
        for n in (7, 10):
            add(sampler, name, n, {**config, "timestep_spacing": spacing}, **more)
    for kind in kinds:
        for n in (10, 25) if kind == "karras" else (10,):
            add(sampler, name, n, {**config, f"use_{kind}_sigmas": True}, **more)


ALL_KINDS = ("karras", "exponential", "beta")

# The ancestral and the implicit.
for variance in ("fixed_small", "fixed_large"):
    config = {"variance_type": variance, "clip_sample": True}
    spread("ddpm", "DDPMScheduler", config=config, settings={"variance": variance})
add("ddpm", "DDPMScheduler", 1000, {"clip_sample": True})
add("ddpm", "DDPMScheduler", 1000, {"clip_sample": True}, prediction=V)
for eta in (0.0, 1.0):
    more = dict(settings={"eta": eta}, step_options={"eta": eta})
    spread("ddim", "DDIMScheduler", config={"clip_sample": True}, **more)
    spread("ddim", "DDIMScheduler", steps=(10,), spacings=("trailing", "linspace"), config={"clip_sample": False}, **more)
add("ddim", "DDIMScheduler", 1000, {"clip_sample": True})
for spacing in ("leading", "trailing"):
    for n in (7, 10, 25):
        config = {"clip_sample": False, "timestep_spacing": spacing}
        add("ddim_inversion", "DDIMInverseScheduler", n, config)

# Linear multistep.
for prk in (False, True):
    settings = {"runge_kutta_start": prk}
    for n in (5, 7, 10, 25, 33, 1000):
        add("pndm", "PNDMScheduler", n, {"skip_prk_steps": not prk}, settings=settings)
    for n in (7, 10):
        add("pndm", "PNDMScheduler", n, {"skip_prk_steps": not prk}, prediction=V, settings=settings)
    config = {"skip_prk_steps": not prk, "timestep_spacing": "trailing"}
    add("pndm", "PNDMScheduler", 10, config, settings={"runge_kutta_start": prk})
add("pndm", "PNDMScheduler", 1, {"skip_prk_steps": True})
add("pndm", "PNDMScheduler", 50, {"skip_prk_steps": True, "steps_offset": 1}, table=SCALED)

# By ratios.
for sampler, name, kinds in (
    ("euler", "EulerDiscreteScheduler", ALL_KINDS),
    ("euler_a", "EulerAncestralDiscreteScheduler", ()),
    ("heun", "HeunDiscreteScheduler", ALL_KINDS),
    ("dpm2", "KDPM2DiscreteScheduler", ALL_KINDS),
    ("dpm2_a", "KDPM2AncestralDiscreteScheduler", ("karras",)),
    ("lms", "LMSDiscreteScheduler", ("karras", "exponential")),
    ("dpmpp_sde", "DPMSolverSDEScheduler", ("karras",)),
):
    spread(sampler, name, kinds=kinds, spacings=("leading", "trailing"), config={"timestep_spacing": "linspace"})
for sampler, name in (
    ("euler", "EulerDiscreteScheduler"),
    ("euler_a", "EulerAncestralDiscreteScheduler"),
    ("heun", "HeunDiscreteScheduler"),
    ("dpm2", "KDPM2DiscreteScheduler"),
    ("dpm2_a", "KDPM2AncestralDiscreteScheduler"),
    ("lms", "LMSDiscreteScheduler"),
    ("dpmpp_sde", "DPMSolverSDEScheduler"),
):
    add(sampler, name, 1000, {"timestep_spacing": "linspace"})
add("euler", "EulerDiscreteScheduler", 30, {"timestep_spacing": "leading", "steps_offset": 1}, table=SCALED)

# The exponential integrators.
SPACINGS = ("leading", "trailing")
for order in (1, 2, 3):
    config = {"algorithm_type": "dpmsolver", "solver_order": order, "final_sigmas_type": "sigma_min"}
    kinds = ALL_KINDS if order == 2 else ()
    spread(f"dpm_solver_{order}", "DPMSolverMultistepScheduler", kinds=kinds, spacings=SPACINGS, config=config)
    add(f"dpm_solver_{order}", "DPMSolverMultistepScheduler", 999, config)
spread("dpmpp_2m", "DPMSolverMultistepScheduler", kinds=ALL_KINDS, spacings=SPACINGS)
for settings in (
    {"order": 1},
    {"order": 3},
    {"solver": "heun"},
    {"lower_order_final": False},
    {"euler_at_final": True, "end": "first"},
    {"algorithm": "sde-dpmsolver++"},
    {"algorithm": "sde-dpmsolver++", "solver": "heun"},
    {"algorithm": "sde-dpmsolver", "end": "first"},
    {"algorithm": "sde-dpmsolver", "solver": "heun", "end": "first"},
    {"algorithm": "dpmsolver", "solver": "heun", "end": "first"},
):
    names = {"order": "solver_order", "solver": "solver_type", "algorithm": "algorithm_type", "end": "final_sigmas_type"}
    config = {names.get(key, key): value for key, value in settings.items()}
    if "end" in settings:
        config["final_sigmas_type"] = "sigma_min"
    for n in (7, 10, 25):
        add("dpmpp_2m", "DPMSolverMultistepScheduler", n, config, settings=settings)
sde = {"algorithm_type": "sde-dpmsolver++"}
spread("dpmpp_2m_sde", "DPMSolverMultistepScheduler", steps=(1, 10, 25, 33), kinds=("karras",), config=sde)
config = {"use_karras_sigmas": True}
add("dpmpp_2m", "DPMSolverMultistepScheduler", 20, config, table=SCALED)
config = {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}
add("dpmpp_2m", "DPMSolverMultistepScheduler", 20, config, table=SCALED, settings={"algorithm": "sde-dpmsolver++"})
spread("unipc", "UniPCMultistepScheduler", kinds=ALL_KINDS, spacings=SPACINGS)
for settings in (
    {"order": 1},
    {"order": 3},
    {"solver": "bh1", "end": "first"},  # At no noise diffusers has bh1 take infinity times zero.
    {"order": 3, "solver": "bh1", "end": "first"},
    {"predict_x0": False, "end": "first"},
    {"order": 3, "predict_x0": False, "end": "first"},
    {"order": 3, "lower_order_final": False, "end": "first"},
):
    names = {"order": "solver_order", "solver": "solver_type"}
    config = {names.get(key, key): value for key, value in settings.items() if key != "end"}
    if "end" in settings:
        config["final_sigmas_type"] = "sigma_min"
    for n in (7, 10, 25):
        add("unipc", "UniPCMultistepScheduler", n, config, settings=settings)
spread("deis", "DEISMultistepScheduler", kinds=ALL_KINDS, spacings=SPACINGS)
# One more than these timesteps would be more than there are.
add("dpmpp_2m", "DPMSolverMultistepScheduler", 999)
add("dpmpp_2m_sde", "DPMSolverMultistepScheduler", 999, sde)
add("unipc", "UniPCMultistepScheduler", 999)
add("deis", "DEISMultistepScheduler", 999)
for order in (1, 3):
    for n in (7, 10, 25):
        add("deis", "DEISMultistepScheduler", n, {"solver_order": order}, settings={"order": order})

# The distilled.
for n in (1, 2, 4, 7, 25, 50):
    add("lcm", "LCMScheduler", n, table=SCALED)
    add("tcd", "TCDScheduler", n, table=SCALED)
for n in (4, 7):
    add("lcm", "LCMScheduler", n, {"clip_sample": True}, table=SCALED, prediction=V)
    add("tcd", "TCDScheduler", n, table=SCALED, prediction=V)
    for gamma in (0.0, 1.0):
        add("tcd", "TCDScheduler", n, table=SCALED, settings={"gamma": gamma}, step_options={"eta": gamma})

# EDM and flow matching.
for n in USUAL_STEPS:
    add("euler", "EDMEulerScheduler", n, table=None, prediction="edm")
    add("dpmpp_2m", "EDMDPMSolverMultistepScheduler", n, table=None, prediction="edm")
add("dpmpp_2m", "EDMDPMSolverMultistepScheduler", 10, {"sigma_schedule": "exponential"}, table=None, prediction="edm")
config = {"algorithm_type": "sde-dpmsolver++"}
add("dpmpp_2m", "EDMDPMSolverMultistepScheduler", 10, config, table=None, prediction="edm", settings={"algorithm": "sde-dpmsolver++"})
for n in USUAL_STEPS:
    add("flow_euler", "FlowMatchEulerDiscreteScheduler", n, table=None, prediction="velocity")
    add("flow_heun", "FlowMatchHeunDiscreteScheduler", n, table=None, prediction="velocity")
for n in (7, 28):
    add("flow_euler", "FlowMatchEulerDiscreteScheduler", n, {"shift": 3.0}, table=None, prediction="velocity")
    add("flow_heun", "FlowMatchHeunDiscreteScheduler", n, {"shift": 3.0}, table=None, prediction="velocity")

target = Path(__file__).with_suffix(".json")
rows = [json.dumps(case, separators=(",", ":")) for case in cases]
target.write_text("[\n" + ",\n".join(rows) + "\n]\n")
print(len(cases), "cases,", target.stat().st_size // 1024, "KiB")
