"""A classification task on another data set: its pictures, their labels, and how they are split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["mean average precision", "mean class recall"]


@dataclass(frozen=True, slots=True)
class Item:
    """A picture, or a part of one. `key`: what it is called in files of features; `path`: where it lies; `box`: the
    part, x1 y1 x2 y2 as edges in pixels from the left upper corner, or None for the whole picture."""

    key: str
    path: str
    box: tuple[float, float, float, float] | None = None


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
