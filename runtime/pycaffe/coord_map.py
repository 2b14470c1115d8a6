"""caffe.coord_map: where the values of one top of a NetSpec lie in another, and the crop that brings them together.

A map is (axis, scale, shift): coordinate x of the map's source is scale · x + shift in its target, on the spatial axes
from `axis` on; axis None is a map that does not depend on one. Scale and shift are numbers, or arrays with one for each
spatial axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netc.layers import Layer, registry
from netc.pycaffe.net_spec import Function, Top, layers

Map = tuple[int | None, Any, Any]
IDENTITY: Map = (None, 1, 0)

PASS_THROUGH_LAYERS = sorted(name for name, cls in registry().items() if cls.keeps_places)
"""The types whose tops have every value where the bottom has it."""


class UndefinedMapException(Exception):
    """A layer whose coordinates do not map onto those of its bottom, as InnerProduct's."""


class AxisMismatchException(Exception):
    """Two maps that begin at different axes."""


def coord_map(fn: Function) -> Map:
    """The map of a layer: from its bottom to its top. Raises UndefinedMapException where there is none."""
    cls = registry().get(fn.type_name, Layer)
    if cls.crops:
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    if cls.window is not Layer.window:
        axis, stride, kernel, pad = conv_params(fn)
        if cls.transposed:
            return axis, stride, (kernel - 1) / 2 - pad
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if cls.keeps_places:
        return IDENTITY
    raise UndefinedMapException(fn.type_name)


def conv_params(fn: Function) -> tuple[int, Any, Any, Any]:
    """axis, stride, extent of the kernel and pad of a layer with windows. Raises AssertionError for the fields of one
    direction only (kernel_h, pad_w, …), UndefinedMapException without a kernel_size."""
    params = fn.params.get("convolution_param", fn.params.get("pooling_param", fn.params))
    single = {f"{name}_{way}" for name in ("pad", "kernel", "stride") for way in "hw"} & set(params)
    assert not single, f"cropping does not know {', '.join(sorted(single))}"
    if "kernel_size" not in params:
        raise UndefinedMapException(fn.type_name)
    dilation = np.array(params.get("dilation", 1), ndmin=1)
    kernel = (np.array(params["kernel_size"], ndmin=1) - 1) * dilation + 1
    stride, pad = (np.array(params.get(name, default), ndmin=1) for name, default in (("stride", 1), ("pad", 0)))
    return params.get("axis", 1), stride, kernel, pad


def crop_params(fn: Function) -> tuple[int, Any]:
    """axis and offset of a Crop."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def compose(base_map: Map, next_map: Map) -> Map:
    """One map after another: next_map first. Raises AxisMismatchException."""
    (ax1, a1, b1), (ax2, a2, b2) = base_map, next_map
    if None not in (ax1, ax2) and ax1 != ax2:
        raise AxisMismatchException(f"axis {ax1} and axis {ax2}")
    return (ax2 if ax1 is None else ax1), a1 * a2, a1 * b2 + b1


def inverse(coord_map: Map) -> Map:
    """The map backwards."""
    ax, a, b = coord_map
    return ax, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map between two tops with an ancestor in common. Raises RuntimeError where there is none that layers with
    maps lead to."""
    up = _maps(top_from)
    for ancestor, down in _maps(top_to).items():
        if ancestor in up:
            return compose(down, inverse(up[ancestor]))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def _maps(top: Top) -> dict[Top, Map]:
    """The map to a top from each top that leads to it, the nearest first."""
    found: dict[Top, Map] = {top: IDENTITY}
    waiting = [top]
    while waiting:
        here = waiting.pop(0)
        try:
            step = coord_map(here.fn)
        except UndefinedMapException:
            continue
        for bottom in here.fn.inputs[:1] if registry()[here.fn.type_name].crops else here.fn.inputs:
            if bottom not in found:
                found[bottom] = compose(found[here], step)
                waiting.append(bottom)
    return found


def crop(top_from: Top, top_to: Top) -> Any:
    """A Crop layer that cuts `top_from` to where `top_to` lies in it. Raises AssertionError where their scales differ,
    or the offset is negative or not whole."""
    ax, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.asarray(a), np.asarray(b)
    assert (a == 1).all(), f"scale mismatch on crop (a = {a})"
    assert (b <= 0).all(), f"cannot crop negative offset (b = {b})"
    assert (np.round(b) == b).all(), f"cannot crop noninteger offset (b = {b})"
    offset = (-np.round(b)).astype(int).ravel().tolist()
    return _crop_layer(top_from, top_to, {"axis": 2 if ax is None else ax + 1, "offset": offset})


def _crop_layer(top_from: Top, top_to: Top, settings: dict[str, Any]) -> Any:
    kind = next(name for name, cls in registry().items() if cls.crops)
    return getattr(layers, kind)(top_from, top_to, crop_param=settings)
