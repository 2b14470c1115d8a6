"""Convolution over any number of axes, its transpose, and its columns (base_conv_layer.cpp, im2col.cpp).

`windows` are stride, padding and dilation, each with a size for every axis but batch and channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *windows: tuple[int, ...]) -> Tensor:
    """(N, C, …) → (N, K, …)."""
    stride, padding, dilation = windows
    axes = len(stride)
    if axes == 2:
        if groups == 1 and is_product(x, weight, *windows):
            return product(x, weight, bias)
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    if axes == 1:
        return F.conv1d(x, weight, bias, stride, padding, dilation, groups)
    if axes == 3:
        return F.conv3d(x, weight, bias, stride, padding, dilation, groups)
    if axes == 0:
        return F.conv1d(x[..., None], weight[..., None], bias, groups=groups)[..., 0]
    return convolve_by_taps(x, weight, bias, groups, *windows)


def is_product(x: Tensor, weight: Tensor, *windows: tuple[int, ...]) -> bool:
    """Whether a convolution of planes is computed as a matrix product: where it is an inner product over whole planes,
    the same bits; and on a CPU for large kernels, as long as the windows have at most a quarter as many values as the
    weights, which oneDNN would rearrange first, in ten times as long as a product of few windows takes. Of more windows
    the product is no faster, with few channels slower (tools/bench_evaluation.py)."""
    stride, padding, dilation = windows
    if torch.compiler.is_compiling() or any(padding) or dilation != (1, 1):
        return False
    kernel = weight.shape[2:]
    height, width = (size - reach + 1 for size, reach in zip(x.shape[2:], kernel, strict=True))
    if height == width == 1:
        return True
    large = stride == (1, 1) and kernel[0] * kernel[1] > 9 and x.device.type == "cpu"
    return large and 4 * len(x) * height * width <= len(weight)


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of stride 1 without padding as the product of weights and windows."""
    kernel = weight.shape[2:]
    windows = x.unfold(2, kernel[0], 1).unfold(3, kernel[1], 1)
    places = windows.permute(0, 2, 3, 1, 4, 5)
    return F.linear(places.flatten(3), weight.flatten(1), bias).permute(0, 3, 1, 2)


def convolve_by_taps(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *windows: tuple[int, ...]) -> Tensor:
    """The first axis is walked tap by tap; the others are convolved as its batch."""
    stride, pad, step = (sizes[0] for sizes in windows)
    inner = [sizes[1:] for sizes in windows]
    padded = F.pad(x, [0, 0] * (x.dim() - 3) + [pad, pad])
    length = (padded.shape[2] - step * (weight.shape[2] - 1) - 1) // stride + 1
    total = x.new_empty(0)
    for tap in range(weight.shape[2]):
        rows = padded[:, :, tap * step : tap * step + (length - 1) * stride + 1 : stride].movedim(2, 1).flatten(0, 1)
        part = convolve(rows, weight[:, :, tap], bias if tap == 0 else None, groups, *inner)
        total = total + part if tap else part
    return total.reshape(x.shape[0], length, *total.shape[1:]).movedim(1, 2)


def deconvolve(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *windows: tuple[int, ...]) -> Tensor:
    """The transpose: each value of (N, C, …) adds its kernel, scaled, to (N, K, …)."""
    stride, padding, dilation = windows
    axes = len(stride)
    if axes == 0:
        return F.conv_transpose1d(x[..., None], weight[..., None], bias, groups=groups)[..., 0]
    if axes > 3:
        return deconvolve_by_taps(x, weight, bias, groups, *windows)
    transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    return transposed(x, weight, bias, stride, padding, 0, groups, dilation)


def deconvolve_by_taps(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *windows: tuple[int, ...]
) -> Tensor:
    """The first axis is walked tap by tap, the others are its batch; each tap's rows are added where they belong, and
    the padding is cut off."""
    stride, pad, step = (sizes[0] for sizes in windows)
    inner = [sizes[1:] for sizes in windows]
    rows, taps, flat = x.shape[2], weight.shape[2], x.movedim(2, 1).flatten(0, 1)
    length = stride * (rows - 1) + step * (taps - 1) + 1
    total = x.new_zeros(())
    for start, kernel in zip(range(0, taps * step, step), weight.unbind(2), strict=True):
        part = deconvolve(flat, kernel, None, groups, *inner)
        part = part.reshape(x.shape[0], rows, *part.shape[1:]).movedim(1, 2)
        padded = part.new_zeros(*part.shape[:2], length, *part.shape[3:])
        padded[:, :, start : start + stride * (rows - 1) + 1 : stride] = part
        total = total + padded
    total = total[:, :, pad : length - pad]
    return total if bias is None else total + bias.view(-1, *[1] * (total.dim() - 2))


def im2col(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """The window of each output pixel as a column of channels; the sizes belong to the last axes."""
    first = x.dim() - len(kernel)
    x = F.pad(x, [pad for size in reversed(padding) for pad in (size, size)])
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True), first):
        x = x.unfold(axis, gap * (size - 1) + 1, step)[..., ::gap]
    outputs = x.shape[first : first + len(kernel)]
    order = (*range(first), *range(first + len(kernel), x.dim()), *range(first, first + len(kernel)))
    return x.permute(order).reshape(*x.shape[: first - 1], -1, *outputs)


def at_least(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """`x` with zeros behind the end of its last axes where those are shorter than `sizes`: a window that reaches beyond
    the image and its padding sees zeros."""
    missing = [max(0, size - length) for size, length in zip(sizes, x.shape[x.dim() - len(sizes) :], strict=True)]
    return F.pad(x, [pad for size in reversed(missing) for pad in (0, size)]) if any(missing) else x
