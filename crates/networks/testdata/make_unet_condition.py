"""Writes unet_condition.json: what diffusers' conditional U-Net computes from weights that both sides make.

Versions: diffusers 0.42.1, torch 2.11.0, numpy 2. From the repository's root:
    OMP_NUM_THREADS=1 python3 crates/networks/testdata/make_unet_condition.py

Weights and inputs are `formula.weight` and `formula.uniform` of their names.
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from formula import fnv, tensor, uniform, weight

HERE = Path(__file__).parent

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"

SD1 = dict(
    block_out_channels=[32, 64, 64], norm_num_groups=8, attention_head_dim=4, cross_attention_dim=24,
    down_block_types=[CROSS_DOWN, CROSS_DOWN, DOWN], up_block_types=[UP, CROSS_UP, CROSS_UP], sample_size=8,
)
SD2 = dict(SD1, attention_head_dim=[2, 4, 8], cross_attention_dim=40, use_linear_projection=True, upcast_attention=True)
SDXL = dict(
    SD2, down_block_types=[DOWN, CROSS_DOWN, CROSS_DOWN], up_block_types=[CROSS_UP, CROSS_UP, UP], layers_per_block=1,
    transformer_layers_per_block=[1, 2, 3], addition_embed_type="text_time", addition_time_embed_dim=16,
    projection_class_embeddings_input_dim=108,
)
UPSCALER = dict(
    SD2, in_channels=7, num_class_embeds=20, only_cross_attention=[True, True, False], attention_head_dim=8,
    down_block_types=[DOWN, CROSS_DOWN, CROSS_DOWN], up_block_types=[CROSS_UP, CROSS_UP, UP],
)
DISTILLED = dict(
    SD1, mid_block_type="UNetMidBlock2D", layers_per_block=[1, 2, 1], transformer_layers_per_block=[[2], [1, 0], 1],
    reverse_transformer_layers_per_block=[1, [2, 1, 1], [1, 3]], time_cond_proj_dim=12, time_embedding_dim=48,
    cross_attention_dim=[24, 24, 30],
)
BARE = dict(
    SD1, mid_block_type=None, downsample_padding=0, center_input_sample=True, flip_sin_to_cos=False, freq_shift=1,
    conv_in_kernel=1, conv_out_kernel=5, layers_per_block=1, out_channels=3,
)
MIDDLE = dict(SD1, mid_block_scale_factor=1.5, down_block_types=[DOWN] * 3, up_block_types=[UP] * 3, layers_per_block=1)

# Name, config, [N, h, w], tokens.
CASES = [
    ("sd1", SD1, [2, 8, 8], 7),
    ("sd2", SD2, [2, 8, 8], 77),
    ("sdxl", SDXL, [2, 8, 12], 5),
    ("upscaler", UPSCALER, [2, 8, 8], 6),
    ("odd", SD1, [1, 9, 7], 7),
    ("odd-floor", dict(SD1, downsample_padding=0), [1, 7, 10], 7),
    ("one-pixel", dict(SD1, layers_per_block=1), [3, 1, 2], 1),
    ("distilled", DISTILLED, [2, 4, 8], 3),
    ("bare", BARE, [1, 8, 8], 4),
    ("middle", MIDDLE, [1, 6, 5], 4),
]


def shapes(state):
    return sorted([name, list(value.shape)] for name, value in state.items())


def digest(state):
    """FNV-1a of a line "name [sizes]" a tensor."""
    lines = "".join(f"{name} {shape}\n" for name, shape in shapes(state))
    return f"{fnv(lines):016x}"


def run(config, size, tokens, whole):
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**config).eval()
    state = unet.state_dict()
    unet.load_state_dict({name: weight(name, list(value.shape)) for name, value in state.items()})
    n, h, w = size
    x = tensor(uniform("x", [n, unet.config.in_channels, h, w]))
    # Its width is that of the levels that attend: the first.
    width = config["cross_attention_dim"]
    width = width[0] if isinstance(width, list) else width
    context = tensor(uniform("context", [n, tokens, width]))
    timesteps = [981, 3, 500][:n]
    given, extra = {}, {}
    if unet.config.num_class_embeds:
        extra["classes"] = [19, 0][:n]
        given["class_labels"] = torch.tensor(extra["classes"])
    if unet.config.addition_embed_type:
        ids = [[1024, 768, 0, 0, 1024, 1024], [512, 512, 8, 16, 1024, 960]][:n]
        extra["time_ids"] = ids
        text = tensor(uniform("text_embeds", [n, 12]))
        given["added_cond_kwargs"] = {"text_embeds": text, "time_ids": torch.tensor(ids)}
    if unet.config.time_cond_proj_dim:
        given["timestep_cond"] = tensor(uniform("guidance", [n, unet.config.time_cond_proj_dim]))
    with torch.no_grad():
        y = unet(x, torch.tensor(timesteps), encoder_hidden_states=context, **given).sample
    assert y.shape[2:] == x.shape[2:] and y.isfinite().all()
    return dict(
        config=config, size=size, context=[tokens, width], timesteps=timesteps, extra=extra,
        tensors=shapes(state) if whole else len(state), digest=digest(state),
        output=[float(f"{v:.7g}") for v in y.flatten().tolist()],
    )


def published(path):
    with torch.device("meta"):
        state = UNet2DConditionModel(**json.loads(path.read_text())).state_dict()
    parameters = sum(value.numel() for value in state.values())
    return dict(name=path.stem, parameters=parameters, tensors=len(state), digest=digest(state))


def main():
    cases = [dict(name=name, **run(*case, name in ("sd1", "sdxl"))) for name, *case in CASES]
    configs = [published(path) for path in sorted((HERE / "configs").glob("unet-*.json"))]
    lines = lambda items: ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
    text = f'{{"cases":[\n{lines(cases)}\n],\n"published":[\n{lines(configs)}\n]}}\n'
    (HERE / "unet_condition.json").write_text(text)


if __name__ == "__main__":
    main()
