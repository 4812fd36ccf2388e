"""Writes the golden files beside it, with the tools whose files Sumi must read.

Made with Python 3, torch 2.11.0, NumPy 2.4.6 and safetensors 0.8.0. The values are simple
enough to be spelt out again in the tests:

    linear   0.5 i - 1 for i = 0..6, shape [2, 3]
    turned   the transpose of the same, not contiguous, shape [3, 2]
    tail     the last two of 0..5, a view with an offset into a storage shared with `window`
    window   0..5 read as overlapping pairs with strides (1, 1), shape [3, 2]
"""

import collections
import os

import numpy as np
import safetensors.torch
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(HERE, name)


def tensors():
    linear = torch.arange(6, dtype=torch.float32).reshape(2, 3) * 0.5 - 1
    shared = torch.arange(6, dtype=torch.float32)
    return collections.OrderedDict(
        linear=linear,
        turned=linear.t(),
        half=linear.half(),
        bfloat16=linear.bfloat16(),
        double=linear.double(),
        tail=shared[4:],
        window=shared.as_strided((3, 2), (1, 1)),
        scalar=torch.tensor(7, dtype=torch.int64),
        empty=torch.zeros(0, 4),
        small=torch.tensor([-1, 2], dtype=torch.int8),
        byte=torch.tensor([0, 255], dtype=torch.uint8),
        flag=torch.tensor([True, False]),
        short=torch.tensor([-300], dtype=torch.int16),
        int=torch.tensor([70000], dtype=torch.int32),
    )


def main():
    state = tensors()
    checkpoint = {
        "epoch": 3,
        "lr": 1e-4,
        "note": "plain values are skipped",
        "steps": [1, 2, (3, None)],
        "state_dict": state,
    }
    torch.save(checkpoint, path("checkpoint.pt"))
    torch.save(checkpoint, path("legacy.pth"), _use_new_zipfile_serialization=False)

    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.bias.copy_(torch.tensor([5.0, 6.0]))
    # A state dict carries its version numbers as an attribute; parameters are wrapped once more.
    torch.save(layer.state_dict(), path("linear.bin"))
    torch.save(dict(layer.named_parameters()), path("parameters.bin"), pickle_protocol=4)
    torch.save(torch.nn.Linear(1, 1), path("module.pt"))

    contiguous = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    safetensors.torch.save_file(contiguous, path("tensors.safetensors"), metadata={"format": "pt"})

    pictures = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    labels = np.array([3, -1], dtype=np.int64)
    np.savez(path("pictures.npz"), pictures, labels)
    np.savez_compressed(
        path("compressed.npz"),
        columns=np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        scalar=np.float64(0.5),
        empty=np.zeros((0, 3), dtype=np.float16),
        flags=np.array([True, False]),
    )
    np.save(path("objects.npy"), np.array([{}], dtype=object), allow_pickle=True)
    np.save(path("big_endian.npy"), np.arange(3, dtype=">i4"))


if __name__ == "__main__":
    main()
