"""Caffe's pooling where torch's has no setting for it. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def max_pool(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """Maximum over windows laid out by Caffe's rule; a window with nothing in it gives 0."""
    return max_pool_with_position(x, kernel, stride, padding, ceil_mode)[0]


def max_pool_with_position(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maxima over windows laid out by Caffe's rule, and their places h * width + w (-1 for none)."""
    width, lowest = x.shape[3], torch.finfo(x.dtype).min
    (top, bottom, more_rows), (left, right, more_columns) = caffe_windows(x, kernel, stride, padding, ceil_mode)
    padded = F.pad(x.where(x > lowest, lowest), (left, right, top, bottom), value=lowest)
    y, index = F.max_pool2d(padded, kernel, stride, return_indices=True)
    across = left + width + right
    place = (index // across - top) * width + index % across - left
    place = torch.where(y > lowest, place, -1).to(x.dtype)
    empty = (0, more_columns, 0, more_rows)
    return F.pad(y, empty), F.pad(place, empty, value=-1.0)


def avg_pool(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """Mean over windows laid out by Caffe's rule: padding counts, what lies beyond it does not."""
    (top, bottom, more_rows), (left, right, more_columns) = caffe_windows(x, kernel, stride, padding, ceil_mode)
    sums = F.avg_pool2d(F.pad(x, (left, right, top, bottom)), kernel, stride, divisor_override=1)
    inside = F.pad(x.new_ones(1, 1, x.shape[2], x.shape[3]), (left, min(right, left), top, min(bottom, top)), value=1)
    inside = F.pad(inside, (0, right - min(right, left), 0, bottom - min(bottom, top)))
    areas = F.avg_pool2d(inside, kernel, stride, divisor_override=1)
    return F.pad(sums / areas, (0, more_columns, 0, more_rows))


def caffe_windows(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    ceil_mode: bool,
) -> list[tuple[int, int, int]]:
    """(padding before, padding behind, further windows that are empty) for the two axes of the plane.

    A last window that is not full counts; one that starts beyond the image and its padding is left out, but only where
    an axis is padded.
    """
    found = []
    for size, k, s, p in zip(x.shape[2:], pair(kernel), pair(stride), pair(padding)):
        span = size + 2 * p - k
        windows = (-(-span // s) if ceil_mode else span // s) + 1
        if any(pair(padding)) and (windows - 1) * s >= size + p:
            windows -= 1
        filled = min(windows, -(-(size + p) // s))
        found.append((p, (filled - 1) * s + k - size - p, windows - filled))
    return found


def pyramid_pool(x: Tensor, height: int, pool: Callable[..., Tensor]) -> Tensor:
    """Spatial pyramid pooling: each level pools over a grid of 2^level x 2^level cells."""
    levels = []
    for level in range(height):
        cells = 2**level
        kernel = (-(-x.shape[2] // cells), -(-x.shape[3] // cells))
        padding = ((kernel[0] * cells - x.shape[2] + 1) // 2, (kernel[1] * cells - x.shape[3] + 1) // 2)
        levels.append(pool(x, kernel, kernel, padding, True))
    return levels[0] if height == 1 else torch.cat([y.flatten(1) for y in levels], dim=1)
