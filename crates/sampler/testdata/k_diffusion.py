"""Makes `k_diffusion.json`: whole sampling loops of k-diffusion with a model that needs no weights.

Made with torch 2.11.0, scipy 1.17.1, numpy and k-diffusion 0.1.1.post1 on the CPU, everything in float64:

    PYTHONPATH=<the folder that holds k_diffusion> python k_diffusion.py

Of k-diffusion only `sampling.py` and `external.py` are loaded; the packages that they import for other purposes
are replaced by empty ones. The model and the start are those of diffusers' scheduler tests on the variance-preserving
state, which k-diffusion divides by alpha. The levels are the linear betas' at timesteps evenly from 999 to 0 (one step:
999), or Karras levels between the same ends. Noise is `torch.randn` in float32 from one CPU generator of seed 0. The two
noises of a step of `dpmpp_sde`, which k-diffusion draws from a Brownian tree over sigma, are made of two draws with the
correlation that the tree gives them.

Of each result every 16th element is kept, and the sum of all, to 10 significant digits.
"""

import importlib.machinery
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

for name in ["torchdiffeq", "torchsde", "tqdm", "tqdm.auto", "k_diffusion.utils"]:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.odeint = module.tqdm = None
    module.trange = lambda n, disable=None: range(n)
    module.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    sys.modules[name] = module
folder = next(Path(p) / "k_diffusion" for p in sys.path[1:] if (Path(p) / "k_diffusion" / "sampling.py").exists())
package = types.ModuleType("k_diffusion")
package.__path__ = [str(folder)]
package.utils = sys.modules["k_diffusion.utils"]
sys.modules["k_diffusion"] = package
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]
from k_diffusion import external, sampling  # noqa: E402

ALPHA_BAR = torch.tensor(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
RATIOS = ((1 - ALPHA_BAR) / ALPHA_BAR) ** 0.5


class Noise:
    """Standard normals in the order in which they are asked for."""

    def __init__(self, like):
        self.shape = like.shape
        self.generator = torch.Generator().manual_seed(0)

    def draw(self):
        return torch.randn(self.shape, generator=self.generator).double()

    def __call__(self, sigma, sigma_next):
        return self.draw()


class BrownianNoise(Noise):
    """The noises of two intervals with one start, as one Brownian path over sigma gives them."""

    first = None

    def __call__(self, sigma, sigma_next):
        if self.first is None:
            self.first = (self.draw(), sigma - sigma_next)
            return self.first[0]
        z, width = self.first
        self.first = None
        part = width / (sigma - sigma_next)
        return part.sqrt() * z + (1 - part).sqrt() * self.draw()


def grid(steps, karras):
    timesteps = np.linspace(0, 999, steps)[::-1] if steps > 1 else np.array([999.0])
    sigmas = torch.tensor(np.interp(timesteps, np.arange(1000), RATIOS.numpy()))
    if karras:
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        high, low = sigmas[0] ** (1 / 7), sigmas[-1] ** (1 / 7)
        sigmas = (high + ramp * (low - high)) ** 7
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])


def loop(function, prediction, steps, karras, **settings):
    class Model(torch.nn.Module):
        def forward(self, x, t):
            return x * (t / (t + 1))[:, None, None, None]

    wrapper = {"epsilon": external.DiscreteEpsDDPMDenoiser, "v": external.DiscreteVDDPMDenoiser}[prediction]
    model = wrapper(Model(), ALPHA_BAR, quantize=False)
    # diffusers' start is (3, 8, 8, 4) permuted to (4, 3, 8, 8).
    x = (torch.arange(768).double() / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2).contiguous()
    sigmas = grid(steps, karras)
    x = x * (1 + sigmas[0] ** 2) ** 0.5
    noise = (BrownianNoise if function == "dpmpp_sde" else Noise)(x)
    if function in ["euler", "heun", "dpm_2"]:
        sampling.torch.randn_like = lambda x: noise.draw()
    elif function not in ["lms"]:
        settings["noise_sampler"] = noise
    x = getattr(sampling, "sample_" + function)(model, x, sigmas, **settings).flatten()
    return [float(f"{value:.10g}") for value in [*x[::16].tolist(), x.sum().item()]]


DETERMINISTIC = {"euler": "euler", "heun": "heun", "dpm2": "dpm_2", "lms": "lms"}
STOCHASTIC = {
    "euler_a": "euler_ancestral",
    "dpm2_a": "dpm_2_ancestral",
    "dpmpp_2s_a": "dpmpp_2s_ancestral",
    "dpmpp_sde": "dpmpp_sde",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_3m_sde": "dpmpp_3m_sde",
}
CHURN = dict(s_churn=4.0, s_tmin=0.3, s_noise=1.007)

golden = {}
for prediction in ["epsilon", "v"]:
    for karras in [False, True]:
        for steps in [1, 5, 10, 25]:
            if steps == 1 and karras:
                continue
            case = f"{prediction} {'karras' if karras else 'linspace'} {steps}"
            for name, function in {**DETERMINISTIC, **STOCHASTIC}.items():
                # k-diffusion fails on a single step of these: it asks for a variable that it has not set.
                if steps == 1 and name in ["dpmpp_2m_sde", "dpmpp_3m_sde"]:
                    continue
                golden[f"{name} {case}"] = loop(function, prediction, steps, karras)
            golden[f"edm {case}"] = loop("heun", prediction, steps, karras, **CHURN)
    for name, function in STOCHASTIC.items():
        for eta in [0, 0.5]:
            golden[f"{name} {prediction} karras 10 eta={eta:g}"] = loop(function, prediction, 10, True, eta=eta)
    for name in ["euler_a", "heun", "dpmpp_2m_sde", "dpmpp_3m_sde"]:
        function = {**DETERMINISTIC, **STOCHASTIC}[name]
        golden[f"{name} {prediction} linspace 1000"] = loop(function, prediction, 1000, False)
lines = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in golden.items()]
Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
