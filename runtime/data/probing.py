"""Shapes of data layers by their first record, for the compiler; what is opened for that is handed on to the feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.errors import Place
from netc.errors.origin import Origin
from netc.layers import registry
from netc.layers.base import Shape
from netc.runtime.data import can_probe, look, open_feed
from netc.runtime.data.records import Opened


class DataProbe:
    """The `probe` of a net that is going to be run (netc.layers.base.Probe). Sources are looked for near the file
    `path` too. It holds what it opens until somebody takes it, or it is closed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: dict[int, tuple[Any, Opened]] = {}
        """By the layer's message, which stays here so that its number is its own."""

    def __call__(self, param: Any, phase: int) -> Sequence[Shape]:
        if not can_probe(param):
            return open_feed(registry()[param.type](param, phase, Origin(Place(self.path))), phase, 0).shapes
        shapes, opened = look(param, phase, self.path)
        if opened is not None:
            self._drop(param)
            self._opened[id(param)] = param, opened
        return shapes

    def take(self, param: Any) -> Opened | None:
        """What was opened for the layer of this message; it is the caller's from now on."""
        return self._opened.pop(id(param), (None, None))[1]

    def _drop(self, param: Any) -> None:
        if (opened := self.take(param)) is not None:
            opened.records.close()

    def close(self) -> None:
        """Give back what nobody has taken."""
        for param, _ in list(self._opened.values()):
            self._drop(param)
