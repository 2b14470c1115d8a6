"""Fillers (filler.hpp): what random weights are scaled by, what they make of the values that pass through a layer, and
the calls that emitted code fills tensors with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

from netc.layers.blob import ParamBlob, Shape
from netc.layers.code import call, number

FAN_IN, FAN_OUT, AVERAGE = 0, 1, 2
_MODE: dict[int, dict[str, object]] = {FAN_IN: {}, FAN_OUT: {"mode": "fan_out"}}


def fan(norm: int, shape: Shape) -> float:
    """What xavier and msra are scaled by: the number of inputs of an output, count / shape[0], of outputs of an input,
    count / shape[1] (so for an InnerProduct FAN_OUT counts its outputs), or their mean."""
    total = prod(shape)
    fan_in, fan_out = total / (shape[0] if shape else 1), total / (shape[1] if len(shape) > 1 else 1)
    return (fan_in, fan_out, (fan_in + fan_out) / 2)[norm]


def filled(tensor: str, filler: Any, shape: Shape) -> str:
    """The call that fills the expression `tensor` as a filler (None: constant 0) says, drawing from torch's generator.
    It gives the tensor as well."""
    kind = filler.type if filler is not None else "constant"
    if kind == "constant":
        value = filler.value if filler is not None else 0.0
        plain = {0.0: "zeros_", 1.0: "ones_"}.get(value)
        return call(f"nn.init.{plain}", tensor) if plain else call("nn.init.constant_", tensor, number(value))
    if kind == "uniform":
        return call("nn.init.uniform_", tensor, number(filler.min), number(filler.max))
    if kind == "gaussian":
        settings = ({"mean": filler.mean} if filler.mean else {}) | {"std": filler.std}
        if filler.sparse >= 0:
            return call("sparse_normal_", tensor, **settings, kept=filler.sparse)
        return call("nn.init.normal_", tensor, **settings)
    return _scaled(tensor, filler, shape) if kind in ("xavier", "msra") else call(f"{kind}_", tensor)


def _scaled(tensor: str, filler: Any, shape: Shape) -> str:
    """xavier and msra: torch's own call where it counts inputs and outputs likewise, else the numbers."""
    xavier, norm = filler.type == "xavier", filler.variance_norm
    if len(shape) > 1 and xavier and norm == AVERAGE:
        return call("nn.init.xavier_uniform_", tensor)
    if len(shape) > 1 and norm in _MODE:
        name = "kaiming_uniform_" if xavier else "kaiming_normal_"
        return call(f"nn.init.{name}", tensor, **_MODE[norm], nonlinearity="linear" if xavier else "relu")
    width = math.sqrt((3 if xavier else 2) / fan(norm, shape))
    if xavier:
        return call("nn.init.uniform_", tensor, f"-{number(width)}", number(width))
    return call("nn.init.normal_", tensor, std=width)


# -- what initial weights make of values -------------------------------------------------------------------------


def weighted_rms(bottom: float, blobs: Sequence[ParamBlob]) -> float | None:
    """The root mean square of sums of as many products as a row of the weights has values, plus a constant bias. The
    weights are independent and of mean 0; None where they are not, or where all are 0."""
    gain = _gain(blobs[0])
    bias = blobs[1].filler.value if len(blobs) > 1 and blobs[1].filler is not None else 0.0
    return None if gain is None else float(((bottom * gain) ** 2 + bias**2) ** 0.5)


def _gain(weight: ParamBlob) -> float | None:
    """The factor that a blob's initial weights put on the root mean square."""
    filler, shape = weight.filler, weight.shape
    inputs = prod(shape[1:])
    if filler is None:
        return None
    if filler.type == "gaussian" and filler.mean == 0 and filler.sparse < 0 and filler.std > 0:
        return float(filler.std * inputs**0.5)
    if filler.type == "uniform" and filler.min == -filler.max != 0:
        return float(filler.max * (inputs / 3) ** 0.5)
    if filler.type in {"xavier", "msra"}:
        return float(((2 if filler.type == "msra" else 1) * inputs / fan(filler.variance_norm, shape)) ** 0.5)
    return None
