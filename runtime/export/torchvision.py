"""A VGG for torchvision: the file, and the same modules built here to prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from netc.files.sink import sink
from netc.weights import Array, loaded
from netc.weights.card import CARD, Card
from netc.weights.formats.safetensors import write_safetensors
from netc.weights.formats.torchvision import POOL, Vgg


def write_state(path: Path, vgg: Vgg, card: Card) -> None:
    """A state dict by torch.save, or as safetensors where the name ends so. Raises OSError."""
    if path.suffix == ".safetensors":
        card.layers = {}  # its keys are torchvision's
        with path.open("wb") as file:
            write_safetensors(file, vgg.state, None, {"format": "pt", CARD: card.to_json()})
        return
    with sink(path) as file:
        torch.save({key: tensor_of(array) for key, array in vgg.state.items()}, file)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in such a file."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return state


def module_of(vgg: Vgg, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """torchvision's VGG of these widths, in its own modules' order, with the state loaded."""
    with torch.device("meta"):  # no memory, no random numbers: the state brings the values
        module = _vgg(vgg.widths, vgg.sizes, channels=int(vgg.state["features.0.weight"].shape[1]))
    module.load_state_dict(dict(state), strict=True, assign=True)
    return module.eval()


def _vgg(widths: Sequence[int], sizes: Sequence[int], channels: int) -> nn.Module:
    features: list[nn.Module] = []
    for width in widths:
        if width == POOL:
            features.append(nn.MaxPool2d(2, 2))
        else:
            features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    a, b, c = sizes
    full = [nn.Linear(channels * 49, a), nn.ReLU(), nn.Dropout(), nn.Linear(a, b), nn.ReLU(), nn.Dropout()]
    module = nn.Sequential()
    module.add_module("features", nn.Sequential(*features))
    module.add_module("avgpool", nn.AdaptiveAvgPool2d((7, 7)))
    module.add_module("flatten", nn.Flatten())
    module.add_module("classifier", nn.Sequential(*full, nn.Linear(b, c)))
    return module


def tensor_of(array: Array) -> torch.Tensor:
    """A copy of an array in memory, as a tensor."""
    return torch.from_numpy(loaded(array, array.dtype.newbyteorder("=").str))
