"""Layers that multiply and add numbers that are fixed in TEST, and layers that can take these into their weights.

    layer.affine(arrays)             -> Affine, or why it is none      BatchNorm, Scale, Bias, Power, …
    layer.with_affine_behind(…)      -> its arrays, or why not         Convolution, InnerProduct, …
    layer.with_affine_before(…)

numpy alone; sums are made in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from netc.layers.blob import Shape

if TYPE_CHECKING:
    import numpy as np


class Affine(NamedTuple):
    """y = factor · x + summand. The arrays are of double precision and have one value for each place on `axis` of x, or
    one for all (`axis` None)."""

    axis: int | None
    factor: np.ndarray[Any, Any]
    summand: np.ndarray[Any, Any]

    @property
    def shifts(self) -> bool:
        return bool(self.summand.any())

    def on(self, axis: int, shape: Shape) -> tuple[Any, Any] | None:
        """(factor, summand), a value for each place on `axis` of a blob of `shape`; None where they vary on another."""
        import numpy as np

        if self.axis is not None and self.axis != axis:
            return None
        size = shape[axis]
        return np.resize(self.factor, (size,)), np.resize(self.summand, (size,))

    def spread(self, shape: Shape, start: int) -> tuple[Any, Any] | None:
        """(factor, summand) for each value of the axes from `start` on; None where they vary on one before."""
        import numpy as np

        if self.axis is not None and self.axis < start:
            return None
        behind = [] if self.axis is None else [1] * (len(shape) - 1 - self.axis)
        factor, summand = (array.reshape(-1, *behind) for array in (self.factor, self.summand))
        return tuple(np.broadcast_to(array, shape[start:]).reshape(-1) for array in (factor, summand))  # type: ignore[return-value]


def doubles(*arrays: Any) -> list[Any]:
    import numpy as np

    return [np.asarray(array, dtype="f8") for array in arrays]


def normalising(axis: int | None, mean: Any, variance: Any, eps: float) -> Affine:
    """(x - mean) / sqrt(variance + eps)."""
    import numpy as np

    factor = 1 / np.sqrt(variance + eps)
    return Affine(axis, factor, -mean * factor)


def then(first: Affine, scale: Any, shift: Any) -> Affine:
    """scale · y + shift behind another one of the same axis."""
    return Affine(first.axis, first.factor * scale, first.summand * scale + shift)


def spanning(axis: int, shape: Shape) -> int | str | None:
    """The axis on which a factor of `shape` that starts at `axis` varies; None for one number."""
    wide = [place for place, size in enumerate(shape) if size != 1]
    if len(wide) > 1:
        return "it varies on several axes"
    return axis + wide[0] if wide else None


def singles(arrays: Sequence[Any]) -> list[Any]:
    import numpy as np

    return [np.ascontiguousarray(array, dtype="f4") for array in arrays]
