"""Which share of the positions a net gets right. No gradient goes through any of it."""

from __future__ import annotations

from torch import Tensor

from netc.layers.functions.losses import class_indices


def accuracy(scores: Tensor, labels: Tensor, top_k: int = 1, dim: int = 1, ignore: int | None = None) -> Tensor:
    """The share of positions whose class is among the top_k scores; a tie counts against it, and so does NaN."""
    right, counted, _ = hits(scores, labels, top_k, dim, ignore)
    return share_of(right.sum(), counted.sum(), scores)


def accuracy_with_classes(
    scores: Tensor, labels: Tensor, top_k: int = 1, dim: int = 1, ignore: int | None = None
) -> tuple[Tensor, Tensor]:
    """(accuracy, the same for each class, 0 for one that does not occur)."""
    right, counted, index = hits(scores, labels, top_k, dim, ignore)
    zeros = index.new_zeros(scores.shape[dim])
    found, there = (zeros.scatter_add(0, index.flatten(), mask.flatten().long()) for mask in (right, counted))
    return share_of(right.sum(), counted.sum(), scores), share_of(found, there, scores)


def hits(scores: Tensor, labels: Tensor, top_k: int, dim: int, ignore: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """(which positions are right, which count, their classes). A label outside the classes is not right."""
    index, counted, outside = class_indices(labels, scores, dim, ignore)
    not_below = ~(scores < scores.gather(dim, index))
    right = not_below.sum(dim, keepdim=True) <= top_k
    right = right if outside is None else right & ~outside
    counted = right.new_ones(right.shape) if counted is None else counted
    return right & counted, counted, index


def share_of(part: Tensor, whole: Tensor, like: Tensor) -> Tensor:
    """part / whole, 0 where there is nothing, in the type of `like`."""
    return part.to(like.dtype) / whole.clamp(min=1).to(like.dtype)
