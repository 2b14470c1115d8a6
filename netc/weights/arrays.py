"""What files of arrays hold: layer name → arrays with what else decides whether they fit a net; a solver's state."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from netc.layers.base import Shape

Array = NDArray[Any]


class Weights(dict[str, list[Array]]):
    """Layer name → its arrays in Caffe's blob order. Layers without arrays are listed too (Caffe checks their count).

    Attributes:
        path: the file, "" where there is none.
        legacy: (layer, blob) whose shape was written as num, channels, height, width (C3D: with a length before the
            height). Such an array has four axes (five) and fits any shape that equals them once 1s are put in front
            (Blob::ShapeEquals).
        partial: an HDF5 file, which leaves out the blobs that another layer owns.
        absent: (layer, blob) left out in the middle of a list; the array in its place is empty.
        diffs: layer name → the `diff` of each blob (a gradient, or the last update of a solver with snapshot_diff),
            empty where the file has none; filled only on request, and only with layers that have some.
        metadata: the texts a .safetensors carries beside its tensors.
    """

    def __init__(
        self,
        layers: Mapping[str, Iterable[Array]] | None = None,
        path: str | os.PathLike[str] = "",
        legacy: Iterable[tuple[str, int]] = (),
        partial: bool = False,
    ) -> None:
        super().__init__({name: list(arrays) for name, arrays in (layers or {}).items()})
        self.path = os.fspath(path)
        self.legacy = set(legacy)
        self.partial = partial
        self.absent: set[tuple[str, int]] = set()
        self.diffs: dict[str, list[Array]] = {}
        self.metadata: dict[str, str] = {}


@dataclass(slots=True)
class SolverState:
    """Caffe's SolverState. `history`: the arrays of the update rule, in the net's order of parameters."""

    iteration: int = 0
    learned_net: str = ""
    history: list[Array] = field(default_factory=list)
    current_step: int = 0


def is_real(shape: Shape) -> bool:
    """Whether a shape's axes, those of size 0 left out, come to no more values than an array can address: no values
    at all can claim to be 0 × 2⁴⁰ × 2⁴⁰, and numpy cannot shape them so."""
    return math.prod(filter(None, shape)) < 1 << 59


def without_leading_ones(shape: Shape) -> Shape:
    """A shape without the 1s in front."""
    while shape[:1] == (1,):
        shape = shape[1:]
    return shape


def fits(found: Shape, target: Shape, legacy: bool) -> bool:
    """Whether Caffe would copy an array of shape `found` into a blob of shape `target`."""
    if not legacy:
        return found == target
    return len(target) <= len(found) and found == (1,) * (len(found) - len(target)) + target
