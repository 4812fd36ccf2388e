"""Makes extractors.json: what FID's Inception-v3 and EfficientNet-Lite0 compute, with weights by formula.

Made with torch 2.11.0, torchvision 0.26.0, pytorch-fid 0.3.0 and efficientnet_lite_pytorch 0.1.0 on the CPU:

    OMP_NUM_THREADS=1 python make_extractors.py

For either network its class, how many trainable parameters it has, the names and shapes of its state dict, and for two
pictures by formula the features and logits; of the maps every channel of a pixel a third of the way down and across.
Weights are `formula.weight` of their names; a picture is squares of 32 pixels with noise, both `formula.uniform`.
"""

import json
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception as fid

from formula import tensor, uniform, weight

HERE = Path(__file__).parent


def fill(model):
    state = model.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(weight(name, value.shape))
    return {name: list(value.shape) for name, value in state.items()}


def rounded(tensor):
    return [float(f"{x:.6g}") for x in tensor.detach().flatten().tolist()]


def pixel(map):
    return rounded(map[:, :, map.shape[2] // 3, map.shape[3] // 3])


def picture(name, count, size):
    squares = uniform(name + ".squares", [count, 3, -(-size // 32), -(-size // 32)])
    squares = squares.repeat(32, 2).repeat(32, 3)[:, :, :size, :size]
    return tensor(0.75 * squares + 0.25 * uniform(name + ".noise", [count, 3, size, size]))


def fid_inception():
    """`pytorch_fid.inception.fid_inception_v3`, which fetches weights, without them."""
    held = {}
    fid.load_state_dict_from_url = lambda *_, **__: held["model"].state_dict()
    plain = fid._inception_v3

    def remember(**arguments):
        held["model"] = plain(**arguments)
        return held["model"]

    fid._inception_v3 = remember
    return fid.fid_inception_v3()


def inception(size=299):
    name = "inception"
    model = fid_inception().eval()
    shapes = fill(model)
    fid.fid_inception_v3 = lambda: model
    blocks = fid.InceptionV3([0, 1, 2, 3], resize_input=False, normalize_input=False).eval()
    last = []
    model.Mixed_7c.register_forward_hook(lambda module, inputs, output: last.append(output))
    x = picture(name, 2, size)
    *maps, features = blocks(x)
    features = features[:, :, 0, 0]
    outputs = dict(
        features=rounded(features),
        logits=rounded(model.fc(features)),
        logits_unbiased=rounded(features @ model.fc.weight.T),
        maps=[pixel(map) for map in [*maps, last[-1]]],
    )
    return name, model, shapes, x, outputs


def efficientnet(size=224):
    name = "efficientnet-lite0"
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    shapes = fill(model)
    maps = []
    for index in [0, 2, 4, 10, 15]:
        model._blocks[index].register_forward_hook(lambda module, inputs, output: maps.append(pixel(output)))
    x = picture(name, 2, size)
    features = model.extract_features(x).mean([2, 3])
    outputs = dict(features=rounded(features), logits=rounded(model._fc(features)), maps=maps)
    torch.testing.assert_close(model._fc(features), model(x))
    return name, model, shapes, x, outputs


@torch.no_grad()
def main():
    cases = []
    for make in [inception, efficientnet]:
        name, model, shapes, x, outputs = make()
        outputs["maps"] = outputs["maps"][:5]
        parameters = sum(parameter.numel() for parameter in model.parameters())
        cases.append(dict(name=name, cls=type(model).__name__, parameters=parameters, shapes=shapes,
                          picture=list(x.shape), outputs=outputs))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "extractors.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
