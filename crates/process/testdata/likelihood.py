"""Makes `likelihood.json`: divergences, bins and values of the normal distribution, by scipy.

Made with numpy 2 and scipy 1.17.1:

    python likelihood.py

The divergences are integrals of `q log(q / p)` and not the closed form. A bin has its probability twice: `exact` by
scipy's normal distribution, and `approximate` by Page's hyperbolic tangent with the edges and the clamp at 1e-12 that
the code of Improved DDPM has. The greatest error of that tangent on a fine grid is asserted here: 1.9e-4.
"""

import json
from pathlib import Path

import numpy as np
from scipy import integrate, stats


def kl(mean_q, std_q, mean_p, std_p):
    q, p = stats.norm(mean_q, std_q), stats.norm(mean_p, std_p)
    reach = (mean_q - 14 * std_q, mean_q + 14 * std_q)
    return integrate.quad(
        lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), *reach, epsabs=1e-13, epsrel=1e-12, points=[mean_q], limit=500
    )[0]


def page(x):
    return 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def bin_probability(cdf, x, mean, std, levels):
    half = 1 / (levels - 1)
    high, low = cdf((x + half - mean) / std), cdf((x - half - mean) / std)
    if x < -0.999:
        low = 0.0
    if x > 0.999:
        high = 1.0
    return max(high - low, 1e-12)


fine = np.linspace(-9, 9, 1_000_001)
worst = float(np.abs(page(fine) - stats.norm.cdf(fine)).max())
assert 1.5e-4 < worst < 1.9e-4, worst

golden = {"kl": [], "bins": [], "cdf": []}
for mean_q, std_q, mean_p, std_p in [
    (0, 1, 0, 2), (0, 2, 0, 1), (0.3, 0.5, -0.2, 0.7), (1, 0.01, 0.99, 0.011), (-2, 3, 4, 5), (0.5, 0.1, 0.5, 0.1),
    (0.1, 0.1, 0.1, 0.1001), (0, 0.02, 0.05, 0.01),
]:
    golden["kl"].append(dict(mean_q=mean_q, std_q=std_q, mean_p=mean_p, std_p=std_p, kl=kl(mean_q, std_q, mean_p, std_p)))
for levels in (2, 17, 256):
    for value in (0, levels // 2, levels - 1):
        for mean, std in ((0.1, 0.3), (-0.9, 0.05), (0.0, 0.01), (1.2, 0.5)):
            x = 2 * value / (levels - 1) - 1
            case = dict(x=x, mean=mean, std=std, levels=levels)
            exact, approximate = (float(np.log(bin_probability(f, **case))) for f in (stats.norm.cdf, page))
            golden["bins"].append(case | dict(exact=exact, approximate=approximate))
for x in np.linspace(-4, 4, 33):
    golden["cdf"].append(dict(x=float(x), exact=float(stats.norm.cdf(x))))

Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
