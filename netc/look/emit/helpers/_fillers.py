"""Caffe's fillers that torch has none for. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sparse_normal_(tensor: Tensor, std: float, kept: int, mean: float = 0.0) -> None:
    """Normal numbers, of which as many are left as make `kept` inputs of an output on average; 0 else."""
    nn.init.normal_(tensor, mean, std)
    with torch.no_grad():
        tensor.mul_(torch.rand_like(tensor) < kept / tensor.shape[0])


def positive_unitball_(tensor: Tensor) -> None:
    """Positive numbers, those of each output adding up to 1."""
    with torch.no_grad():
        rows = tensor.uniform_().view(tensor.shape[0], -1)
        rows.div_(rows.sum(dim=1, keepdim=True))


def bilinear_(tensor: Tensor) -> None:
    """A kernel that enlarges by bilinear interpolation."""
    size = tensor.shape[3]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2 * factor)
    line = 1 - (torch.arange(size, dtype=torch.float64) / factor - centre).abs()
    with torch.no_grad():
        tensor.copy_(torch.outer(line, line).to(tensor.dtype).expand_as(tensor))
