"""The parameter blobs that a layer declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(slots=True)
class ParamBlob:
    """A parameter blob of a layer: its name in `state_dict`, its shape and the FillerParameter that starts it.

    `frozen`: Caffe forces lr_mult 0 (BatchNorm's sums). `filler` None means constant 0. `start`: an array to start from
    instead (what a Python layer's own setup put there). `multipliers`: the lr_mult and decay_mult that hold whatever
    the layer's param block says. `unread`: no pass looks at it, so a file may leave it out.
    """

    name: str
    shape: Shape
    filler: Any = None
    frozen: bool = False
    start: Any = field(default=None, compare=False)
    multipliers: tuple[float, float] | None = None
    unread: bool = False
