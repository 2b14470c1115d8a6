"""Layers of Caffe's forks. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """x divided by its length over the channels of each position, or of the whole image, times a learned scale."""

    def __init__(self, channels: int | None = None, eps: float = 1e-10, across_spatial: bool = True) -> None:
        super().__init__()
        self.eps, self.across_spatial = eps, across_spatial
        self.weight = nn.Parameter(torch.ones(() if channels is None else (channels,)))

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, x.dim())) if self.across_spatial else (1,)
        norm = (x.square().sum(axes, keepdim=True) + self.eps).sqrt()
        return x / norm * self.weight.reshape(-1, *[1] * (x.dim() - 2))


class BN(nn.Module):
    """Batch normalisation with its own scale and shift. `statistics`: "batch" always the batch's own, "running" the
    kept ones, "by mode" the batch's after `train()` and the kept ones after `eval()`, "none" scale and shift alone."""

    def __init__(
        self,
        shape: tuple[int, ...],
        eps: float,
        names: tuple[str, str] = ("scale", "shift"),
        dim: int = 1,
        momentum: float | None = None,
        statistics: str = "batch",
    ) -> None:
        super().__init__()
        self.eps, self.names, self.dim, self.momentum, self.statistics = eps, names, dim, momentum, statistics
        self.register_parameter(names[0], nn.Parameter(torch.ones(shape)))
        self.register_parameter(names[1], nn.Parameter(torch.zeros(shape)))
        if momentum is not None:
            self.register_buffer("mean", torch.zeros(shape))
            self.register_buffer("variance", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = (self.spread(self.get_parameter(name), x) for name in self.names)
        if self.statistics == "none":
            return x * scale + shift
        if self.statistics == "running" or (self.statistics == "by mode" and not self.training):
            mean, variance = (self.spread(self.get_buffer(name), x) for name in ("mean", "variance"))
        else:
            mean, variance = self.of_batch(x)
        return (x - mean) / (variance + self.eps).sqrt() * scale + shift

    def spread(self, blob: Tensor, x: Tensor) -> Tensor:
        return blob.reshape([-1 if axis == self.dim else 1 for axis in range(x.dim())])

    def of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        axes = [axis for axis in range(x.dim()) if axis != self.dim]
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        if self.momentum is not None and self.training:
            with torch.no_grad():
                for name, new in (("mean", mean), ("variance", variance)):
                    running = self.get_buffer(name)
                    running.lerp_(new.reshape(running.shape), self.momentum)
        return mean, variance


def reorg(x: Tensor, stride: int, reverse: bool = False) -> Tensor:
    """Blocks of stride x stride positions as channels, in darknet's order; `reverse` makes positions of channels."""
    n, channels, height, width = x.shape
    thin = channels // stride**2
    if reverse:
        spread = x.reshape(n, stride, stride, thin, height, width).permute(0, 3, 4, 1, 5, 2)
        return spread.reshape(n, thin, height * stride, width * stride)
    blocks = x.reshape(n, thin, height, stride, width, stride).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, channels * stride**2, height // stride, width // stride)


def zoomed(shape: torch.Size, zoom: int, shrink: int, cut: int = 0) -> tuple[int, int]:
    """Height and width after shrinking and zooming, corners on corners; `cut` rows and columns are gone before."""
    sizes = [(size - cut - 1) // shrink + 1 for size in shape[2:]]
    return sizes[0] + (sizes[0] - 1) * (zoom - 1), sizes[1] + (sizes[1] - 1) * (zoom - 1)


def unpool(x: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Each value where a pooling found it (h * width + w), all else 0."""
    flat = x.new_zeros(x.shape[0], x.shape[1], size[0] * size[1])
    flat = flat.scatter(2, positions.detach().flatten(2).long(), x.flatten(2))
    return flat.reshape(x.shape[0], x.shape[1], *size)


def continuation_marks(steps: int, sequences: int, like: Tensor | None = None) -> Tensor:
    """0 in the first step of each sequence, 1 in all that follow."""
    marks = torch.ones(steps, sequences) if like is None else like.new_ones(steps, sequences)
    return torch.cat([torch.zeros_like(marks[:1]), marks[1:]])


def smooth_l1_loss(
    x: Tensor, target: Tensor, inside: Tensor | None = None, outside: Tensor | None = None, sigma: float = 1.0
) -> Tensor:
    """(sigma d)² / 2 near zero, |d| - 1 / (2 sigma²) further out, of the weighted difference, for each image."""
    difference = x - target.reshape(x.shape)
    if inside is not None:
        difference = difference * inside.detach().reshape(x.shape)
    square, size = sigma * sigma, difference.abs()
    loss = torch.where(size < 1 / square, difference.square() * (square / 2), size - 0.5 / square)
    if outside is not None:
        loss = loss * outside.detach().reshape(x.shape)
    return loss.sum() / x.shape[0]


def prior_boxes(
    x: Tensor,
    sizes: list[tuple[float, float]],
    variances: tuple[float, ...],
    image: tuple[int, ...],
    step: tuple[float, float] | None = None,
    offset: float = 0.5,
    clip: bool = False,
) -> Tensor:
    """SSD's default boxes of `sizes` (width, height) in pixels around each position, and their variances."""
    rows, columns = x.shape[2:]
    step_h, step_w = step or (image[0] / rows, image[1] / columns)
    cy = (torch.arange(rows, dtype=x.dtype, device=x.device) + offset) * step_h
    cx = (torch.arange(columns, dtype=x.dtype, device=x.device) + offset) * step_w
    across, down = torch.tensor(sizes, dtype=x.dtype, device=x.device).t() / 2
    edges = [
        (cx[None, :, None] - across) / image[1],
        (cy[:, None, None] - down) / image[0],
        (cx[None, :, None] + across) / image[1],
        (cy[:, None, None] + down) / image[0],
    ]
    boxes = torch.stack([edge.expand(rows, columns, len(sizes)) for edge in edges], -1).reshape(-1)
    spreads = torch.tensor(variances, dtype=x.dtype, device=x.device).repeat(boxes.numel() // 4)
    return torch.stack([boxes.clamp(0, 1) if clip else boxes, spreads])[None]


def roi_pool(x: Tensor, rois: Tensor, size: tuple[int, int], spatial_scale: float) -> Tensor:
    """The maximum over each cell of a grid laid over each region (image, x1, y1, x2, y2); an empty cell gives 0."""
    table = rois.detach().reshape(-1, 5)
    scaled = table[:, 1:] * spatial_scale
    corners = (scaled.sign() * (scaled.abs() + 0.5).floor()).long().tolist()
    pooled = [
        roi_cells(x[int(image)], region, size) for image, region in zip(table[:, 0].tolist(), corners, strict=True)
    ]
    return torch.stack(pooled) if pooled else x.new_zeros(0, x.shape[1], *size)


def roi_cells(x: Tensor, region: list[int], size: tuple[int, int]) -> Tensor:
    """(C, H, W) → (C, rows, columns)."""
    left, top, right, bottom = region
    down = roi_bins(top, bottom, size[0], x.shape[1])
    across = roi_bins(left, right, size[1], x.shape[2])
    empty = x.new_zeros(x.shape[0])
    cells = [
        [x[:, a:b, c:d].flatten(1).max(1).values if a < b and c < d else empty for c, d in across] for a, b in down
    ]
    return torch.stack([torch.stack(row, 1) for row in cells], 1)


def roi_bins(begin: int, end: int, cells: int, limit: int) -> list[tuple[int, int]]:
    """Where the cells of one axis begin and end."""
    step = torch.tensor(max(end - begin + 1, 1) / cells)
    place = torch.arange(cells)
    low = ((place * step).floor() + begin).clamp(0, limit).long().tolist()
    high = (((place + 1) * step).ceil() + begin).clamp(0, limit).long().tolist()
    return list(zip(low, high, strict=True))
