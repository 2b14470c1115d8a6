"""What an initial value makes of the values that pass through a layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netc.layers.base import ParamBlob


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
        fan_out = prod(shape) / shape[1] if len(shape) > 1 else prod(shape)
        fan = (inputs, fan_out, (inputs + fan_out) / 2)[filler.variance_norm]
        return float(((2 if filler.type == "msra" else 1) * inputs / fan) ** 0.5)
    return None
