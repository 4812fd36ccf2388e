"""LoRAs made by PEFT and diffusers for a tiny U-Net and text encoder, and what diffusers computes with them.

Made with torch 2.11.0, diffusers 0.42.1, transformers 5.23.0, peft 0.21.2:

    OMP_NUM_THREADS=1 python make_lora.py

Every file is loaded as a user would, by `load_lora_weights` and `set_adapters`. Kohya's files come from
`convert_state_dict_to_kohya`, with the alphas that kohya's trainer would write; its block names of the SGM
code are checked against the conversion that diffusers makes for SDXL.
"""

import json
import pathlib
import shutil
import warnings

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = pathlib.Path(__file__).parent
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
EVERYTHING = ATTENTION + [
    "conv_in", "conv_out", "conv1", "conv2", "conv_shortcut", "time_emb_proj", "linear_1", "linear_2",
    "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "downsamplers.0.conv", "upsamplers.0.conv",
]
UNET = dict(
    sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=2,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=12, attention_head_dim=2, norm_num_groups=4,
)
TEXT_CONFIG = dict(
    vocab_size=40, hidden_size=12, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=8, bos_token_id=38, eos_token_id=39, pad_token_id=39,
)


def networks():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET).eval()
    text = CLIPTextModel(CLIPTextConfig(**TEXT_CONFIG)).eval()
    return unet, text


def pipeline():
    unet, text = networks()
    return StableDiffusionPipeline(
        vae=None, text_encoder=text, tokenizer=None, unet=unet, scheduler=DDIMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )


def learned(network, seed, **config):
    """A LoRA whose both factors, and whose magnitudes, are away from where they start."""
    network.add_adapter(LoraConfig(init_lora_weights=False, **config))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "lora_magnitude" in name:
            parameter.data *= 1 + 0.3 * torch.randn(parameter.shape, generator=generator)
        elif "lora_" in name:
            parameter.data = 0.15 * torch.randn(parameter.shape, generator=generator)
    return get_peft_model_state_dict(network)


def pair(seed, unet_config, text_config=None):
    """Both networks' LoRAs, their configurations, and the networks themselves as they were learned."""
    unet, text = networks()
    layers = {"unet": learned(unet, seed, **unet_config)}
    configs = {"unet": unet.peft_config["default"].to_dict()}
    if text_config:
        layers["text_encoder"] = learned(text, seed + 1, **text_config)
        configs["text_encoder"] = text.peft_config["default"].to_dict()
    return layers, configs, StableDiffusionPipeline(
        vae=None, text_encoder=text, tokenizer=None, unet=unet, scheduler=DDIMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )


def flat(layers):
    return {f"{part}.{key}": value.contiguous() for part, tensors in layers.items() for key, value in tensors.items()}


def save_peft(name, layers, configs):
    folder = HERE / "tmp"
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=layers["unet"], text_encoder_lora_layers=layers.get("text_encoder"),
        unet_lora_adapter_metadata=configs["unet"], text_encoder_lora_adapter_metadata=configs.get("text_encoder"),
    )
    shutil.move(folder / "pytorch_lora_weights.safetensors", HERE / f"{name}.safetensors")
    folder.rmdir()


def kohya(layers, alpha):
    tensors = convert_state_dict_to_kohya(flat(layers))
    return {key: torch.tensor(float(alpha)) if key.endswith(".alpha") else value for key, value in tensors.items()}


def sgm(tensors, unet):
    """Kohya's names with the blocks numbered as the SGM code does; diffusers' way back is the check."""
    count = UNET["layers_per_block"] + 1
    renamed = {}
    for key, value in tensors.items():
        words = key.removeprefix("lora_unet_").split("_")
        if key.startswith("lora_unet_down_blocks_"):
            level, kind, layer = int(words[2]), words[3], int(words[4])
            place = 1 + level * count + (layer if kind != "downsamplers" else count - 1)
            inner = {"resnets": "0", "attentions": "1", "downsamplers": "0_op"}[kind]
            rest = words[5:] if kind != "downsamplers" else words[5:]
            block = f"input_blocks_{place}_{inner}"
        elif key.startswith("lora_unet_up_blocks_"):
            level, kind, layer = int(words[2]), words[3], int(words[4])
            place = level * count + (layer if kind != "upsamplers" else count - 1)
            # Only the first level doubles here, and it has no attention.
            inner = {"resnets": "0", "attentions": "1", "upsamplers": "1"}[kind]
            block, rest = f"output_blocks_{place}_{inner}", words[5:]
        elif key.startswith("lora_unet_mid_block_"):
            place = {("resnets", "0"): 0, ("attentions", "0"): 1, ("resnets", "1"): 2}[words[2], words[3]]
            block, rest = f"middle_block_{place}", words[4:]
        else:
            renamed[key] = value
            continue
        rest = "_".join(rest)
        if "_op" in block:
            rest = rest.removeprefix("conv")
        for ours, theirs in [("conv1", "in_layers_2"), ("conv2", "out_layers_3"),
                             ("time_emb_proj", "emb_layers_1"), ("conv_shortcut", "skip_connection")]:
            if rest.startswith(ours):
                rest = theirs + rest.removeprefix(ours)
        separator = "" if rest.startswith(".") else "_"
        renamed[f"lora_unet_{block}{separator}{rest}"] = value
    back, _ = StableDiffusionXLPipeline.lora_state_dict(dict(renamed), unet_config=unet.config)
    plain, _ = StableDiffusionPipeline.lora_state_dict(dict(tensors))
    attention = {key for key in plain if "attentions" in key}
    assert attention <= set(back), sorted(attention - set(back))[:5]
    assert all(torch.equal(back[key], plain[key]) for key in attention)
    return renamed


def attn_procs(layers):
    """diffusers' first names; the scale is not in them."""
    renamed = {}
    for key, value in layers["unet"].items():
        name = key.replace(".lora_A.", ".down.").replace(".lora_B.", ".up.")
        for projection in ["to_q", "to_k", "to_v"]:
            name = name.replace(f".{projection}.", f".processor.{projection}_lora.")
        renamed[name.replace(".to_out.0.", ".processor.to_out_lora.")] = value.contiguous()
    return renamed


def old_text(layers):
    renamed = {}
    for key, value in layers["text_encoder"].items():
        # The paths that transformers had then.
        name = "text_model." + key.replace(".lora_A.", ".lora_linear_layer.down.")
        renamed[name.replace(".lora_B.", ".lora_linear_layer.up.")] = value.contiguous()
    return renamed


def outputs(pipe, inputs):
    ids = inputs["input_ids"]
    with torch.no_grad():
        text = pipe.text_encoder(ids).last_hidden_state
        unet = pipe.unet(inputs["x"], 321, encoder_hidden_states=inputs["text"]).sample
    return {"unet": unet.contiguous(), "text": text.contiguous()}


def computed(files, weights, inputs, goldens, name):
    pipe = pipeline()
    names = []
    for index, file in enumerate(files):
        state = file if isinstance(file, dict) else str(HERE / file)
        pipe.load_lora_weights(state, adapter_name=f"a{index}")
        names.append(f"a{index}")
    pipe.set_adapters(names, weights)
    for part, value in outputs(pipe, inputs).items():
        goldens[f"{name}.{part}"] = value


def main():
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(5)
    inputs = {
        "x": torch.randn(1, 4, 8, 8, generator=generator),
        "text": torch.randn(1, 5, 12, generator=generator),
        "input_ids": torch.tensor([[38, 3, 17, 5, 39]]),
    }
    goldens = dict(inputs)
    unet, text = networks()
    save_file({key: value.contiguous() for key, value in unet.state_dict().items()}, HERE / "unet.safetensors")
    # The names that the published checkpoints have.
    state = {f"text_model.{key}": value.contiguous() for key, value in text.state_dict().items()}
    save_file(state, HERE / "text_encoder.safetensors")
    (HERE / "unet.json").write_text(json.dumps(UNET))
    (HERE / "text_encoder.json").write_text(json.dumps(TEXT_CONFIG))
    for part, value in outputs(pipeline(), inputs).items():
        goldens[f"none.{part}"] = value

    def case(name, files, weights, learner=None):
        computed(files, weights, inputs, goldens, name)
        for part, value in outputs(learner, inputs).items() if learner else []:
            if (part, name) == ("text", "dora"):
                # transformers 5.23 does not find these magnitudes and starts with fresh ones.
                goldens["dora.text"] = value
            assert torch.allclose(goldens[f"{name}.{part}"], value, atol=1e-5), (name, part)

    # Linear layers of attention and of the text encoder, alpha not the rank.
    layers, configs, learner = pair(1, dict(r=4, lora_alpha=8, target_modules=ATTENTION),
                           dict(r=3, lora_alpha=2, target_modules=TEXT))
    save_peft("peft", layers, configs)
    case("peft", ["peft.safetensors"], [1.0], learner)
    case("peft_weighted", ["peft.safetensors"], [0.6])

    # Every kind of layer, ranks and alphas of their own.
    layers, configs, learner = pair(3, dict(
        r=2, lora_alpha=3, target_modules=EVERYTHING, rank_pattern={"conv1": 3, "attn2.to_k": 1},
        alpha_pattern={"conv1": 1.5, "^conv_in": 4.0, "ff.net.2": 0.5}))
    save_peft("patterns", layers, configs)
    case("patterns", ["patterns.safetensors"], [1.0], learner)

    layers, configs, learner = pair(5, dict(r=4, lora_alpha=6, target_modules=ATTENTION, use_rslora=True))
    save_peft("rslora", layers, configs)
    case("rslora", ["rslora.safetensors"], [1.0], learner)

    # DoRA.
    layers, configs, learner = pair(7, dict(r=2, lora_alpha=4, target_modules=EVERYTHING, use_dora=True),
                           dict(r=2, lora_alpha=2, target_modules=TEXT, use_dora=True))
    save_peft("dora", layers, configs)
    case("dora", ["dora.safetensors"], [1.0], learner)
    case("dora_weighted", ["dora.safetensors"], [0.5])

    # Kohya, with and without convolutions, in both block namings.
    layers, _, learner = pair(9, dict(r=4, lora_alpha=4, target_modules=ATTENTION + ["proj_in", "ff.net.0.proj"]),
                     dict(r=4, lora_alpha=4, target_modules=TEXT))
    tensors = kohya(layers, 1)
    save_file(tensors, HERE / "kohya.safetensors", metadata={"ss_network_dim": "4", "ss_network_alpha": "1"})
    case("kohya", ["kohya.safetensors"], [1.0])
    save_file(sgm(tensors, unet), HERE / "kohya_sgm.safetensors")
    layers, _, learner = pair(11, dict(r=2, lora_alpha=2, target_modules=EVERYTHING))
    tensors = kohya(layers, 3)
    save_file(tensors, HERE / "locon.safetensors")
    case("locon", ["locon.safetensors"], [1.0])
    save_file(sgm(tensors, unet), HERE / "locon_sgm.safetensors")

    # diffusers' own names, without a scale.
    layers, _, learner = pair(13, dict(r=4, lora_alpha=4, target_modules=ATTENTION),
                     dict(r=4, lora_alpha=4, target_modules=TEXT))
    procs = attn_procs(layers)
    torch.save(procs, HERE / "attn_procs.bin")
    case("attn_procs", [{f"unet.{key}": value for key, value in procs.items()}], [0.8])
    both = {f"unet.{key.replace('.lora_A.', '.lora.down.').replace('.lora_B.', '.lora.up.')}": value
            for key, value in layers["unet"].items()}
    both |= {f"text_encoder.{key}": value for key, value in old_text(layers).items()}
    save_file(both, HERE / "diffusers.safetensors")
    case("diffusers", ["diffusers.safetensors"], [1.0])

    # Several at once: the order matters where one has magnitudes.
    case("two", ["peft.safetensors", "kohya.safetensors"], [0.7, -0.4])
    case("plain_then_dora", ["locon.safetensors", "dora.safetensors"], [0.9, 0.8])
    case("dora_then_plain", ["dora.safetensors", "locon.safetensors"], [0.8, 0.9])

    # PEFT's own folder.
    network = get_peft_model(networks()[0], LoraConfig(
        r=2, lora_alpha=5, target_modules=ATTENTION, init_lora_weights=False, alpha_pattern={"to_q": 1}))
    network.save_pretrained(HERE / "peft_folder")
    (HERE / "peft_folder" / "README.md").unlink(missing_ok=True)
    with torch.no_grad():
        goldens["peft_folder.unet"] = network.eval()(inputs["x"], 321, encoder_hidden_states=inputs["text"]).sample
    goldens["peft_folder.text"] = goldens["none.text"].clone()

    for name in ["dora_weighted", "plain_then_dora", "dora_then_plain"]:
        del goldens[f"{name}.text"]
    for name, value in goldens.items():
        if name.endswith(".unet") and name != "none.unet":
            assert (value - goldens["none.unet"]).abs().max() > 1e-2, name
    save_file({key: value.contiguous() for key, value in goldens.items()}, HERE / "goldens.safetensors")


main()
