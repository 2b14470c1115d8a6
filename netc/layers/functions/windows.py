"""How many windows Caffe lays over an axis. Plain numbers: shape rules ask this too, without torch."""

from __future__ import annotations


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """One size for both axes of a plane, or one for each."""
    return (size, size) if isinstance(size, int) else size


def pooled_size(
    sizes: tuple[int, ...],
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = True,
    clip: bool | None = None,
) -> tuple[int, int]:
    """(rows, columns) of a pooling over (height, width), by Caffe's rule (pooling_layer.cpp).

    A last window that is not full counts with `ceil_mode`. With `clip` (None: where an axis is padded, Caffe's rule) a
    last window that would start beyond the image and its padding is left out, on both axes.
    """
    clip = any(pair(padding)) if clip is None else clip
    found = []
    for size, k, s, p in zip(sizes, pair(kernel), pair(stride), pair(padding), strict=True):
        span = size + 2 * p - k
        windows = (-(-span // s) if ceil_mode else span // s) + 1
        found.append(windows - (clip and (windows - 1) * s >= size + p))
    return found[0], found[1]


def pyramid_level(level: int, sizes: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(kernel, stride, padding) of a pooling over 2^level x 2^level cells (spp_layer.cpp)."""
    cells = 2**level
    kernel = (-(-sizes[0] // cells), -(-sizes[1] // cells))
    return kernel, kernel, ((kernel[0] * cells - sizes[0] + 1) // 2, (kernel[1] * cells - sizes[1] + 1) // 2)
