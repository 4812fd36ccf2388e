"""Makes `diffusers_flow_score.json`: whole loops of diffusers' schedulers for flows, EDM and scores.

Made with torch 2.11.0 and diffusers 0.42.1 on the CPU:

    python diffusers_flow_score.py

The start is that of diffusers' scheduler tests. The flows' model says `x t / (t + 1)` as they do. EDM and the score
scheduler get the exact answer for data N(0, 1/4), so that no network's scale comes in. The pipeline of the score scheduler corrects
before it predicts; here the correction before the first prediction is left out, because Sumi corrects after each
prediction but the last. Noise comes from one CPU generator of seed 0. diffusers computes in f32, and so far may a test
in f64 differ. Of each result every 16th element is kept, and the sum of all.
"""

import json
from pathlib import Path

import torch
from diffusers import (
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    ScoreSdeVeScheduler,
)

VARIANCE = 0.25


def start():
    return (torch.arange(768) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2).contiguous()


def flow(scheduler, steps):
    scheduler.set_timesteps(steps)
    x = start()
    for t in scheduler.timesteps:
        x = scheduler.step(x * t / (t + 1), t, x).prev_sample
    return x


def edm(steps):
    scheduler = EDMEulerScheduler()
    scheduler.set_timesteps(steps)
    x = 80 * start()
    generator = torch.Generator().manual_seed(0)
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i]
        x0 = x * VARIANCE / (VARIANCE + sigma**2)
        x = scheduler.step(x0, t, x, pred_original_sample=x0, generator=generator).prev_sample
    return x


def score(steps):
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=steps, snr=0.16, sigma_max=50.0)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)
    # One sample: diffusers takes the mean of the norms over the batch.
    x = 50 * start()[:1]
    generator = torch.Generator().manual_seed(0)
    for i, t in enumerate(scheduler.timesteps):
        # What step_pred reads.
        sigma = scheduler.discrete_sigmas[(t * (len(scheduler.timesteps) - 1)).long()]
        model = lambda x: -x / (VARIANCE + sigma**2)
        if i > 0:
            x = scheduler.step_correct(model(x), x, generator=generator).prev_sample
        output = scheduler.step_pred(model(x), t, x, generator=generator)
        x = output.prev_sample
    return output.prev_sample_mean


golden = {}
for steps in [1, 5, 10, 25]:
    golden[f"flow_euler {steps}"] = flow(FlowMatchEulerDiscreteScheduler(), steps)
    golden[f"flow_heun {steps}"] = flow(FlowMatchHeunDiscreteScheduler(), steps)
for steps in [5, 18]:
    golden[f"euler {steps}"] = edm(steps)
for steps in [10, 50]:
    golden[f"predictor_corrector {steps}"] = score(steps)
lines = []
for name, x in golden.items():
    values = [float(f"{value:.8g}") for value in [*x.flatten()[::16].tolist(), x.sum().item()]]
    lines.append(f"{json.dumps(name)}: {json.dumps(values)}")
Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
