"""Maximum and mean over windows of planes and volumes by Caffe's rule (pooling_layer.cpp), and over pyramids."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from netc.layers.functions.windows import each, pooled_size, pyramid_level


def max_pool(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    clip: bool | None = None,
) -> Tensor:
    """(N, C, H, W) or (N, C, D, H, W) → the maximum of each window. On a CPU NaN never wins; on a GPU and in a compiled
    graph it does, as in torch. A window with nothing in it gives 0."""
    if not has_torchs_windows(x, kernel, stride, padding, ceil_mode, clip):
        return max_pool_with_position(x, kernel, stride, padding, ceil_mode, clip)[0]
    ceil_mode = ceil_mode and not floor_suffices(x, kernel, stride, padding, clip)
    pool = F.max_pool2d if x.dim() == 4 else F.max_pool3d
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return pool(comparable(x), kernel, stride, padding, 1, ceil_mode)
    y = pool(x, kernel, stride, padding, 1, ceil_mode)
    # torch lets NaN win, and -inf among nothing else; Caffe neither. It is cheaper to look at the output on a CPU than
    # to clean the input
    if math.isfinite(y.detach().sum()):
        return y
    return max_pool_with_position(x, kernel, stride, padding, ceil_mode, clip)[0]


def max_pool_with_position(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    clip: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The maxima and their places h * width + w (in a volume (d * height + h) * width + w; -1 for none), by explicit
    padding: any pad, any geometry."""
    lowest = torch.finfo(x.dtype).min
    axes = caffe_windows(x, kernel, stride, padding, ceil_mode, clip)
    around = [edge for before, behind, _ in reversed(axes) for edge in (before, behind)]
    x = comparable(x)
    padded = F.pad(x, around, value=lowest) if any(around) else x
    pool = F.max_pool2d if x.dim() == 4 else F.max_pool3d
    y, index = pool(padded, kernel, stride, return_indices=True)
    place, step = index % padded.shape[-1] - axes[-1][0], x.shape[-1]
    for axis in range(2, len(axes) + 1):
        index = index // padded.shape[1 - axis]
        at = index % padded.shape[-axis] if axis < len(axes) else index
        place = place + (at - axes[-axis][0]) * step
        step = step * x.shape[-axis]
    place = torch.where(y > lowest, place, -1).to(x.dtype)
    empty = [edge for _, _, more in reversed(axes) for edge in (0, more)]
    return (F.pad(y, empty), F.pad(place, empty, value=-1.0)) if any(empty) else (y, place)


def avg_pool(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    clip: bool | None = None,
) -> Tensor:
    """(N, C, H, W) or (N, C, D, H, W) → the mean of each window: padding counts, what lies beyond it does not."""
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
    if has_torchs_windows(x, kernel, stride, padding, ceil_mode, clip):
        ceil_mode = ceil_mode and not floor_suffices(x, kernel, stride, padding, clip)
        return pool(x, kernel, stride, padding, ceil_mode)
    axes = caffe_windows(x, kernel, stride, padding, ceil_mode, clip)
    around = [edge for before, behind, _ in reversed(axes) for edge in (before, behind)]
    y = pool(F.pad(x, around), kernel, stride)  # ONNX has no divisor of one's own
    for axis, (k, s, p) in enumerate(
        zip(*(each(size, len(axes)) for size in (kernel, stride, padding)), strict=True), 2
    ):
        lengths = window_lengths(y.shape[axis], x.shape[axis], k, s, p, x)
        y = y / (lengths / k).view(-1, *[1] * (x.dim() - 1 - axis))
    return F.pad(y, [edge for _, _, more in reversed(axes) for edge in (0, more)])


def window_lengths(windows: int, size: int, kernel: int, stride: int, pad: int, like: Tensor) -> Tensor:
    """The length of each window along an axis, cut at size + pad: the divisor's factor."""
    start = torch.arange(windows, device=like.device) * stride - pad
    return ((start + kernel).clamp(max=size + pad) - start).to(like.dtype)


def has_torchs_windows(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    ceil_mode: bool,
    clip: bool | None = None,
) -> bool:
    """Whether torch's own padding and ceil_mode give Caffe's windows: pad <= kernel / 2 and no clip that differs."""
    sizes = tuple(x.shape[2:])
    axes = len(sizes)
    fits = all(2 * p <= k for p, k in zip(each(padding, axes), each(kernel, axes), strict=True))
    windows = pooled_size(sizes, kernel, stride, padding, ceil_mode, clip)
    if ceil_mode and torch.compiler.is_exporting() and are_numbers(sizes):
        unclipped = pooled_size(sizes, kernel, stride, padding, ceil_mode, clip=False)
        # ONNX's shape inference knows of no window that is left out
        fits = fits and (windows == unclipped or floor_suffices(x, kernel, stride, padding, clip))
    return fits and windows == pooled_size(sizes, kernel, stride, padding, ceil_mode, clip=ceil_mode)


def floor_suffices(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    clip: bool | None,
) -> bool:
    """Whether rounding down gives the windows of rounding up, for all sizes are numbers and the last window ends with
    the padding or is left out."""
    sizes = tuple(x.shape[2:])
    if not are_numbers(sizes):
        return False
    up, down = (pooled_size(sizes, kernel, stride, padding, ceil, clip) for ceil in (True, False))
    return up == down


def are_numbers(sizes: tuple[int, ...]) -> bool:
    """Whether no size is a symbol, as free axes are in a program that is exported."""
    return all(isinstance(size, int) for size in sizes)


def caffe_windows(
    x: Tensor,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    ceil_mode: bool,
    clip: bool | None = None,
) -> list[tuple[int, int, int]]:
    """(padding before, padding behind, further windows that are empty) for each axis of the plane or volume. The
    padding behind is negative where no window reaches the end."""
    found = []
    sizes = tuple(x.shape[2:])
    counts = pooled_size(sizes, kernel, stride, padding, ceil_mode, clip)
    settings = (each(size, len(sizes)) for size in (kernel, stride, padding))
    for size, k, s, p, windows in zip(sizes, *settings, counts, strict=True):
        filled = min(windows, -(-(size + p) // s))
        found.append((p, (filled - 1) * s + k - size - p, windows - filled))
    return found


def comparable(x: Tensor) -> Tensor:
    """`x` without NaN; as it is on a GPU and in a compiled graph, where that would read and write the largest blobs of
    a net once more. A graph that is exported is Caffe's."""
    is_fast = x.device.type != "cpu" or torch.compiler.is_compiling()
    return x if is_fast and not torch.compiler.is_exporting() else without_nan(x)


def without_nan(x: Tensor) -> Tensor:
    """NaN and -inf as the lowest finite number: Caffe starts there and takes what is greater."""
    lowest = torch.finfo(x.dtype).min
    return x.where(x > lowest, lowest)


def pyramid_pool(x: Tensor, height: int, pool: Callable[..., Tensor]) -> Tensor:
    """Spatial pyramid pooling: `pool` over a grid of 2^level x 2^level cells for each level, one behind another."""
    levels = [pool(x, *pyramid_level(level, tuple(x.shape[2:])), True) for level in range(height)]
    return levels[0] if height == 1 else torch.cat([y.flatten(1) for y in levels], dim=1)
