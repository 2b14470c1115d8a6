"""What every source of boxes gives: the boxes of a picture, found by its name.

Whatever a source counts from, here a box is its edges in pixels from the left upper corner: x1 y1 x2 y2, that of the
whole picture being 0 0 W H.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netc.errors import Place


@dataclass(frozen=True, slots=True)
class Box:
    """`name`: of its class, "" where the source does not tell; `place`: where it stands."""

    name: str
    edges: tuple[float, float, float, float]
    place: Place


@dataclass(frozen=True, slots=True)
class Annotation:
    """The boxes of a picture, and the (width, height) that it has by its source, where that tells."""

    boxes: Sequence[Box]
    size: tuple[int, int] | None = None


class Annotations:
    """Boxes by their pictures' names; a name in a folder is found by its last part too, where only one ends so."""

    def __init__(self, path: str, found: Mapping[str, Annotation]) -> None:
        self.path, self.found = path, found
        short: dict[str, list[str]] = {}
        for name in found:
            short.setdefault(os.path.basename(name), []).append(name)
        self._short = {last: names[0] for last, names in short.items() if len(names) == 1}

    def of(self, name: str) -> Annotation | None:
        """Raises NetcError D565 where what stands there is not what it should be."""
        key = self._key(name)
        return None if key is None else self.found[key]

    def _key(self, name: str) -> str | None:
        return name if name in self.found else self._short.get(os.path.basename(name))

    def names(self) -> Sequence[str] | None:
        """The pictures, in the order of the source; None where each picture has a file of its own."""
        return list(self.found)

    def unused(self, names: Iterable[str]) -> list[str]:
        """What there are boxes of, besides these pictures."""
        used = {self._key(name) for name in names}
        return [name for name in self.found if name not in used]
