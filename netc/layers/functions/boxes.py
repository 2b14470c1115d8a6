"""Boxes of SSD: where they start, how they are encoded, how much they overlap, which survive.

A box is four numbers (xmin, ymin, xmax, ymax) in shares of the image; every tensor of boxes ends in an axis of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def prior_boxes(
    x: Tensor,
    sizes: list[tuple[float, float]],
    variances: tuple[float, ...],
    image: tuple[int, ...],
    step: tuple[float, float] | None = None,
    offset: float = 0.5,
    clip: bool = False,
) -> Tensor:
    """Default boxes around each position of x (N, C, H, W), of `sizes` (width, height) in pixels of an image (height,
    width), and their variances: (1, 2, H · W · boxes · 4)."""
    rows, columns = x.shape[2:]
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    step_h, step_w = step or (image[0] / rows, image[1] / columns)
    cy = (torch.arange(rows, dtype=kind, device=x.device) + offset) * step_h
    cx = (torch.arange(columns, dtype=kind, device=x.device) + offset) * step_w
    across, down = torch.tensor(sizes, dtype=kind, device=x.device).t() / 2
    edges = [
        (cx[None, :, None] - across) / image[1],
        (cy[:, None, None] - down) / image[0],
        (cx[None, :, None] + across) / image[1],
        (cy[:, None, None] + down) / image[0],
    ]
    boxes = torch.stack([edge.expand(rows, columns, len(sizes)) for edge in edges], -1).reshape(-1)
    spreads = torch.tensor(variances, dtype=kind, device=x.device).repeat(boxes.numel() // 4)
    return torch.stack([boxes.clamp(0, 1) if clip else boxes, spreads])[None].to(x.dtype)


def decoded_boxes(priors: Tensor, variances: Tensor | None, offsets: Tensor, code: str) -> Tensor:
    """Default boxes moved by what the net says. `variances`: None where they are part of what was learned."""
    moved = offsets if variances is None else offsets * variances
    if code == "corner":
        return priors + moved
    sizes = box_sizes(priors)
    if code == "corner_size":
        return priors + moved * torch.cat([sizes, sizes], -1)
    centre = box_centres(priors) + moved[..., :2] * sizes
    half = moved[..., 2:].exp() * sizes / 2
    return torch.cat([centre - half, centre + half], -1)


def encoded_boxes(priors: Tensor, variances: Tensor, boxes: Tensor, code: str) -> Tensor:
    """The inverse of decoded_boxes: what the net should say so that the default boxes become these."""
    if code == "corner":
        return (boxes - priors) / variances
    sizes = box_sizes(priors)
    if code == "corner_size":
        return (boxes - priors) / torch.cat([sizes, sizes], -1) / variances
    centre = (box_centres(boxes) - box_centres(priors)) / sizes
    return torch.cat([centre, (box_sizes(boxes) / sizes).log()], -1) / variances


def box_sizes(boxes: Tensor) -> Tensor:
    """Width and height."""
    return boxes[..., 2:] - boxes[..., :2]


def box_centres(boxes: Tensor) -> Tensor:
    """The middle, (x, y)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def box_areas(boxes: Tensor) -> Tensor:
    """0 for a box whose edges are the wrong way round."""
    sizes = box_sizes(boxes)
    return torch.where((sizes < 0).any(-1), 0, sizes.prod(-1))


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """(n, 4), (m, 4) → (n, m): intersection over union of each pair."""
    inside = torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])
    shared = inside.clamp(min=0).prod(-1)
    union = box_areas(a)[:, None] + box_areas(b)[None] - shared
    return torch.where(shared > 0, shared / union, 0)


def survivors(boxes: Tensor, threshold: float, eta: float = 1.0, most: int | None = None) -> list[int]:
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
