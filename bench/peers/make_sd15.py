"""Writes a Stable Diffusion 1.5 pipeline of full size with random weights: 859,520,964 + 83,653,863 + 123,060,480 parameters.

    python make_sd15.py OUT BPE

OUT becomes a diffusers folder of 4.3 GB in f32; BPE is `bpe_simple_vocab_16e6.txt.gz` of the package openai-clip 1.0.1. The weights are
PyTorch's fresh ones, with which the networks pass numbers of a usual size: time and memory are those of the published weights, pictures are
noise.
"""

import gzip
import json
import sys
from pathlib import Path

import diffusers as d
import torch
import transformers as t

CONFIGS = Path(__file__).parent / "../../crates/networks/testdata/configs"


def config(name):
    values = json.loads((CONFIGS / name).read_text())
    return {key: value for key, value in values.items() if not key.startswith("_")}


def tokenizer(folder, bpe):
    lines = gzip.open(bpe, "rt", encoding="utf-8").read().split("\n")[1 : 49152 - 256 - 2 + 1]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    vocab = letters + [letter + "</w>" for letter in letters] + ["".join(line.split()) for line in lines]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return t.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def main():
    out, bpe = Path(sys.argv[1]), sys.argv[2]
    torch.manual_seed(0)
    scheduler = d.PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1
    )
    d.StableDiffusionPipeline(
        unet=d.UNet2DConditionModel(**config("unet-sd-1.5.json")),
        vae=d.AutoencoderKL(**config("vae.json")),
        text_encoder=t.CLIPTextModel(t.CLIPTextConfig(**config("clip-l.json"))),
        tokenizer=tokenizer(out / "tokenizer", bpe),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)


if __name__ == "__main__":
    main()
