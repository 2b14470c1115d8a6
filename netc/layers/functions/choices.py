"""Larger and largest values, with Caffe's ties (eltwise_layer.cpp, argmax_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor


def larger(first: Tensor, second: Tensor, *others: Tensor) -> Tensor:
    """The larger of two values, the second of equal ones; a further one has to be greater."""
    y = first.where(first > second, second)
    for other in others:
        y = other.where(other > y, y)
    return y


def argmax(x: Tensor, top_k: int = 1, dim: int | None = None, values: bool = False) -> Tensor:
    """The positions of the top_k largest scores, of equal ones the later first; without `dim` of a whole sample, and
    with `values` followed by the scores themselves (with `dim` and `values`: the scores only). No gradient."""
    axis = 1 if dim is None else dim
    scores = x.flatten(1) if dim is None else x
    # a stable sort of the reversed scores puts the later of equals first
    best, order = scores.detach().flip(axis).sort(dim=axis, descending=True, stable=True)
    best = best.narrow(axis, 0, top_k)
    places = (scores.shape[axis] - 1 - order.narrow(axis, 0, top_k)).to(x.dtype)
    if dim is not None:
        return best if values else places
    planes = torch.stack([places, best] if values else [places], dim=1)
    return planes.view(*planes.shape, *[1] * (x.dim() - 3))
