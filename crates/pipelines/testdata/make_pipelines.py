"""Makes the tiny pipelines beside this file, and what diffusers draws with them.

Made with torch 2.11.0, diffusers 0.42.1, transformers 5.23.0 and peft on the CPU:

    python make_pipelines.py BPE

BPE is `bpe_simple_vocab_16e6.txt.gz` of the package openai-clip 1.0.1, from which the small vocabularies take their first merges.

Every folder is what `save_pretrained` writes, weights random: `sd1` (f32, PNDM), `sd2` (v-prediction, linear projections, bf16, DDIM),
`sdxl` (two encoders, only .fp16. variant files, Euler), `inpaint` (nine channels, .bin files) and `taiyi` (a `BertModel` with a Chinese
vocabulary). `cases.json` in each lists the runs, and `expected.safetensors` holds for every one of them, under `NAME/`, the tensors that
`sumi generate --tensors` writes.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

import diffusers as d
import numpy as np
import torch
import transformers as t
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent
SCALED = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, num_train_timesteps=1000)
PROMPT = "a red fox, reading a book in the snow"
NEGATIVE = "blurry, low quality"
CHINESE = ["粉色的蝴蝶,小精灵,卡通", "可爱的狗,小精灵,卡通", "漂亮的猫,小精灵,卡通"]

# Sumi's name of each sampler, its class and what a user would set.
SAMPLERS = {
    "ddpm": (d.DDPMScheduler, {}),
    "ddim": (d.DDIMScheduler, {}),
    "pndm": (d.PNDMScheduler, {"skip_prk_steps": True}),
    "euler": (d.EulerDiscreteScheduler, {}),
    "euler_a": (d.EulerAncestralDiscreteScheduler, {}),
    "heun": (d.HeunDiscreteScheduler, {}),
    "dpm2": (d.KDPM2DiscreteScheduler, {}),
    "dpm2_a": (d.KDPM2AncestralDiscreteScheduler, {}),
    "lms": (d.LMSDiscreteScheduler, {}),
    "dpm_solver_2": (d.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "solver_order": 2, "final_sigmas_type": "sigma_min"}),
    "dpmpp_2m": (d.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (d.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": (d.UniPCMultistepScheduler, {}),
    "deis": (d.DEISMultistepScheduler, {}),
    "lcm": (d.LCMScheduler, {}),
    "tcd": (d.TCDScheduler, {}),
}
KARRAS = "euler heun dpm2 dpmpp_2m unipc".split()


def tame(module, seed, gain=1.0):
    """Weights that depend on the seed alone, small enough for a walk that is not chaotic, exact in half precision."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                fan_in = parameter[0].numel() if "embedding" not in name else 1
                parameter.copy_(gain * noise * fan_in**-0.5)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.05 * noise)
            else:
                parameter.copy_(0.05 * noise)
            parameter.copy_(parameter.bfloat16().float())
            # Both half precisions hold a number of eight bits whose exponent is not extreme.
            parameter.copy_(parameter.half().float())
    return module.eval()


def clip_tokenizer(folder, bpe, merges=744, pad="<|endoftext|>"):
    lines = gzip.open(bpe, "rt", encoding="utf-8").read().split("\n")[1 : merges + 1]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    vocab = letters + [letter + "</w>" for letter in letters] + ["".join(line.split()) for line in lines]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = t.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad, model_max_length=77)
    shutil.rmtree(folder)
    return tokenizer


def clip_text(vocab, seed, width=32, layers=3, act="quick_gelu", projection=None):
    config = t.CLIPTextConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=4,
        hidden_act=act, projection_dim=projection or width, bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1,
    )
    return tame((t.CLIPTextModelWithProjection if projection else t.CLIPTextModel)(config), seed)


def vae(seed):
    return tame(
        d.AutoencoderKL(
            block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=32,
        ),
        seed,
    )


def unet(seed, **changes):
    config = dict(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=2,
    )
    return tame(d.UNet2DConditionModel(**{**config, **changes}), seed, gain=0.7)


def sd(folder, text_encoder, tokenizer, net, scheduler, cls=d.StableDiffusionPipeline, **saving):
    pipe = cls(
        vae=vae(1), text_encoder=text_encoder, tokenizer=tokenizer, unet=net, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )
    return saved(pipe, folder, **saving)


def saved(pipe, folder, dtype=torch.float32, **saving):
    """Writes the folder and reads it back, as a user would."""
    shutil.rmtree(folder, ignore_errors=True)
    pipe.to(dtype)
    pipe.save_pretrained(folder, **saving)
    if folder.name == "sd1":
        # As in the published folders of Stable Diffusion 1, though their scheduler has no such setting.
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "clip_sample": False}, indent=2) + "\n")
    reading = {k: v for k, v in saving.items() if k == "variant"}
    pipe = type(pipe).from_pretrained(folder, torch_dtype=torch.float32, **reading)
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Runs:
    """Collects runs of one pipeline."""

    def __init__(self, folder, pipe):
        self.folder, self.pipe, self.cases, self.tensors, self.runners = folder, pipe, [], {}, {}
        self.base = type(pipe.scheduler).from_config(pipe.scheduler.config)

    @torch.no_grad()
    def run(self, name, prompt=PROMPT, negative=None, seeds=(7,), sampler=None, karras=False, steps=4, guidance=7.5, eta=None,
            size=None, init=None, mask=None, strength=None, clip_skip=None, image=False, loras=(), tolerance=1e-3):
        pipe = self.pipe
        scheduler_class, changes = SAMPLERS[sampler] if sampler else (type(self.base), {})
        if karras:
            changes = {**changes, "use_karras_sigmas": True}
        if sampler == "ddim" and eta is None:
            eta = 0.0
        kind = type(pipe)
        if mask:
            kind = d.StableDiffusionXLInpaintPipeline if "XL" in kind.__name__ else d.StableDiffusionInpaintPipeline
        elif init:
            kind = d.StableDiffusionXLImg2ImgPipeline if "XL" in kind.__name__ else d.StableDiffusionImg2ImgPipeline
        # Making a pipeline changes its scheduler's settings; giving one another scheduler does not.
        if kind not in self.runners:
            parts = {**pipe.components, "scheduler": type(self.base).from_config(self.base.config)}
            self.runners[kind] = kind(**parts, **({} if "XL" in kind.__name__ else {"requires_safety_checker": False}))
        runner = self.runners[kind]
        runner.scheduler = scheduler_class.from_config(self.base.config, **changes)
        runner.set_progress_bar_config(disable=True)
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        more = {}
        if eta is not None:
            more["eta"] = eta
        if clip_skip is not None:
            more["clip_skip"] = clip_skip
        width, height = size or (32, 32)
        if init:
            more["image"] = Image.open(HERE / init).convert("RGB")
            more["strength"] = 0.8 if strength is None else strength
        if mask:
            more["mask_image"] = Image.open(HERE / mask).convert("L")
            more["strength"] = 1.0 if strength is None else strength
        if not init or mask:
            more.update(width=width, height=height)
        captured = {}
        # diffusers 0.42.1 looks for the final normalisation where transformers 5 no longer has it.
        if not hasattr(pipe.text_encoder, "text_model"):
            object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
        encode = type(runner).encode_prompt

        def spy(*args, **kwargs):
            captured["embeds"] = encode(runner, *args, **kwargs)
            return captured["embeds"]

        runner.encode_prompt = spy
        # One at a time: diffusers encodes the picture of a whole batch with the first generator.
        singles = []
        for generator in generators:
            runner.scheduler = scheduler_class.from_config(self.base.config, **changes)
            more["generator"] = generator
            singles.append(runner(
                prompt, negative_prompt=negative, num_inference_steps=steps, guidance_scale=guidance, output_type="latent", **more,
            ).images)
        out = torch.cat(singles)
        found = {"latents": out}
        if image or clip_skip is not None or negative or guidance <= 1 and sampler is None or prompt != PROMPT and not loras:
            found["prompt_embeds"] = captured["embeds"][0][:1]
            if guidance > 1:
                found["negative_prompt_embeds"] = captured["embeds"][1][:1]
        if not init and sampler is None:
            shape = (1, 4, height // 2, width // 2)
            found["initial_latents"] = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        if image:
            found["image"] = pipe.vae.decode(out / pipe.vae.config.scaling_factor).sample
        for key, value in found.items():
            self.tensors[f"{name}/{key}"] = value.contiguous().clone()
        self.cases.append(
            {k: v for k, v in dict(
                name=name, prompt=prompt, negative=negative, seed=seeds[0], count=len(seeds), sampler=sampler, karras=karras, steps=steps,
                guidance=guidance, eta=eta, size=size, init=init, mask=mask, strength=strength, clip_skip=clip_skip, loras=list(loras),
                tolerance=tolerance,
            ).items() if v is not None}
        )
        print(f"{self.folder.name} {name}: latents {out.abs().max():.3f}")

    def every_sampler(self):
        for sampler in SAMPLERS:
            for karras in [False] + ([True] if sampler in KARRAS else []):
                self.run(f"{sampler}{'-karras' if karras else ''}", sampler=sampler, karras=karras, steps=7)
                self.run(f"{sampler}{'-karras' if karras else ''}-unguided", sampler=sampler, karras=karras, steps=7, guidance=1.0)

    def write(self):
        (self.folder / "cases.json").write_text(json.dumps(self.cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        save_file(self.tensors, self.folder / "expected.safetensors")


def pictures():
    y, x = np.mgrid[0:48, 0:40] / 40.0
    rgb = np.stack([x, y / 1.2, 0.5 + 0.5 * np.sin(9 * x + 5 * y)], -1)
    Image.fromarray((255 * rgb).astype(np.uint8)).resize((32, 32)).save(HERE / "init.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[6:22, 9:30] = 255
    Image.fromarray(mask).save(HERE / "mask.png")
    # The same as the pipelines see them.
    init = np.asarray(Image.open(HERE / "init.png"), np.float32).transpose(2, 0, 1) / 255 * 2 - 1
    save_file({"init": torch.from_numpy(init.copy()), "mask": torch.from_numpy(mask / np.float32(255))}, HERE / "inputs.safetensors")


def sd1(bpe):
    tokenizer = clip_tokenizer(HERE / "vocab", bpe)
    scheduler = d.PNDMScheduler(**SCALED, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    pipe = sd(HERE / "sd1", clip_text(len(tokenizer), 2), tokenizer, unet(3), scheduler)
    runs = Runs(HERE / "sd1", pipe)
    runs.run("own", image=True, negative=NEGATIVE, steps=10)
    runs.run("batch", seeds=(7, 8, 9), image=True)
    runs.every_sampler()
    runs.run("ddim-eta", sampler="ddim", eta=1.0, steps=10)
    runs.run("ddpm-batch", sampler="ddpm", seeds=(3, 4), steps=10)
    runs.run("wide", size=(40, 24), image=True)
    runs.run("odd", size=(24, 40), sampler="euler", steps=5)
    runs.run("clip-skip", clip_skip=1)
    runs.run("long", prompt=" ".join(["a very long prompt about foxes and snow"] * 20))
    for sampler in SAMPLERS:
        if sampler == "lms":
            continue  # diffusers takes its first step with the weights of the fourth order, for values that it does not have
        runs.run(f"img2img-{sampler}", sampler=sampler, init="init.png", strength=0.6, steps=8, image=sampler == "ddim")
    runs.run("img2img-own", init="init.png", steps=6, seeds=(1, 2))
    runs.run("img2img-last-step", init="init.png", steps=10, strength=0.1)
    runs.run("img2img-one-left-out", init="init.png", steps=5)
    runs.run("inpaint-one-left-out", init="init.png", mask="mask.png", steps=6, strength=0.99)
    for sampler in ("pndm", "ddim", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"):
        runs.run(f"inpaint-{sampler}", sampler=sampler, init="init.png", mask="mask.png", steps=6)
        runs.run(f"inpaint-{sampler}-strength", sampler=sampler, init="init.png", mask="mask.png", steps=8, strength=0.5)
    runs.write()


def sd2(bpe):
    tokenizer = clip_tokenizer(HERE / "vocab", bpe, pad="!")
    scheduler = d.DDIMScheduler(**SCALED, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    net = unet(5, use_linear_projection=True, attention_head_dim=[2, 4], cross_attention_dim=32)
    pipe = sd(HERE / "sd2", clip_text(len(tokenizer), 4, act="gelu"), tokenizer, net, scheduler, dtype=torch.bfloat16)
    runs = Runs(HERE / "sd2", pipe)
    runs.run("own", image=True, negative=NEGATIVE, steps=10)
    runs.every_sampler()
    runs.run("ddim-eta", sampler="ddim", eta=1.0, steps=10)
    runs.run("img2img", init="init.png", strength=0.5, steps=10)
    runs.write()


def sdxl(bpe):
    first = clip_tokenizer(HERE / "vocab", bpe)
    second = clip_tokenizer(HERE / "vocab", bpe, pad="!")
    net = unet(
        8, use_linear_projection=True, attention_head_dim=[2, 4], cross_attention_dim=64, transformer_layers_per_block=[1, 2],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    scheduler = d.EulerDiscreteScheduler(**SCALED, steps_offset=1, timestep_spacing="leading")
    pipe = d.StableDiffusionXLPipeline(
        vae=vae(1), text_encoder=clip_text(len(first), 6), text_encoder_2=clip_text(len(second), 7, act="gelu", projection=32),
        tokenizer=first, tokenizer_2=second, unet=net, scheduler=scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False,
    )
    pipe = saved(pipe, HERE / "sdxl", dtype=torch.float16, variant="fp16")
    runs = Runs(HERE / "sdxl", pipe)
    runs.run("own", image=True, steps=8)
    runs.run("negative", negative=NEGATIVE, steps=5)
    runs.run("size", size=(48, 32), steps=5)
    runs.run("unguided", guidance=1.0, steps=5)
    runs.run("img2img", init="init.png", strength=0.5, steps=8)
    for sampler in ("ddim", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "unipc"):
        runs.run(sampler, sampler=sampler, negative=NEGATIVE, steps=6)
    runs.run("dpmpp_2m-karras", sampler="dpmpp_2m", karras=True, steps=6)
    runs.write()


def inpaint(bpe):
    tokenizer = clip_tokenizer(HERE / "vocab", bpe)
    scheduler = d.DDIMScheduler(**SCALED, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipe = sd(
        HERE / "inpaint", clip_text(len(tokenizer), 2), tokenizer, unet(9, in_channels=9), scheduler, d.StableDiffusionInpaintPipeline,
        safe_serialization=False,
    )
    runs = Runs(HERE / "inpaint", pipe)
    runs.run("own", init="init.png", mask="mask.png", image=True, steps=6)
    runs.run("strength", init="init.png", mask="mask.png", strength=0.6, steps=8)
    runs.run("batch", init="init.png", mask="mask.png", steps=4, seeds=(5, 6))
    runs.run("euler_a", sampler="euler_a", init="init.png", mask="mask.png", steps=5)
    runs.run("dpmpp_2m", sampler="dpmpp_2m", init="init.png", mask="mask.png", strength=0.7, steps=7)
    runs.write()


def taiyi():
    letters = sorted(set("".join(CHINESE)) - {","})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ","] + letters + ["fox", "a", "##x"]
    folder = HERE / "vocab"
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    tokenizer = t.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512)
    shutil.rmtree(folder)
    config = t.BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, max_position_embeddings=512
    )
    scheduler = d.PNDMScheduler(**SCALED, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    pipe = sd(HERE / "taiyi", tame(t.BertModel(config), 10), tokenizer, unet(11), scheduler)
    runs = Runs(HERE / "taiyi", pipe)
    for i, prompt in enumerate(CHINESE):
        runs.run(f"plain-{i}", prompt=prompt, steps=50)
    # The LoRA as old training scripts saved it: one pair of matrices for each projection, without an alpha.
    generator = torch.Generator().manual_seed(12)
    lora = {}
    for name, module in pipe.unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            for at in ("to_q", "to_k", "to_v", "to_out"):
                linear = module.to_out[0] if at == "to_out" else getattr(module, at)
                down = torch.randn((4, linear.in_features), generator=generator) / 4
                up = torch.randn((linear.out_features, 4), generator=generator) / 4
                lora[f"unet.{name}.processor.{at}_lora.down.weight"] = down
                lora[f"unet.{name}.processor.{at}_lora.up.weight"] = up
    save_file(lora, HERE / "taiyi" / "attn_procs.safetensors")
    pipe.load_lora_weights(HERE / "taiyi", weight_name="attn_procs.safetensors")
    for i, prompt in enumerate(CHINESE):
        runs.run(f"lora-{i}", prompt=prompt, steps=50, loras=["attn_procs.safetensors"], image=i == 0)
    pipe.unload_lora_weights()
    runs.write()


def main():
    bpe = sys.argv[1]
    torch.set_num_threads(1)
    pictures()
    sd1(bpe)
    sd2(bpe)
    sdxl(bpe)
    inpaint(bpe)
    taiyi()


if __name__ == "__main__":
    main()
