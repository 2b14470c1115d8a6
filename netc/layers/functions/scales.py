"""Factors and summands that span some axes of a tensor (scale_layer.cpp, bias_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, axes_behind: int) -> Tensor:
    """weight · x (+ bias), both spanning axes of x that `axes_behind` others follow."""
    y = x * spread(weight, axes_behind)
    return y if bias is None else y + spread(bias, axes_behind)


def spread(factor: Tensor, axes_behind: int) -> Tensor:
    """`factor` with axes of size 1 behind it."""
    return factor.view(*factor.shape, *[1] * axes_behind)


class Scale(nn.Module):
    """A learned factor (and summand) for each channel; `axes_behind`: how many axes follow those that it spans."""

    def __init__(self, size: int | tuple[int, ...], axes_behind: int = 2, bias: bool = True) -> None:
        super().__init__()
        self.axes_behind = axes_behind
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.weight, self.bias, self.axes_behind)


class Bias(nn.Module):
    """A learned summand for each channel; `axes_behind`: how many axes follow those that it spans."""

    def __init__(self, size: int | tuple[int, ...], axes_behind: int = 2) -> None:
        super().__init__()
        self.axes_behind = axes_behind
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return x + spread(self.bias, self.axes_behind)
