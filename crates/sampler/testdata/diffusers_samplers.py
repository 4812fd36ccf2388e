"""Makes `diffusers_samplers.json`: whole loops of diffusers' own versions of k-diffusion's samplers, on their own grids.

Made with torch 2.11.0 and diffusers 0.42.1 on the CPU:

    python diffusers_samplers.py

The model, the betas and the start are those of diffusers' scheduler tests; schedulers that divide the state by alpha get
a start that is scaled so. Noise comes from one CPU generator of seed 0. diffusers keeps its tables in f32, and so far may
a test in f64 differ. Of each result every 16th element is kept, and the sum of all.
"""

import json
from pathlib import Path

import diffusers
import torch

LINEAR = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
SCHEDULERS = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}


def loop(name, spacing, karras, steps):
    class_name, settings = SCHEDULERS[name]
    settings = {**LINEAR, **settings, "timestep_spacing": spacing}
    if karras:
        settings["use_karras_sigmas"] = True
    scheduler = getattr(diffusers, class_name)(**settings)
    scheduler.set_timesteps(steps)
    x = (torch.arange(768) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2).contiguous()
    if name != "dpmpp_2m_sde":
        x = x * (1 + scheduler.sigmas[0] ** 2) ** 0.5
    generator = torch.Generator().manual_seed(0)
    noisy = {"generator": generator} if name in ["euler_a", "dpm2_a", "dpmpp_2m_sde"] else {}
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(scaled * t / (t + 1), t, x, **noisy).prev_sample
    return x


lines = []
for name in SCHEDULERS:
    for spacing in ["linspace", "leading", "trailing"]:
        for steps in [7, 10]:
            for karras in [False, True] if spacing == "linspace" else [False]:
                # This scheduler has no Karras levels.
                if karras and name == "euler_a":
                    continue
                x = loop(name, spacing, karras, steps).double()
                values = [float(f"{value:.8g}") for value in [*x.flatten()[::16].tolist(), x.sum().item()]]
                case = f"{name} {'karras' if karras else spacing} {steps}"
                lines.append(f"{json.dumps(case)}: {json.dumps(values)}")
Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
