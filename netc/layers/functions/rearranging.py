"""Values in another order or on another plane, and the marks of sequences."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from netc.layers.functions.losses import class_indices


def reorg(x: Tensor, stride: int, reverse: bool = False) -> Tensor:
    """Blocks of stride x stride positions as channels, in darknet's order; `reverse` makes positions of channels."""
    n, channels, height, width = x.shape
    thin = channels // stride**2
    if reverse:
        spread = x.reshape(n, stride, stride, thin, height, width).permute(0, 3, 4, 1, 5, 2)
        return spread.reshape(n, thin, height * stride, width * stride)
    blocks = x.reshape(n, thin, height, stride, width, stride).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, channels * stride**2, height // stride, width // stride)


def unpool(x: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) → (N, C, *size): each value where a pooling found it (h * width + w), all else 0."""
    flat = x.new_zeros(*x.shape[:2], size[0] * size[1]).scatter(2, positions.detach().flatten(2).long(), x.flatten(2))
    return flat.reshape(*x.shape[:2], *size)


def continuation_marks(steps: int, sequences: int, like: Tensor | None = None) -> Tensor:
    """(steps, sequences): 0 in the first step of each sequence, 1 in all that follow."""
    marks = torch.ones(steps, sequences) if like is None else like.new_ones(steps, sequences)
    return torch.cat([torch.zeros_like(marks[:1]), marks[1:]])


def label_slice(x: Tensor, labels: Tensor, size: int = 1) -> Tensor:
    """(N, classes · size, …) and a label for each sample → (N, size, …): the channels of its class; NaN for a label
    outside the classes."""
    parts = x.reshape(x.shape[0], -1, size, *x.shape[2:])
    index, _, outside = class_indices(labels, parts.flatten(2)[..., 0], 1, None)
    chosen = parts.gather(1, index.view(-1, 1, *[1] * (x.dim() - 1)).expand(-1, 1, *parts.shape[2:])).squeeze(1)
    return chosen if outside is None else chosen.masked_fill(outside.view(-1, *[1] * (x.dim() - 1)), math.nan)
