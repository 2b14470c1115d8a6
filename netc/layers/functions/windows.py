"""How many windows Caffe lays over an axis. Plain numbers: shape rules ask this too, without torch."""

from __future__ import annotations


def each(size: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """One size for all axes, or one for each."""
    return (size,) * axes if isinstance(size, int) else size


def pooled_size(
    sizes: tuple[int, ...],
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = True,
    clip: bool | None = None,
) -> tuple[int, ...]:
    """How many windows a pooling has on each axis of a plane or a volume, by Caffe's rule (pooling_layer.cpp).

    A last window that is not full counts with `ceil_mode`. With `clip` (None: where an axis is padded, Caffe's rule) a
    last window that would start beyond the image and its padding is left out, on all axes.
    """
    axes = len(sizes)
    clip = any(each(padding, axes)) if clip is None else clip
    found = []
    for size, k, s, p in zip(sizes, each(kernel, axes), each(stride, axes), each(padding, axes), strict=True):
        span = size + 2 * p - k
        windows = (-(-span // s) if ceil_mode else span // s) + 1
        found.append(windows - (clip and (windows - 1) * s >= size + p))
    return tuple(found)


def pyramid_level(level: int, sizes: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(kernel, stride, padding) of a pooling over 2^level x 2^level cells (spp_layer.cpp)."""
    cells = 2**level
    kernel = (-(-sizes[0] // cells), -(-sizes[1] // cells))
    return kernel, kernel, ((kernel[0] * cells - sizes[0] + 1) // 2, (kernel[1] * cells - sizes[1] + 1) // 2)
