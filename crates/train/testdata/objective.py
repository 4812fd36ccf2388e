"""Losses and their gradients by torch.distributions and torch.autograd in float64.

    python objective.py > objective.json

Made with torch 2.11.0. The reverse process is written out as in Ho, Jain and Abbeel, "Denoising
Diffusion Probabilistic Models", section 3, and Nichol and Dhariwal, "Improved Denoising Diffusion
Probabilistic Models", Eq. 15 and 16; nothing of Sumi is used.
"""

import json
import math

import torch
from torch.distributions import Normal, kl_divergence

T, WHITE = 10, 16
TIMESTEPS = [0, 4, 9, 0]
SHAPE = (len(TIMESTEPS), 1, 2, 2)

torch.manual_seed(0)
betas = torch.linspace(1e-2, 0.3, T, dtype=torch.float64)
alpha_bars = torch.cumprod(1 - betas, 0)
before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
tilde = betas * (1 - before) / (1 - alpha_bars)

levels = torch.randint(0, WHITE + 1, SHAPE)
levels[0, 0, 0] = torch.tensor([0, WHITE])
x0 = 2 * levels.double() / WHITE - 1
eps = torch.randn(SHAPE, dtype=torch.float64)
t = torch.tensor(TIMESTEPS)


def normal_cdf(z):
    """Improved DDPM's approximation."""
    return 0.5 * (1 + torch.tanh((2 / math.pi) ** 0.5 * (z + 0.044715 * z**3)))


def at(table):
    return table[t].reshape(-1, 1, 1, 1)


alpha, sigma = at(alpha_bars).sqrt(), (1 - at(alpha_bars)).sqrt()
x_t = alpha * x0 + sigma * eps


def posterior_mean(x0):
    keep = (1 - at(betas)).sqrt() * (1 - at(before)) / (1 - at(alpha_bars))
    return at(before).sqrt() * at(betas) / (1 - at(alpha_bars)) * x0 + keep * x_t


def bound(x0_hat, log_variance):
    """T L_t of each sample, in bits a dimension."""
    p = Normal(posterior_mean(x0_hat), (0.5 * log_variance).exp())
    q_std = torch.where(at(tilde) > 0, at(tilde), tilde[1]).sqrt()
    kl = kl_divergence(Normal(posterior_mean(x0), q_std), p)
    above = torch.where(levels == WHITE, 1.0, normal_cdf((x0 + 1 / WHITE - p.mean) / p.stddev))
    below = torch.where(levels == 0, 0.0, normal_cdf((x0 - 1 / WHITE - p.mean) / p.stddev))
    nats = torch.where((t == 0).reshape(-1, 1, 1, 1), -(above - below).log(), kl)
    return T * nats.flatten(1).mean(1) / math.log(2)


def log_variance(kind, v):
    small = torch.cat([tilde[1:2], tilde[1:]]).log()
    large = torch.cat([tilde[1:2], betas[1:]]).log()
    if kind == "fixed_small":
        return at(small).expand(SHAPE)
    if kind == "fixed_large":
        return at(large).expand(SHAPE)
    part = (v + 1) / 2
    return part * at(betas.log()) + (1 - part) * at(small)


def case(prediction, variance, loss):
    target = {"epsilon": eps, "x0": x0, "v": alpha * eps - sigma * x0}[prediction]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(SHAPE, dtype=torch.float64, generator=generator)
    v = torch.rand(SHAPE, dtype=torch.float64, generator=generator) * 2.4 - 1.2
    parts = [target + 0.1 * noise] + ([v] if variance == "learned_range" else [])
    output = torch.cat(parts, 1).float().double().requires_grad_()
    predicted = output[:, :1]

    def x0_of(predicted):
        return {
            "epsilon": lambda: (x_t - sigma * predicted) / alpha,
            "x0": lambda: predicted,
            "v": lambda: alpha * x_t - sigma * predicted,
        }[prediction]()

    log_var = log_variance(variance, output[:, 1:])
    if loss == "vlb":
        each = bound(x0_of(predicted), log_var)
    else:
        simple = ((predicted - target) ** 2).flatten(1).mean(1)
        each = simple + 0.001 * bound(x0_of(predicted.detach()), log_var)
    each.mean().backward()
    return {
        "prediction": prediction,
        "variance": variance,
        "loss": loss,
        "target": target.flatten().tolist(),
        "output": output.detach().flatten().tolist(),
        "each": each.detach().tolist(),
        "gradient": output.grad.flatten().tolist(),
    }


kinds = [("fixed_small", "vlb"), ("fixed_large", "vlb"), ("learned_range", "vlb"), ("learned_range", "hybrid")]
golden = {
    "timesteps": TIMESTEPS,
    "beta_start": 1e-2,
    "beta_end": 0.3,
    "T": T,
    "white": WHITE,
    "shape": SHAPE,
    "x0": x0.flatten().tolist(),
    "cases": [case(p, v, l) for p in ["epsilon", "x0", "v"] for v, l in kinds],
}
print(json.dumps(golden))
