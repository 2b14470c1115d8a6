"""Pooling and convolution against loops that are written down as the formulas say, on random geometries."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netc import NetcError, proto
from netc.layers import Layer, registry


def layer(kind: str, settings: str, shape: tuple[int, ...], tops: int = 1) -> tuple[Layer, tuple[int, ...]]:
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    param = text_format.Parse(f'name: "l" type: "{kind}" bottom: "b" {names} {settings}', proto.LayerParameter())
    made = registry()[kind](param, 1)
    return made, tuple(made.setup([shape])[0])


def pooled_size(sizes: Any, kernel: Any, stride: Any, pad: Any, floor: bool) -> list[int]:
    rounded = math.floor if floor else math.ceil
    out = [rounded((n + 2 * p - k) / s) + 1 for n, k, s, p in zip(sizes, kernel, stride, pad, strict=True)]
    if any(pad):
        out = [o - ((o - 1) * s >= n + p) for o, n, s, p in zip(out, sizes, stride, pad, strict=True)]
    return out


def spans(index: int, size: int, kernel: int, stride: int, pad: int) -> tuple[int, int, int]:
    """(first, end within the image, length that counts) of a window along an axis."""
    start = index * stride - pad
    end = min(start + kernel, size + pad)
    return max(start, 0), min(end, size), end - start


def pool_by_loops(
    x: np.ndarray, kernel: Any, stride: Any, pad: Any, floor: bool, average: bool
) -> tuple[Any, Any, Any]:
    """Output, positions and the gradient of output · arange."""
    high, wide = pooled_size(x.shape[2:], kernel, stride, pad, floor)
    y = np.zeros((*x.shape[:2], high, wide))
    place = np.full(y.shape, -1)
    grad, weights = np.zeros_like(x), np.arange(y.size).reshape(y.shape) + 1.0
    for n, c, i, j in product(*map(range, y.shape)):
        top, bottom, rows = spans(i, x.shape[2], kernel[0], stride[0], pad[0])
        left, right, columns = spans(j, x.shape[3], kernel[1], stride[1], pad[1])
        window = x[n, c, top:bottom, left:right]
        if not window.size:
            continue
        if average:
            y[n, c, i, j] = window.sum() / (rows * columns)
            grad[n, c, top:bottom, left:right] += weights[n, c, i, j] / (rows * columns)
        else:
            h, w = np.unravel_index(window.argmax(), window.shape)
            y[n, c, i, j] = window.max()
            place[n, c, i, j] = (top + h) * x.shape[3] + left + w
            grad[n, c, top + h, left + w] += weights[n, c, i, j]
    return y, place, grad


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("average", [False, True], ids=["max", "ave"])
def test_pooling(seed: int, average: bool) -> None:
    draw = np.random.RandomState(seed)
    kernel, stride = draw.randint(1, 5, 2), draw.randint(1, 5, 2)
    pad = [draw.randint(0, k) if draw.rand() < 0.6 else 0 for k in kernel]
    sizes, floor = draw.randint(3, 10, 2), bool(draw.rand() < 0.3)
    settings = (
        f"pooling_param {{ pool: {'AVE' if average else 'MAX'} round_mode: {'FLOOR' if floor else 'CEIL'} "
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]} "
        f"pad_h: {pad[0]} pad_w: {pad[1]} }}"
    )
    shape = (2, 3, int(sizes[0]), int(sizes[1]))
    if min(pooled_size(sizes, kernel, stride, pad, floor)) < 1:
        with pytest.raises(NetcError):
            layer("Pooling", settings, shape)
        return
    x = draw.randint(-4, 5, shape).astype(np.float64)  # many ties
    y, place, grad = pool_by_loops(x, kernel, stride, pad, floor, average)
    made, promised = layer("Pooling", settings, shape, 1 if average else 2)
    assert promised == y.shape
    leaf = torch.tensor(x, requires_grad=True)
    tops = made.forward(None, [leaf], [])  # type: ignore[arg-type]
    single = tops if average else layer("Pooling", settings, shape)[0].forward(None, [leaf], [])  # type: ignore[arg-type]
    np.testing.assert_allclose(tops[0].detach(), y, atol=1e-12)
    np.testing.assert_array_equal(single[0].detach(), tops[0].detach())
    (single[0] * (torch.arange(y.size).view(y.shape) + 1)).sum().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad, grad, atol=1e-9)
    if not average:
        np.testing.assert_array_equal(tops[1], place)


def test_nan_never_wins_and_gets_no_gradient() -> None:
    made, _ = layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", (1, 1, 4, 4))
    x = torch.arange(16.0).view(1, 1, 4, 4)
    x[0, 0, 1, 1] = math.nan
    x[0, 0, :2, 2:] = math.nan
    x[0, 0, 2, 0] = math.inf
    x[0, 0, 2:, 2:] = -math.inf
    x.requires_grad_()
    y = made.forward(None, [x], [])[0]  # type: ignore[arg-type]
    lowest = torch.finfo(torch.float32).min
    assert y.flatten().tolist() == [4.0, lowest, math.inf, lowest]
    y.sum().backward()
    assert x.grad is not None
    assert [i for i, g in enumerate(x.grad.flatten().tolist()) if g][:2] == [4, 8]
    assert x.grad[0, 0, :2, 2:].abs().sum() == 0


def test_infinity_below_never_wins_either() -> None:
    made, _ = layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", (1, 1, 2, 4))
    x = torch.arange(8.0).view(1, 1, 2, 4)
    x[0, 0, :, 2:] = -math.inf
    y = made.forward(None, [x], [])[0]  # type: ignore[arg-type]
    assert y.flatten().tolist() == [5.0, torch.finfo(torch.float32).min]


def convolve_by_loops(x: np.ndarray, w: np.ndarray, b: np.ndarray, g: Any, group: int) -> np.ndarray:
    kernel, stride, pad, dilation = g
    sizes = [
        int((n + 2 * p - (d * (k - 1) + 1)) / s) + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    part_in, part_out = x.shape[1] // group, w.shape[0] // group
    for place in product(*map(range, sizes)):
        for tap in product(*map(range, kernel)):
            at = [i * s - p + t * d for i, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)]
            if any(not 0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
                continue
            for o in range(w.shape[0]):
                channels = slice(o // part_out * part_in, (o // part_out + 1) * part_in)
                values: Any = x[(slice(None), channels, *at)]
                y[(slice(None), o, *place)] += values @ w[(o, slice(None), *tap)]  # type: ignore[arg-type]
    result: np.ndarray = y + b.reshape(1, -1, *[1] * len(sizes))
    return result


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_convolution(seed: int, axes: int) -> None:
    draw = np.random.RandomState(100 * axes + seed)
    low, high = (3, 9) if axes < 3 else (2, 5)
    kernel, stride = draw.randint(1, 4, axes), draw.randint(1, 4, axes)
    pad, dilation = draw.randint(0, 3, axes), draw.randint(1, 3, axes)
    group, sizes = int(draw.choice([1, 2])), draw.randint(low, high, axes)
    fields = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    listed = " ".join(f"{name}: {value}" for name, values in fields.items() for value in values)
    settings = f"convolution_param {{ num_output: 4 group: {group} {listed} }}"
    shape = (2, 6, *map(int, sizes))
    outputs = (sizes + 2 * pad - (dilation * (kernel - 1) + 1)) / stride
    if min(int(o) + 1 for o in outputs) < 1:
        with pytest.raises(NetcError):
            layer("Convolution", settings, shape)
        return
    made, promised = layer("Convolution", settings, shape)
    x, w = draw.standard_normal(shape), draw.standard_normal((4, 6 // group, *kernel))
    b = draw.standard_normal(4)
    expected = convolve_by_loops(x, w, b, (kernel, stride, pad, dilation), group)
    assert promised == expected.shape
    found = made.forward(None, [torch.tensor(x)], [torch.tensor(w), torch.tensor(b)])  # type: ignore[arg-type]
    np.testing.assert_allclose(found[0], expected, atol=1e-10)
    assert made.macs([shape], [promised]) == expected.size * (6 // group) * int(np.prod(kernel))


@pytest.mark.parametrize("seed", range(16))
def test_deconvolution_is_the_transpose(seed: int) -> None:
    """<deconv(x), y> = <x, conv(y)> with the same weights, on the sizes where the two fit each other."""
    draw = np.random.RandomState(seed)
    axes, group = int(draw.randint(1, 6)), int(draw.choice([1, 2]))
    kernel, stride, dilation = draw.randint(2, 4, axes), draw.randint(1, 4, axes), draw.randint(1, 3, axes)
    pad = draw.randint(0, 2, axes)
    fields = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    listed = " ".join(f"{name}: {value}" for name, values in fields.items() for value in values)
    shape = (2, 6, *draw.randint(2, 5 if axes < 4 else 4, axes).tolist())
    common = f"group: {group} bias_term: false {listed}"
    up, big = layer("Deconvolution", f"convolution_param {{ num_output: 4 {common} }}", shape)
    down, small = layer("Convolution", f"convolution_param {{ num_output: 6 {common} }}", big)
    assert small == shape
    assert up.blobs[0].shape == down.blobs[0].shape
    x, y = torch.tensor(draw.standard_normal(shape)), torch.tensor(draw.standard_normal(big))
    w = [torch.tensor(draw.standard_normal(up.blobs[0].shape))]
    left = (up.forward(None, [x], w)[0] * y).sum()  # type: ignore[arg-type]
    right = (down.forward(None, [y], w)[0] * x).sum()  # type: ignore[arg-type]
    assert torch.isclose(left, right)
