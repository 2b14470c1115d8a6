"""Where a thing stands in the source, field by field."""

from __future__ import annotations

from collections.abc import Callable

from netc.errors import Place


class Origin:
    """Where a layer stands in the source. `locate` finds the place of a dotted field path inside it, or None.

    Places are made when they are asked for: a net without errors needs none.
    """

    __slots__ = ("_start", "locate")

    def __init__(
        self, start: Place | Callable[[], Place], locate: Callable[[str], Place | None] = lambda path: None
    ) -> None:
        self._start, self.locate = start, locate

    @property
    def start(self) -> Place:
        return self._start if isinstance(self._start, Place) else self._start()

    def place(self, path: str = "") -> Place:
        """The place of the longest part of `path` that the source has; the layer's own where it has none."""
        while path:
            if (found := self.locate(path)) is not None:
                return found
            path = path.rpartition(".")[0]
        return self.start
