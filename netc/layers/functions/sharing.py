"""A parameter that layers share under different shapes (share_mode: PERMISSIVE)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Reshaped:
    """A module that finds its own parameters under other shapes: those of the layer that shares them."""

    def __init__(self, module: nn.Module, **shapes: tuple[int, ...]) -> None:
        self.module = module
        self.seen = {name: getattr(module, name).view(shape) for name, shape in shapes.items()}

    def __getattr__(self, name: str) -> Any:
        return self.seen[name]

    def __call__(self, *arguments: Tensor) -> Any:
        return torch.func.functional_call(self.module, self.seen, arguments)
