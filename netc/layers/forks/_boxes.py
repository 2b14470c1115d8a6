"""Boxes of SSD: how they are encoded, how much they overlap, which survive. Imported by `forward` only.

A box is four numbers (xmin, ymin, xmax, ymax) in shares of the image; every tensor of boxes ends in an axis of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

CORNER, CENTER_SIZE, CORNER_SIZE = 1, 2, 3


def decode(priors: Tensor, variances: Tensor, offsets: Tensor, code: int) -> Tensor:
    """Default boxes moved by what the net says. `variances`: 1 where they are part of what was learned."""
    moved = offsets * variances
    if code == CORNER:
        return priors + moved
    sizes = _sizes(priors)
    if code == CORNER_SIZE:
        return priors + moved * torch.cat([sizes, sizes], -1)
    centre = _centres(priors) + moved[..., :2] * sizes
    half = moved[..., 2:].exp() * sizes / 2
    return torch.cat([centre - half, centre + half], -1)


def encode(priors: Tensor, variances: Tensor, boxes: Tensor, code: int) -> Tensor:
    """The inverse of `decode`: what the net should say so that the default boxes become these."""
    if code == CORNER:
        return (boxes - priors) / variances
    sizes = _sizes(priors)
    if code == CORNER_SIZE:
        return (boxes - priors) / torch.cat([sizes, sizes], -1) / variances
    centre = (_centres(boxes) - _centres(priors)) / sizes
    return torch.cat([centre, (_sizes(boxes) / sizes).log()], -1) / variances


def _sizes(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def areas(boxes: Tensor) -> Tensor:
    """0 for a box whose edges are the wrong way round."""
    sizes = _sizes(boxes)
    return torch.where((sizes < 0).any(-1), 0, sizes.prod(-1))


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """(n, 4), (m, 4) → (n, m): intersection over union of each pair."""
    inside = torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])
    shared = inside.clamp(min=0).prod(-1)
    union = areas(a)[:, None] + areas(b)[None] - shared
    return torch.where(shared > 0, shared / union, 0)


def suppress(boxes: Tensor, threshold: float, eta: float = 1.0, most: int | None = None) -> list[int]:
    """Non-maximum suppression of boxes in falling order of their scores: the places of those that are kept, `most` of
    them at most.

    With eta below 1 the threshold falls by this factor with each box that is kept, as long as it is above 0.5.
    """
    boxes = boxes.cpu()
    kept: list[int] = []
    for place in range(len(boxes)):
        if len(kept) == most:
            break
        if kept and bool((overlaps(boxes[place : place + 1], boxes[kept]) > threshold).any()):
            continue
        kept.append(place)
        if eta < 1 and threshold > 0.5:
            threshold *= eta
    return kept


def nothing_found(images: int, like: Tensor) -> Tensor:
    """What a detection layer gives where it finds nothing at all: a row for each image, its number and six times -1."""
    rows = like.new_full((images, 7), -1)
    rows[:, 0] = torch.arange(images)
    return rows[None, None]
