"""A classification task on another data set: its pictures, their labels, and how they are split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["mean average precision", "mean class recall"]

PRECISION, RECALL = "average precision ({})", "recall"
"""What figures are called: by a rule, and of a class."""


@dataclass(frozen=True, slots=True)
class Item:
    """A picture, or a part of one. `picture`: its name, from the set's folder; `path`: where it lies; `box`: the part,
    x1 y1 x2 y2 as edges in pixels from the left upper corner, and `part` what it is called; None and "" for the whole.
    """

    picture: str
    path: str
    box: tuple[float, float, float, float] | None = None
    part: str = ""

    @property
    def key(self) -> str:
        """What its row is called in a file of features."""
        return f"{self.picture} {self.part}" if self.part else self.picture


@dataclass(frozen=True, slots=True)
class Split:
    """Places of `Task.items` to train on and to test on."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Task:
    """`labels` (items, classes): 1 for an item of the class, -1 for one that is not, 0 for one that counts as neither
    (VOC's "difficult"). `note`: what else should be said beside the figures."""

    name: str
    classes: Sequence[str]
    items: Sequence[Item]
    labels: NDArray[np.int8]
    splits: Sequence[Split]
    measure: Measure
    note: str = ""

    def without(self, gone: Collection[str]) -> Task:
        """The same without the pictures, or the parts of pictures, of these names."""
        kept = [place for place, item in enumerate(self.items) if not {item.picture, item.key} & set(gone)]
        place_of = np.full(len(self.items), -1, np.int64)
        place_of[kept] = np.arange(len(kept))
        splits = [Split(*(_known(place_of[places]) for places in (one.train, one.test))) for one in self.splits]
        return replace(self, items=[self.items[place] for place in kept], labels=self.labels[kept], splits=splits)


def _known(places: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = places[places >= 0]
    return found
