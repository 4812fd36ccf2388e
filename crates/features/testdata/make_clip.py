"""Makes clip/, clip-old.bin and clip.json: a small CLIPModel with its processor, and what it makes of pictures and texts.

Made with torch 2.11.0, transformers 5.23.0, tokenizers and Pillow 13.0.0 on the CPU:

    OMP_NUM_THREADS=1 python make_clip.py

Weights are `formula.weight` of their names, rounded to 16 bits as they are saved; pictures are `formula.uniform` of
their names, as bytes. clip-old.bin is the same state dict with the counters that transformers saved before 4.31. Pictures
are prepared with Pillow (`CLIPImageProcessorPil`): torchvision's resize of bytes, which transformers 5 takes where it is
installed, rounds otherwise.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../networks/testdata"))
from formula import uniform, weight  # noqa: E402

MERGES = ["p h", "t o</w>", "o to</w>", "ph oto</w>", "c a", "ca t</w>", "o f</w>", "r e", "re d</w>"]
SIZES = [(37, 52), (61, 33), (30, 30), (15, 90), (200, 20)]
TEXTS = ["a photo of a cat", "Photo of a red CAT, naïve 🐱", "", "cat " * 90, "red"]


def tokenizer():
    # GPT-2's visible stand-ins for bytes.
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    merged = ["".join(merge.split()) for merge in MERGES]
    tokens = letters + [letter + "</w>" for letter in letters] + merged + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge.split()) for merge in MERGES]
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token="<|endoftext|>", model_max_length=77)


def model(vocab):
    text = dict(vocab_size=vocab, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1)
    vision = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=30,
                  patch_size=7)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    for name, parameter in model.named_parameters():
        parameter.copy_(weight(name, parameter.shape).half().float())
    # Pictures and texts would otherwise differ in the last digits only.
    model.vision_model.embeddings.patch_embedding.weight.mul_(8)
    return model


def rounded(tensor):
    return [float(f"{x:.8g}") for x in tensor.detach().flatten().tolist()]


def picture(size):
    h, w = size
    return Image.fromarray(np.floor((uniform(f"clip-{h}x{w}", [h, w, 3]) + 1) * 128).astype(np.uint8))


@torch.no_grad()
def main():
    words = tokenizer()
    clip = model(len(words))
    processor = CLIPProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 30, "width": 30}), words)
    shutil.rmtree(HERE / "clip", ignore_errors=True)
    clip.half().save_pretrained(HERE / "clip")
    processor.save_pretrained(HERE / "clip")
    old = dict(clip.state_dict())
    old["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    old["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(old, HERE / "clip-old.bin")
    clip.float()
    print(sorted(path.name for path in (HERE / "clip").iterdir()))

    pictures = [picture(size) for size in SIZES]
    inputs = processor(text=TEXTS, images=pictures, return_tensors="pt", padding=True, truncation=True)
    outputs = clip(**inputs)
    out = dict(
        sizes=SIZES,
        texts=TEXTS,
        ids=inputs["input_ids"].tolist(),
        # Of the second picture, every seventh number.
        pixel_values=rounded(inputs["pixel_values"][1].flatten()[::7]),
        means=rounded(inputs["pixel_values"].double().mean([1, 2, 3])),
        image_embeds=rounded(clip.get_image_features(inputs["pixel_values"]).pooler_output),
        text_embeds=rounded(clip.get_text_features(inputs["input_ids"], inputs["attention_mask"]).pooler_output),
        image_unit=rounded(outputs.image_embeds),
        logits_per_image=rounded(outputs.logits_per_image),
    )
    (HERE / "clip.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
