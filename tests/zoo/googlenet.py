"""GoogLeNet by hand: its forward pass in plain torch, after Szegedy et al. (2014) and BVLC's deploy.prototxt.

Nothing of netc takes part: the weights are protobuf's own parse of the .caffemodel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MEAN = (104.0, 117.0, 123.0)
"""Of the channels blue, green, red."""

Weights = Mapping[str, Sequence[Tensor]]


def weights_of(path: Path) -> Weights:
    """Layer → its blobs, by protobuf; the current format or V1."""
    from netc import proto

    net = proto.NetParameter.FromString(path.read_bytes())
    return {layer.name: [_tensor(blob) for blob in layer.blobs] for layer in (*net.layer, *net.layers)}


def _tensor(blob: Any) -> Tensor:
    old = (blob.num, blob.channels, blob.height, blob.width)
    return torch.tensor(np.array(blob.data, "f4")).reshape(tuple(blob.shape.dim) if blob.HasField("shape") else old)


def pixels(paths: Sequence[Path]) -> Tensor:
    """The photos as (N, 3, H, W), blue first, less the mean."""
    planes = [torch.tensor(np.asarray(Image.open(path).convert("RGB"))).flip(2).permute(2, 0, 1) for path in paths]
    return torch.stack(planes) - torch.tensor(MEAN).view(3, 1, 1)


@torch.no_grad()
def scores(x: Tensor, weights: Weights) -> Tensor:
    """(N, 3, 224, 224) → the logarithms of the probabilities of the 1000 classes."""

    def conv(name: str, x: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
        return F.relu(F.conv2d(x, *weights[name], stride=stride, padding=pad))

    def inception(name: str, x: Tensor) -> Tensor:
        stem = f"inception_{name}"
        return torch.cat(
            [
                conv(f"{stem}/1x1", x),
                conv(f"{stem}/3x3", conv(f"{stem}/3x3_reduce", x), pad=1),
                conv(f"{stem}/5x5", conv(f"{stem}/5x5_reduce", x), pad=2),
                conv(f"{stem}/pool_proj", F.max_pool2d(x, 3, 1, 1)),
            ],
            dim=1,
        )

    def halve(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1)

    x = norm(halve(conv("conv1/7x7_s2", x, stride=2, pad=3)))
    x = halve(norm(conv("conv2/3x3", conv("conv2/3x3_reduce", x), pad=1)))
    x = halve(inception("3b", inception("3a", x)))
    for name in ("4a", "4b", "4c", "4d", "4e"):
        x = inception(name, x)
    x = inception("5b", inception("5a", halve(x)))
    return F.log_softmax(F.linear(x.mean((2, 3)), *weights["loss3/classifier"]), dim=1)
