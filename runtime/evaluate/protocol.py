"""How an image is looked at, as values: which sizes, which windows, mirrored or not, and what is averaged.

    Protocol(scales=(256, 384), view="both").looks()     what has to be computed, look by look
    Protocol(...).combined({look: posteriors})            the protocol's posterior of them

A look is one size, one way to cut and one side: protocols that share looks share their results. Posteriors are averaged
over the two sides, over the sizes, and over views (Simonyan and Zisserman, Sect. 3.2); over nets by who has several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError

DENSE, CROPS, CENTRE, BOTH = VIEWS = ("dense", "crops", "centre", "both")
SCORES, POSTERIORS = ORDERS = ("scores", "posteriors")
GRID = 5
"""Crops a side of the grid (Sect. 3.2: 5 × 5, 50 with the mirrored ones)."""

MOST_SCALE = 1 << 14


class Look(NamedTuple):
    """One pass over an image: its shorter side, what is cut (DENSE: nothing), and whether it is mirrored."""

    view: str
    scale: int
    flip: bool

    def __str__(self) -> str:
        return f"{self.view}-{self.scale}{'-flip' if self.flip else ''}"


class Window(NamedTuple):
    """A crop's first row and column."""

    top: int
    left: int


@dataclass(frozen=True)
class Protocol:
    """A way to test a net.

    Attributes:
        scales: the shorter sides Q to which an image is rescaled.
        view: "dense" (the whole image), "crops" (5 × 5), "centre" (the middle crop), "both" (dense and crops).
        flip: whether the mirrored image counts as well.
        order: of several places of a map, "scores" averages the scores and takes the soft-max of the mean,
            "posteriors" averages the soft-max of each place (T11). A crop that gives a single score a class has one
            place; the posteriors of crops are averaged in either order.
    """

    scales: tuple[int, ...] = (256,)
    view: str = DENSE
    flip: bool = True
    order: str = SCORES

    def __post_init__(self) -> None:
        """Raises NetcError R732 for what is none of these."""
        _one_of("view", self.view, VIEWS)
        _one_of("order", self.order, ORDERS)
        good = all(is_whole(scale) and 1 <= scale <= MOST_SCALE for scale in self.scales)
        if not self.scales or not good or len(set(self.scales)) < len(self.scales):
            found = f"scales are {self.scales!r}"
            hint = f"whole numbers of pixels from 1 to {MOST_SCALE}, each once: scales=(256, 384)"
            raise NetcError("R732", found, None, hint)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The views whose posteriors are averaged."""
        return (DENSE, CROPS) if self.view == BOTH else (self.view,)

    def looks(self) -> Iterator[Look]:
        """All that has to be computed, size by size."""
        for scale in self.scales:
            for view in self.parts:
                yield Look(view, scale, False)
                if self.flip:
                    yield Look(view, scale, True)

    def combined(self, found: Mapping[Look, NDArray[Any]], order: str | None = None) -> NDArray[np.float64]:
        """The posterior of one image or of several. `found`: of each look (2 orders, …, classes)."""
        row = ORDERS.index(order or self.order)
        parts = [
            np.mean([found[look][row] for look in self.looks() if look.view == view], axis=0) for view in self.parts
        ]
        mean: NDArray[np.float64] = np.mean(parts, axis=0, dtype=np.float64)
        return mean

    def __str__(self) -> str:
        scales = ",".join(map(str, self.scales))
        return f"{self.view}, Q = {scales}{', with flips' if self.flip else ''}"


def protocol(scales: Any = (256,), view: str = DENSE, flip: bool = True, order: str = SCORES) -> Protocol:
    """The protocol that a caller asks for; `scales` may be one number. Raises NetcError R732."""
    given = tuple(scales) if isinstance(scales, Iterable) and not isinstance(scales, str) else (scales,)
    whole = tuple(int(scale) if isinstance(scale, np.integer) else scale for scale in given)
    return Protocol(whole, view, bool(flip), order)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number: True and False are not meant so."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _one_of(what: str, value: Any, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise NetcError("R732", f"{what} is {value!r}", None, f"one of {', '.join(known)}")


def windows(view: str, size: tuple[int, int], crop: tuple[int, int]) -> list[Window]:
    """The crops of a view of an image, row by row. "crops": a grid from corner to corner, rounded to whole pixels by
    numpy's rint; "centre": the data layers' middle."""
    rows, columns = (whole - part for whole, part in zip(size, crop, strict=True))
    if view == CENTRE:
        return [Window(rows // 2, columns // 2)]
    tops, lefts = (np.rint(np.linspace(0, room, GRID)).astype(int).tolist() for room in (rows, columns))
    return [Window(top, left) for top in tops for left in lefts]
