"""Makes encoders.json: what small text encoders and autoencoders compute, with weights by formula.

Made with torch 2.11.0, transformers 5.23.0 and diffusers 0.42.1 on the CPU:

    OMP_NUM_THREADS=1 python make_encoders.py

For every model its class, config, the names and shapes of its parameters, and for its inputs its outputs. Weights and
inputs are `formula.weight` and `formula.uniform` of their names.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel
from transformers import CLIPTextModelWithProjection
from transformers import T5Config, T5EncoderModel

from formula import tensor, uniform, weight

HERE = Path(__file__).parent


def fill(model, prefix=""):
    shapes = {}
    for name, parameter in model.named_parameters():
        # CLIP's one scalar is a list of one in Rust.
        shapes[prefix + name] = list(parameter.shape) or [1]
        parameter.copy_(weight(prefix + name, parameter.shape))
    return shapes


def rounded(tensor):
    return [float(f"{x:.7g}") for x in tensor.detach().flatten().tolist()]


def ids(name, rows, length, vocabulary):
    """Below vocabulary - 2, which leaves room for an end token."""
    u = uniform(name, [rows, length])
    return torch.tensor((u + 1) / 2 * (vocabulary - 2)).long()


def clip(name, cls, **changes):
    config = dict(vocab_size=99, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                  max_position_embeddings=11, projection_dim=20, eos_token_id=98, hidden_act="quick_gelu")
    config.update(changes)
    model = cls(CLIPTextConfig(**config)).eval()
    # transformers 5 has no `text_model.` in CLIPTextModel; published files do.
    prefix = "" if hasattr(model, "text_model") else "text_model."
    shapes = fill(model, prefix)
    tokens = ids(name, 2, 11, 99)
    tokens[0, 6:], tokens[1, 3] = 98, 98
    if config["eos_token_id"] == 2:
        tokens[1, 2] = 2
    output = model(tokens, output_hidden_states=True)
    text_model = getattr(model, "text_model", model)
    outputs = dict(
        hidden_states=[rounded(state) for state in output.hidden_states],
        last_hidden_state=rounded(output.last_hidden_state),
        pooled=rounded(text_model(tokens).pooler_output),
    )
    if prefix == "":
        outputs["text_embeds"] = rounded(output.text_embeds)
    return dict(name=name, cls=cls.__name__, config=config, shapes=shapes, ids=tokens.tolist(), outputs=outputs)


def clip_both(name, vision, **changes):
    text = dict(vocab_size=99, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                max_position_embeddings=11, eos_token_id=98, hidden_act="quick_gelu")
    text.update(changes)
    vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                  hidden_act=text["hidden_act"], **vision)
    config = dict(projection_dim=20, text_config=text, vision_config=vision)
    model = CLIPModel(CLIPConfig(**config)).eval()
    shapes = fill(model)
    tokens = ids(name, 3, 11, 99)
    tokens[0, 6:], tokens[1, 3], tokens[2, 10] = 98, 98, 98
    pixels = [2, 3, vision["image_size"], vision["image_size"]]
    x = tensor(2 * uniform(name + ".pixels", pixels))
    state = model.vision_model(x)
    outputs = dict(
        last_hidden_state=rounded(state.last_hidden_state),
        pooled=rounded(state.pooler_output),
        image_embeds=rounded(model.get_image_features(x).pooler_output),
        text_embeds=rounded(model.get_text_features(tokens).pooler_output),
        logits_per_image=rounded(model(tokens, x).logits_per_image),
    )
    return dict(name=name, cls="CLIPModel", config=config, shapes=shapes, ids=tokens.tolist(), pixels=pixels,
                outputs=outputs)


def masked(tokens, lengths):
    mask = torch.zeros_like(tokens)
    for row, length in zip(mask, lengths):
        row[:length] = 1
    return mask


def bert(name, lengths=None):
    config = dict(vocab_size=99, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                  max_position_embeddings=16, type_vocab_size=2, hidden_act="gelu")
    model = BertModel(BertConfig(**config)).eval()
    shapes = fill(model)
    tokens = ids(name, 2, 9, 99)
    mask = masked(tokens, lengths) if lengths else None
    output = model(tokens, attention_mask=mask)
    outputs = dict(last_hidden_state=rounded(output.last_hidden_state), pooled=rounded(output.pooler_output))
    mask = mask.bool().tolist() if lengths else None
    return dict(name=name, cls="BertModel", config=config, shapes=shapes, ids=tokens.tolist(), mask=mask, outputs=outputs)


def t5(name, lengths=None, **changes):
    # More positions than the largest distance, so that every kind of bucket is met.
    config = dict(vocab_size=99, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=3,
                  relative_attention_num_buckets=8, relative_attention_max_distance=12)
    config.update(changes)
    model = T5EncoderModel(T5Config(**config)).eval()
    shapes = fill(model)
    tokens = ids(name, 2, 20, 99)
    mask = masked(tokens, lengths) if lengths else None
    output = model(tokens, attention_mask=mask)
    outputs = dict(last_hidden_state=rounded(output.last_hidden_state))
    mask = mask.bool().tolist() if lengths else None
    return dict(name=name, cls="T5EncoderModel", config=config, shapes=shapes, ids=tokens.tolist(), mask=mask,
                outputs=outputs)


def vae(name, size, **changes):
    config = dict(
        block_out_channels=[8, 16],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )
    config.update(changes)
    model = AutoencoderKL(**config).eval()
    shapes = fill(model)
    picture = [2, model.config.in_channels, *size]
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    latent = [2, config["latent_channels"], size[0] // factor, size[1] // factor]
    x = tensor(uniform(name + ".picture", picture))
    z = tensor(2 * uniform(name + ".latent", latent))
    posterior = model.encode(x).latent_dist
    outputs = dict(mean=rounded(posterior.mean), std=rounded(posterior.std), decoded=rounded(model.decode(z).sample))
    return dict(name=name, cls="AutoencoderKL", config=config, shapes=shapes, picture=picture, latent=latent,
                outputs=outputs)


@torch.no_grad()
def main():
    cases = [
        clip("clip", CLIPTextModel),
        clip("clip-legacy", CLIPTextModel, eos_token_id=2, hidden_act="gelu"),
        clip("clip-projection", CLIPTextModelWithProjection, hidden_act="gelu"),
        # Three columns and rows of pixels are beyond the last whole patch.
        clip_both("clip-both", dict(image_size=19, patch_size=4)),
        clip_both("clip-both-gelu", dict(image_size=16, patch_size=8), hidden_act="gelu", eos_token_id=2),
        bert("bert"),
        bert("bert-masked", lengths=[9, 4]),
        t5("t5", lengths=[20, 7]),
        t5("t5-gated", feed_forward_proj="gated-gelu"),
        vae("vae", (8, 12)),
        vae("vae-4", (24, 16), block_out_channels=[8, 8, 16, 16], down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=2),
        vae("vae-plain", (8, 12), use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False,
            latent_channels=16),
    ]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "encoders.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
