"""Two files of arrays beside each other, whatever their formats: which blobs differ, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netc.layers.base import Shape
from netc.weights.arrays import Array, without_leading_ones
from netc.weights.contents import Contents, Held
from netc.weights.pieces import differing_bits, pieces

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
RESHAPED, SHAPE, ONLY_A, ONLY_B = "other shape, equal values", "other shape", "only in A", "only in B"
FINE = frozenset({EQUAL, WITHIN})


@dataclass(frozen=True, slots=True)
class Difference:
    """One blob of two files.

    Attributes:
        layer, blob: its layer and its number there (" diff" behind it for the gradient).
        verdict: one of the words above.
        bits: every value has the same bits in both.
        shapes: in A and in B, None where the file has no such blob.
        absolute: the largest |a − b|; inf where one of two values is not finite and the other is another.
        relative: the largest |a − b| / max(|a|, |b|).
        beyond: how many values lie beyond the tolerance.
    """

    layer: str
    blob: str
    verdict: str
    shapes: tuple[Shape | None, Shape | None]
    bits: bool = False
    absolute: float = 0.0
    relative: float = 0.0
    beyond: int = 0


def compare(a: Contents, b: Contents, absolute: float = 0.0, relative: float = 0.0) -> Iterator[Difference]:
    """Blob by blob, in the order of A and then of B. Values agree if |a − b| ≤ absolute + relative · max(|a|, |b|).
    Raises NetcError X110."""
    left, right = _by_name(a), _by_name(b)
    for key in left | right:
        mine, theirs = left.get(key), right.get(key)
        if mine is None or theirs is None:
            shapes = (mine.array.shape if mine else None, theirs.array.shape if theirs else None)
            yield Difference(*key, ONLY_A if mine else ONLY_B, shapes)
        else:
            yield _pair(key, mine, theirs, absolute, relative)


def facts_that_differ(a: Contents, b: Contents) -> dict[str, tuple[str | int | None, str | int | None]]:
    """What two solver states say besides their arrays, where it is not the same."""
    if "iter" not in a.facts or "iter" not in b.facts:
        return {}
    return {name: (a.facts.get(name), b.facts.get(name)) for name in a.facts if a.facts[name] != b.facts.get(name)}


def _by_name(found: Contents) -> dict[tuple[str, str], Held]:
    return {(part.name, held.label): held for part in found.parts if not part.replaced for held in part.held}


def _pair(key: tuple[str, str], mine: Held, theirs: Held, absolute: float, relative: float) -> Difference:
    a, b = mine.array, theirs.array
    shapes = (a.shape, b.shape)
    if a.size != b.size:
        return Difference(*key, SHAPE, shapes)
    bits, largest, ratio, beyond = _values(a, b, absolute, relative)
    verdict = EQUAL if not largest else DIFFERENT if beyond else WITHIN
    if without_leading_ones(a.shape) != without_leading_ones(b.shape):
        verdict = SHAPE if beyond else RESHAPED
    return Difference(*key, verdict, shapes, bits, largest, ratio, beyond)


def _values(a: Array, b: Array, absolute: float, relative: float) -> tuple[bool, float, float, int]:
    """(same bits, largest difference, largest relative difference, values beyond the tolerance)."""
    bits, largest, ratio, beyond = a.dtype == b.dtype, 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for one, other in zip(pieces(a), pieces(b), strict=True):
            if one.dtype == other.dtype and not differing_bits(one, other):
                continue
            bits = False
            apart, size = _apart(one.astype("f8"), other.astype("f8"))
            largest = max(largest, float(apart.max()))
            ratio = max(ratio, float(np.nanmax(np.where(apart > 0, apart / size, 0))))
            beyond += int(np.count_nonzero(apart > absolute + relative * size))
    return bits, largest, ratio, beyond


def _apart(a: Array, b: Array) -> tuple[Array, Array]:
    """(|a − b|, max(|a|, |b|)): 0 where both are NaN or the same infinity, inf and 1 where only one is finite."""
    apart, size = np.abs(a - b), np.maximum(np.abs(a), np.abs(b))
    odd = ~(np.isfinite(a) & np.isfinite(b))
    if odd.any():
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart[odd] = np.where(same[odd], 0, math.inf)
        size[odd] = 1
    return apart, size
