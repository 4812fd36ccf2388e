"""Makes `diffusers_loops.json`: whole sampling loops of diffusers' schedulers with a model that needs no weights.

Made with torch 2.11.0 and diffusers 0.42.1 on the CPU:

    python diffusers_loops.py

The start and the model are those of diffusers' own scheduler tests (tests/schedulers, `test_full_loop_no_noise` and
its variants), whose published sums stand beside ours in PUBLISHED. Ancestral noise comes from one CPU generator of
seed 0 for the whole tensor. diffusers computes in f32, and so far may a test in f64 differ.
"""

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler

LINEAR = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True)

# name: scheduler, steps, changes to LINEAR, sum and mean of the absolute values as published.
PUBLISHED = {
    "ddim-epsilon": (DDIMScheduler, 10, {}, 172.0067, 0.223967),
    "ddim-v": (DDIMScheduler, 10, {"prediction_type": "v_prediction"}, 52.5302, 0.0684),
    "ddpm-epsilon": (DDPMScheduler, 1000, {}, 258.9606, 0.3372),
    "ddpm-v": (DDPMScheduler, 1000, {"prediction_type": "v_prediction"}, 202.0296, 0.2631),
}


def start():
    return (torch.arange(768) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2)


def loop(scheduler_class, steps, changes):
    scheduler = scheduler_class(**{**LINEAR, **changes})
    scheduler.set_timesteps(steps)
    generator = torch.manual_seed(0)
    x = start()
    for t in scheduler.timesteps:
        x = scheduler.step(x * t / (t + 1), t, x, generator=generator).prev_sample
    return x


golden = {}
for name, (scheduler_class, steps, changes, published_sum, published_mean) in PUBLISHED.items():
    x = loop(scheduler_class, steps, changes)
    total, mean = x.abs().sum().item(), x.abs().mean().item()
    assert abs(total - published_sum) < 1e-2 and abs(mean - published_mean) < 1e-3, (name, total, mean)
    print(name, total, mean)
    golden[name] = {"sum": published_sum, "mean": published_mean, "result": x.contiguous().flatten().tolist()}
# Seven significant digits are all that f32 has.
golden = {k: {**v, "result": [float(f"{x:.7g}") for x in v["result"]]} for k, v in golden.items()}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
