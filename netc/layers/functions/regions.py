"""Regions of interest on a feature map: rows (image, x1, y1, x2, y2) in pixels of the image. They have no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from netc.layers.functions.boxes import survivors


def roi_pool(x: Tensor, rois: Tensor, size: tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    """(N, C, H, W), (R, 5) → (R, C, *size): the maximum over each cell of a grid over each region, 0 for an empty one.

    Corners are rounded and belong to the region. The gradient goes to the first maximum, row by row.
    """
    images, corners = region_table(x, rois)
    if not images:
        return x.new_zeros(0, x.shape[1], *size)
    edges = rounded(corners * spatial_scale)
    down = roi_bins(edges[:, 1], edges[:, 3], size[0], x.shape[2])
    across = roi_bins(edges[:, 0], edges[:, 2], size[1], x.shape[3])
    return torch.stack(
        [roi_maxima(x[image], rows, columns) for image, rows, columns in zip(images, down, across, strict=True)]
    )


def region_table(x: Tensor, rois: Tensor) -> tuple[list[int], Tensor]:
    """(the image of each region, its four corners in a type that cells can be computed in)."""
    table = rois.detach().reshape(-1, 5).to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return [int(image) for image in table[:, 0].tolist()], table[:, 1:]


def rounded(x: Tensor) -> Tensor:
    """To the nearest whole number, halves away from zero, as C rounds."""
    return x.sign() * (x.abs() + 0.5).floor()


def roi_bins(begin: Tensor, end: Tensor, cells: int, limit: int) -> list[list[tuple[int, int]]]:
    """Where the cells of each region begin and end on one axis."""
    step = ((end - begin + 1).clamp(min=1) / cells)[:, None]
    place = torch.arange(cells, dtype=begin.dtype, device=begin.device)[None]
    low = ((place * step).floor() + begin[:, None]).clamp(0, limit).long().tolist()
    high = (((place + 1) * step).ceil() + begin[:, None]).clamp(0, limit).long().tolist()
    return [list(zip(a, b, strict=True)) for a, b in zip(low, high, strict=True)]


def roi_maxima(x: Tensor, down: list[tuple[int, int]], across: list[tuple[int, int]]) -> Tensor:
    """(C, H, W) → (C, rows, columns): the largest value of each cell, 0 for an empty one.

    Columns come first, so that of equal values the first of the first row wins, as in a walk row by row.
    """
    empty = x.new_zeros(x.shape[0])
    first, last = min(low for low, _ in down), max(high for _, high in down)
    rows = [x[:, first:last, a:b].max(2).values if a < b and first < last else None for a, b in across]
    cells = [
        [empty if row is None or a >= b else row[:, a - first : b - first].max(1).values for row in rows]
        for a, b in down
    ]
    return torch.stack([torch.stack(line, 1) for line in cells], 1)


def psroi_pool(x: Tensor, rois: Tensor, *, output_dim: int, group_size: int, spatial_scale: float) -> Tensor:
    """(N, output_dim · g², H, W), (R, 5) → (R, output_dim, g, g): the mean over each cell of a grid of g × g over each
    region, of channels that are the cell's own; 0 for an empty one (position-sensitive pooling, R-FCN)."""
    images, corners = region_table(x, rois)
    low, high = rounded(corners[:, :2]) * spatial_scale, (rounded(corners[:, 2:]) + 1) * spatial_scale
    across = cell_weights(low[:, 0], high[:, 0], group_size, x.shape[3]).to(x.dtype)
    down = cell_weights(low[:, 1], high[:, 1], group_size, x.shape[2]).to(x.dtype)
    maps = x.unflatten(1, (output_dim, group_size, group_size))
    y = x.new_zeros(len(images), output_dim, group_size, group_size)
    for n in sorted(set(images)):
        mine = torch.tensor([r for r, image in enumerate(images) if image == n], device=x.device)
        rows = torch.einsum("dijhw,rih->rdijw", maps[n], down[mine])
        y = y.index_copy(0, mine, torch.einsum("rdijw,rjw->rdij", rows, across[mine]))
    return y


def cell_weights(begin: Tensor, end: Tensor, cells: int, limit: int) -> Tensor:
    """(regions, cells, limit): the weight of each position in the mean over each cell of one axis."""
    step = ((end - begin).clamp(min=0.1) / cells)[:, None]
    place = torch.arange(cells, dtype=begin.dtype, device=begin.device)[None]
    low = (place * step + begin[:, None]).floor().clamp(0, limit)
    high = ((place + 1) * step + begin[:, None]).ceil().clamp(0, limit)
    position = torch.arange(limit, dtype=begin.dtype, device=begin.device)
    inside = (position >= low[..., None]) & (position < high[..., None])
    return inside / (high - low).clamp(min=1)[..., None]


@torch.no_grad()
def proposed_regions(
    scores: Tensor,
    offsets: Tensor,
    images: Tensor,
    *,
    anchors: list[tuple[float, float, float, float]],
    stride: int,
    min_size: int,
    most_before: int,
    most: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """Faster R-CNN's regions (R, 5) and their scores (R), best first: the anchors, moved by `offsets`, cut off at the
    edge; below min_size pixels they score 0. Of the most_before best, `most` that overlap by `threshold` or less.

    `images`: (N, 3 or more) of height, width, vertical and horizontal scale.
    """
    found = []
    for n in range(len(scores)):
        height, width, down = (float(value) for value in images[n].flatten()[:3])
        across = float(images[n].flatten()[3]) if images[n].numel() > 3 else down
        boxes = moved_anchors(offsets[n], anchors, stride, height, width)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        large = (sides[:, 0] >= min_size * across) & (sides[:, 1] >= min_size * down)
        score = scores[n, len(anchors) :].permute(1, 2, 0).reshape(-1) * large
        order = score.argsort(descending=True, stable=True)[:most_before]
        ends = boxes[order] + boxes.new_tensor([0, 0, 1, 1])  # a side counts both of its ends
        kept = order[torch.tensor(survivors(ends, threshold, most=most), device=order.device)]
        found.append(torch.cat([boxes.new_full((len(kept), 1), n), boxes[kept], score[kept, None]], 1))
    rows = torch.cat(found)
    return rows[:, :5], rows[:, 5]


def moved_anchors(
    offsets: Tensor, anchors: list[tuple[float, float, float, float]], stride: int, height: float, width: float
) -> Tensor:
    """The anchors of all positions, moved, and cut off at the edge: (H · W · anchors, 4)."""
    rows, columns = offsets.shape[1:]
    y = torch.arange(rows, device=offsets.device)[:, None].expand(rows, columns) * stride
    x = torch.arange(columns, device=offsets.device)[None].expand(rows, columns) * stride
    boxes = offsets.new_tensor(anchors) + torch.stack([x, y, x, y], -1)[:, :, None]
    move = offsets.reshape(len(anchors), 4, rows, columns).permute(2, 3, 0, 1)
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    centre = boxes[..., :2] + sides / 2 + move[..., :2] * sides
    half = move[..., 2:].exp() * sides / 2
    limit = offsets.new_tensor([width - 1, height - 1, width - 1, height - 1])
    return torch.cat([centre - half, centre + half], -1).reshape(-1, 4).clamp(min=0).minimum(limit)


@torch.no_grad()
def hardest_regions(
    rois: Tensor, losses: Tensor, labels: Tensor, weights: Tensor, most: int, ignore: int = -1
) -> tuple[Tensor, Tensor]:
    """Labels and weights, but `ignore` and 0 for all regions except the `most` of each image with the highest losses
    (online hard example mining)."""
    image, size = rois.reshape(len(rois), -1)[:, 0].long(), losses.reshape(-1)
    order = size.argsort(descending=True, stable=True)
    same = image[order][:, None] == image[order][None]
    rank = torch.empty_like(order).scatter(0, order, same.tril(-1).sum(1))  # regions of the image before this one
    kept = rank < most
    chosen = torch.where(kept, labels.reshape(-1), torch.full_like(size, ignore))
    return chosen.view(labels.shape), weights * kept.view(-1, *[1] * (weights.dim() - 1))
