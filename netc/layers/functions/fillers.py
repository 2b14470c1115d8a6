"""Caffe's fillers that torch has none for (filler.hpp). Each fills a tensor in place, and gives it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def sparse_normal_(
    tensor: Tensor, std: float, kept: int, mean: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Normal numbers, of which as many are left as make `kept` inputs of an output on average; 0 else."""
    tensor.normal_(mean, std, generator=generator)
    return tensor.mul_(torch.empty_like(tensor).uniform_(generator=generator) < kept / tensor.shape[0])


@torch.no_grad()
def positive_unitball_(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Positive numbers, those of each output adding up to 1."""
    rows = tensor.uniform_(generator=generator).view(tensor.shape[0] if tensor.dim() else 1, -1)
    rows.div_(rows.sum(dim=1, keepdim=True))
    return tensor


@torch.no_grad()
def bilinear_(tensor: Tensor) -> Tensor:
    """A kernel that enlarges by bilinear interpolation: (1 - |x/f - c|)(1 - |y/f - c|) with f = ceil(size / 2) and
    c = (size - 1) / 2f."""
    size = tensor.shape[3]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2 * factor)
    line = 1 - (torch.arange(size, dtype=torch.float64) / factor - centre).abs()
    return tensor.copy_(torch.outer(line, line).to(tensor.dtype).expand_as(tensor))
