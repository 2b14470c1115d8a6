"""Maximum and mean over windows of a plane by Caffe's rule (pooling_layer.cpp), and over pyramids of grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from netc.layers.functions.windows import pair, pooled_size, pyramid_level


def max_pool(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """(N, C, H, W) → the maximum of each window. NaN never wins; a window with nothing in it gives 0."""
    if not has_torchs_windows(x, kernel, stride, padding, ceil_mode):
        return max_pool_with_position(x, kernel, stride, padding, ceil_mode)[0]
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return F.max_pool2d(without_nan(x), kernel, stride, padding, 1, ceil_mode)
    y = F.max_pool2d(x, kernel, stride, padding, 1, ceil_mode)
    # torch lets NaN win, and -inf among nothing else; Caffe neither. It is cheaper to look at the output on a CPU than
    # to clean the input
    return y if math.isfinite(y.detach().sum()) else max_pool_with_position(x, kernel, stride, padding, ceil_mode)[0]


def max_pool_with_position(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """The maxima and their places h * width + w (-1 for none), by explicit padding: any pad, any geometry."""
    width, lowest = x.shape[3], torch.finfo(x.dtype).min
    (top, bottom, more_rows), (left, right, more_columns) = caffe_windows(x, kernel, stride, padding, ceil_mode)
    padded = F.pad(without_nan(x), (left, right, top, bottom), value=lowest)
    y, index = F.max_pool2d(padded, kernel, stride, return_indices=True)
    across = left + width + right
    place = (index // across - top) * width + index % across - left
    place = torch.where(y > lowest, place, -1).to(x.dtype)
    empty = (0, more_columns, 0, more_rows)
    return (F.pad(y, empty), F.pad(place, empty, value=-1.0)) if any(empty) else (y, place)


def avg_pool(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """(N, C, H, W) → the mean of each window: padding counts, what lies beyond it does not."""
    if has_torchs_windows(x, kernel, stride, padding, ceil_mode):
        return F.avg_pool2d(x, kernel, stride, padding, ceil_mode)
    rows, columns = caffe_windows(x, kernel, stride, padding, ceil_mode)
    padded = F.pad(x, (columns[0], columns[1], rows[0], rows[1]))
    sums = F.avg_pool2d(padded, kernel, stride, divisor_override=1)
    high, wide = [
        window_lengths(count, x.shape[2 + axis], pair(kernel)[axis], pair(stride)[axis], pair(padding)[axis], x)
        for axis, count in enumerate(sums.shape[2:])
    ]
    return F.pad(sums / (high[:, None] * wide), (0, columns[2], 0, rows[2]))


def window_lengths(windows: int, size: int, kernel: int, stride: int, pad: int, like: Tensor) -> Tensor:
    """The length of each window along an axis, cut at size + pad: the divisor's factor."""
    start = torch.arange(windows, device=like.device) * stride - pad
    return ((start + kernel).clamp(max=size + pad) - start).to(like.dtype)


def has_torchs_windows(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    ceil_mode: bool,
) -> bool:
    """Whether torch's own padding and ceil_mode give Caffe's windows: pad <= kernel / 2 and no clip that differs."""
    fits = all(2 * p <= k for p, k in zip(pair(padding), pair(kernel), strict=True))
    sizes = tuple(x.shape[2:])
    windows = pooled_size(sizes, kernel, stride, padding, ceil_mode)
    return fits and windows == pooled_size(sizes, kernel, stride, padding, ceil_mode, clip=ceil_mode)


def caffe_windows(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    ceil_mode: bool,
) -> list[tuple[int, int, int]]:
    """(padding before, padding behind, further windows that are empty) for the two axes of the plane. The padding
    behind is negative where no window reaches the end."""
    found = []
    counts = pooled_size(tuple(x.shape[2:]), kernel, stride, padding, ceil_mode)
    for size, k, s, p, windows in zip(x.shape[2:], pair(kernel), pair(stride), pair(padding), counts, strict=True):
        filled = min(windows, -(-(size + p) // s))
        found.append((p, (filled - 1) * s + k - size - p, windows - filled))
    return found


def without_nan(x: Tensor) -> Tensor:
    """NaN and -inf as the lowest finite number: Caffe starts there and takes what is greater."""
    lowest = torch.finfo(x.dtype).min
    return x.where(x > lowest, lowest)


def pyramid_pool(x: Tensor, height: int, pool: Callable[..., Tensor]) -> Tensor:
    """Spatial pyramid pooling: `pool` over a grid of 2^level x 2^level cells for each level, one behind another."""
    levels = [pool(x, *pyramid_level(level, tuple(x.shape[2:])), True) for level in range(height)]
    return levels[0] if height == 1 else torch.cat([y.flatten(1) for y in levels], dim=1)
