"""The proof of a conversion: what was written is read again and compared, bit by bit, and what runs is run.

A `Parity` is the report: a line for people, a dict for JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from netc.errors import NetcError, Place, counted
from netc.layers.base import Shape, format_shape
from netc.weights.arrays import Array
from netc.weights.pieces import differing_bits, pieces

TOLERANCE = 1e-4
"""Largest difference of a run, relative to the blob's largest value: 20 layers of float32 sums in another order come to
1e-6, a wrong border or a wrong mean to 1e-2."""

CANCELLED = 1e-5
"""Of the values that go into a blob: what a sum that cancels out leaves of them is rounding, and another order of the
sum leaves something else."""

OTHER_BITS = (
    "nothing was written; try again, and if it is not the disk (dmesg names it), please report it, with the net"
)
OTHER_VALUES = (
    "nothing was written; a net that compares or rounds values (ArgMax, Threshold) can turn on the last bit, which "
    "--tolerance allows; otherwise please report it, with the net"
)

_BLOCK = 1 << 18
"""Values compared at a time."""


@dataclass(frozen=True, slots=True)
class ProofFailure:
    """One blob compared. `largest`: the largest absolute difference; `scale`: the largest absolute value of the
    original, or what `compared_all` puts for it; `differing`: how many values differ in any bit (arrays only)."""

    name: str
    shape: Shape
    largest: float = 0.0
    scale: float = 0.0
    differing: int = 0

    @property
    def relative(self) -> float:
        return self.largest / self.scale if self.scale else self.largest


@dataclass(slots=True)
class Parity:
    """What a conversion was compared by.

    Attributes:
        arrays: of each key, the bits. runs: of each blob that was computed on both sides, the values.
        inputs: name → shape of the input that was run. tolerance: of `Difference.relative` of a run.
    """

    arrays: list[ProofFailure] = field(default_factory=list)
    runs: list[ProofFailure] = field(default_factory=list)
    inputs: dict[str, Shape] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    @property
    def worst(self) -> ProofFailure | None:
        """The blob of the runs with the largest relative difference."""
        return max(self.runs, key=lambda run: _order(run.relative), default=None)

    @property
    def ok(self) -> bool:
        return not any(array.differing for array in self.arrays) and not self._beyond()

    def _beyond(self) -> list[ProofFailure]:
        return [run for run in self.runs if not run.relative <= self.tolerance]

    def check(self, path: str) -> None:
        """Raises NetcError W770 (other bits) or W771 (a difference beyond the tolerance)."""
        wrong = [array for array in self.arrays if array.differing]
        if wrong:
            total = sum(array.differing for array in wrong)
            message = f'"{wrong[0].name}" and {counted(len(wrong) - 1, "other array")} were read back with other values'
            raise NetcError("W770", f"{message} ({total:,} differ)", Place(path), OTHER_BITS)
        if self._beyond():
            worst = max(self._beyond(), key=lambda run: _order(run.relative))
            raise NetcError(
                "W771",
                f'the converted net gives another "{worst.name}": the largest difference is {worst.largest:.3g} '
                f"where values reach {worst.scale:.3g}; allowed is {self.tolerance:g} of that",
                Place(path),
                OTHER_VALUES,
            )

    def line(self) -> str:
        """The proof in a line."""
        parts = []
        if self.arrays:
            values = sum(math.prod(array.shape) for array in self.arrays)
            parts.append(f"{counted(len(self.arrays), 'array')} ({values:,} values) read back bit for bit")
        if self.worst is not None:
            shapes = ", ".join(f"{name} {format_shape(shape)}" for name, shape in self.inputs.items())
            parts.append(
                f"{counted(len(self.runs), 'blob')} of a run on {shapes}: largest difference {self.worst.largest:.2g} "
                f'({self.worst.relative:.1g} of the largest value) in "{self.worst.name}"'
            )
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a difference that is not a finite number is null."""
        runs = [asdict(run) | {"relative": run.relative} for run in self.runs]
        found = {
            "ok": self.ok,
            "arrays": [{"key": a.name, "shape": a.shape, "differing": a.differing} for a in self.arrays],
            "inputs": self.inputs,
            "tolerance": self.tolerance,
            "blobs": [{key: _finite(value) for key, value in run.items() if key != "differing"} for run in runs],
        }
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain


def _order(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- bits --------------------------------------------------------------------------------------------------------------


def same_bits(name: str, written: Array, read: Array) -> ProofFailure:
    """Compare an array with the one that was read back: shape, type and every bit.
    Raises NetcError X110 where a mapped file cannot be read any more."""
    if not same_kind(written, read):
        return ProofFailure(name, written.shape, differing=max(written.size, 1))
    differing = 0
    for a, b in zip(pieces(written, _BLOCK), pieces(read, _BLOCK), strict=True):
        differing += differing_bits(a, b)
    return ProofFailure(name, written.shape, differing=differing)


def proved(wanted: Iterable[tuple[str, Array]], read: Mapping[str, Array]) -> list[ProofFailure]:
    """`same_bits` of each array with the one of its key that was read back; one that is missing differs."""
    return [same_bits(key, array, read.get(key, _NONE)) for key, array in wanted]


_NONE: Array = np.zeros((0,), "<f4")


def same_kind(a: Array, b: Array) -> bool:
    """Whether two arrays have the same shape, and the same type up to the order of bytes."""
    return a.shape == b.shape and a.dtype.newbyteorder("<") == b.dtype.newbyteorder("<")


# -- runs --------------------------------------------------------------------------------------------------------------


def compared(name: str, original: Array, converted: Array) -> ProofFailure:
    """Compare a blob of a run on both sides. NaN and infinity must stand in the same places."""
    if original.shape != converted.shape:
        return ProofFailure(name, original.shape, math.inf, 1.0)
    a, b = original.astype("f8"), converted.astype("f8")
    fine = np.isfinite(a)
    if not np.array_equal(fine, np.isfinite(b)) or not np.array_equal(a[~fine], b[~fine], equal_nan=True):
        return ProofFailure(name, original.shape, math.inf, 1.0)
    a, b = a[fine], b[fine]
    return ProofFailure(name, original.shape, float(np.abs(a - b).max(initial=0)), float(np.abs(a).max(initial=0)))


def compared_all(
    originals: Mapping[str, Array], converted: Mapping[str, Array], reaches: Mapping[str, float] | None = None
) -> list[ProofFailure]:
    """The same of every blob by name. A blob that is missing differs. `reaches`: of `reaches_of`; a blob whose values
    are below `CANCELLED` of that is rounding, and so may the other be."""
    empty: Array = np.zeros(0)
    found = [compared(name, array, np.asarray(converted.get(name, empty))) for name, array in originals.items()]
    return [_beside(blob, (reaches or {}).get(blob.name, 0.0)) for blob in found]


def _beside(blob: ProofFailure, reach: float) -> ProofFailure:
    if not blob.scale <= CANCELLED * reach:
        return blob
    return replace(blob, scale=max(blob.scale, reach * CANCELLED / TOLERANCE))


def reaches_of(blobs: Mapping[str, Array], steps: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    """Blob → its largest absolute value, or the largest that went into it, where it is nothing but what rounding left
    of that. `steps`: (bottoms, tops) of each layer, in order."""
    reaches: dict[str, float] = {}
    for bottoms, tops in steps:
        below = max((reaches.get(name, 0.0) for name in bottoms), default=0.0)
        for top in tops:
            own = _largest(blobs[top]) if top in blobs else below
            reaches[top] = below if own <= CANCELLED * below else own
    return reaches


def _largest(array: Array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))
