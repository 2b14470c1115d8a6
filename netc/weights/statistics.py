"""Statistics and a hash of an array, in one pass of bounded memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.layers.base import Shape
from netc.weights.arrays import Array, without_leading_ones
from netc.weights.pieces import pieces


@dataclass(frozen=True, slots=True)
class Summary:
    """`mean`, `std` (of the population), `least` and `most` are those of the finite values, None where there are none.
    `sha256`: of `shape_line`, then the values as little-endian float32 in C order; the same in every file format."""

    count: int
    mean: float | None
    std: float | None
    least: float | None
    most: float | None
    zeros: int
    nans: int
    infinities: int
    sha256: str

    @property
    def not_finite(self) -> int:
        return self.nans + self.infinities


@dataclass(slots=True)
class _Totals:
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    zeros: int = 0
    nans: int = 0
    infinities: int = 0

    def add(self, piece: Array) -> None:
        least, most = float(piece.min()), float(piece.max())
        if not (math.isfinite(least) and math.isfinite(most)):
            finite = np.isfinite(piece)
            nans = int(np.count_nonzero(np.isnan(piece)))
            self.nans += nans
            self.infinities += piece.size - int(np.count_nonzero(finite)) - nans
            piece = piece[finite]
            if not piece.size:
                return
            least, most = float(piece.min()), float(piece.max())
        self.least, self.most = min(self.least, least), max(self.most, most)
        self.zeros += piece.size - int(np.count_nonzero(piece))
        self._merge(piece.astype("f8"))

    def _merge(self, values: Array) -> None:
        """Means and sums of squares of two sets make those of their union (Chan, Golub and LeVeque)."""
        count, mean = values.size, float(values.mean())
        values -= mean
        total, apart = self.finite + count, mean - self.mean
        self.squares += float(values @ values) + apart * apart * self.finite * count / total
        self.mean += apart * count / total
        self.finite = total


def summarise(array: Array, helper: Executor) -> Summary:
    """Statistics of an array; `helper` hashes a piece while its statistics are taken. Raises NetcError X110."""
    digest = hashlib.sha256(shape_line(array.shape))
    totals = _Totals()
    with np.errstate(all="ignore"):
        for piece in pieces(array):
            hashed = helper.submit(digest.update, _single(piece))
            totals.add(piece)
            hashed.result()
    some: Callable[[float], float | None] = lambda value: value if totals.finite else None  # noqa: E731
    return Summary(
        count=array.size,
        mean=some(totals.mean),
        std=some(math.sqrt(totals.squares / max(1, totals.finite))),
        least=some(totals.least),
        most=some(totals.most),
        zeros=totals.zeros,
        nans=totals.nans,
        infinities=totals.infinities,
        sha256=digest.hexdigest(),
    )


def shape_line(shape: Shape) -> bytes:
    """The axes with commas between them and a line feed: "64,3,3,3\\n". 1s in front are left out, so that shapes of the
    old style, which always have four axes, count as what they stand for."""
    return (",".join(map(str, without_leading_ones(shape))) + "\n").encode()


def _single(piece: Array) -> memoryview:
    values: Any = piece.astype("<f4", copy=False)
    return memoryview(values).cast("B")
