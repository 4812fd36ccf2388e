"""Which tensor of a single file is which tensor of a diffusers folder, as diffusers 0.42.1 reads it.

    OMP_NUM_THREADS=1 python make_checkpoints.py SUMI > checkpoints.json

Makes tiny pipelines of each family with diffusers and transformers 5.23.0 (torch 2.11), has SUMI, the
command, convert them to single files, has diffusers' `from_single_file` read those back, holds every value
against the pipeline's own, and writes the pairs of names that this has proved, with their shapes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
OWN = dict(set_alpha_to_one=False)


def text(width, act, projection=None):
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1, vocab_size=40,
        hidden_act=act, projection_dim=projection or width, bos_token_id=0, eos_token_id=2,
        max_position_embeddings=5,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def unet(attention, inputs=4, **more):
    down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention]
    up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)]
    return UNet2DConditionModel(
        in_channels=inputs, out_channels=4, layers_per_block=1, sample_size=8, block_out_channels=(8, 16),
        norm_num_groups=8, down_block_types=down, up_block_types=up, **more,
    )


def vae(scale):
    return AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=["DownEncoderBlock2D"] * 2, norm_num_groups=8,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, layers_per_block=1, scaling_factor=scale,
    )


LINEAR = dict(use_linear_projection=True, attention_head_dim=(1, 1))
FAMILIES = {
    "sd1": (StableDiffusionPipeline, unet([True, False], cross_attention_dim=8, attention_head_dim=8),
            vae(0.18215), [text(8, "quick_gelu")], PNDMScheduler(skip_prk_steps=True, **OWN, **BETAS)),
    "inpainting": (StableDiffusionInpaintPipeline,
                   unet([True, False], 9, cross_attention_dim=8, attention_head_dim=8),
                   vae(0.18215), [text(8, "quick_gelu")], PNDMScheduler(skip_prk_steps=True, **OWN, **BETAS)),
    "sd2": (StableDiffusionPipeline, unet([True, False], cross_attention_dim=8, **LINEAR), vae(0.18215),
            [text(8, "gelu")], DDIMScheduler(clip_sample=False, prediction_type="v_prediction", **OWN, **BETAS)),
    "sdxl": (StableDiffusionXLPipeline,
             unet([False, True], cross_attention_dim=20, transformer_layers_per_block=(1, 2),
                  addition_embed_type="text_time", addition_time_embed_dim=4,
                  projection_class_embeddings_input_dim=6 * 4 + 12, **LINEAR),
             vae(0.13025), [text(8, "quick_gelu"), text(12, "gelu", 12)],
             EulerDiscreteScheduler(timestep_spacing="leading", **BETAS)),
}


def randomise(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.eval()


def write(folder, cls, unet, vae, texts, scheduler):
    parts = {"unet": unet, "vae": vae, "scheduler": scheduler}
    parts |= {f"text_encoder{'' if i == 0 else '_2'}": model for i, model in enumerate(texts)}
    index = {"_class_name": cls.__name__, "_diffusers_version": "0.42.1"}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            randomise(part)
        part.save_pretrained(folder / name)
        library = "transformers" if name.startswith("text") else "diffusers"
        index[name] = [library, type(part).__name__]
    for i in range(len(texts)):
        name = f"tokenizer{'' if i == 0 else '_2'}"
        index[name] = ["transformers", "CLIPTokenizer"]
        (folder / name).mkdir()
        vocabulary = {token: i for i, token in enumerate(["a", "b</w>", "<|startoftext|>", "<|endoftext|>"])}
        (folder / name / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / name / "merges.txt").write_text("#version: 0.2\n")
    if cls is not StableDiffusionXLPipeline:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return {name: part.state_dict() for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def source(tensor, single):
    """The tensor of the single file, and what became of it."""
    flat = tensor.flatten()
    for name, its in single.items():
        if its.numel() == flat.numel() and torch.equal(its.flatten(), flat):
            return [name, "same"]
        if its.dim() == 2 and its.shape == tensor.shape[::-1] and torch.equal(its.T, tensor):
            return [name, "transposed"]
        if its.numel() == 3 * flat.numel():
            for third, rows in enumerate(its.chunk(3)):
                if torch.equal(rows.flatten(), flat):
                    return [name, f"third {third}"]
    raise SystemExit("a tensor of the folder is not in the single file")


def main():
    found = {}
    for family, (cls, *parts) in FAMILIES.items():
        with tempfile.TemporaryDirectory() as place:
            folder, file = Path(place) / "folder", Path(place) / "single.safetensors"
            folder.mkdir()
            torch.manual_seed(0)
            own = write(folder, cls, *parts)
            subprocess.run([sys.argv[1], "convert", folder, file], check=True)
            read = cls.from_single_file(file, config=str(folder), local_files_only=True)
            single = load_file(file)
            tensors = {}
            for part, state in own.items():
                theirs = getattr(read, part).state_dict()
                assert theirs.keys() == state.keys(), part
                assert all(torch.equal(theirs[name], state[name]) for name in state), part
                # transformers 5 leaves out the name that older versions begin with.
                front = "text_model." if part == "text_encoder" else ""
                tensors[part] = {
                    front + name: [*source(tensor, single), list(tensor.shape)] for name, tensor in state.items()
                }
            found[family] = {
                "class": cls.__name__,
                "single": {name: list(tensor.shape) for name, tensor in single.items()},
                "folder": tensors,
            }
    for family in found.values():
        for tensors in family["folder"].values():
            for name, (its, change, shape) in tensors.items():
                plain = change == "same" and shape == family["single"][its]
                tensors[name] = [its] if plain else [its, change, shape]
    # Its names are those of sd1; the proof above is all that is wanted of it.
    del found["inpainting"]
    text = json.dumps(found, separators=(",", ":"))
    print(text.replace('],"', '],\n"').replace('{"', '{\n"'))


main()
