"""Shapes of data layers for the commands that only look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.errors import NetcError
from netc.layers import registry
from netc.layers.base import Shape, format_shape
from netc.layers.sources import DATABASE, told_shapes

REMEDY = "or say how large its images are: --shape CHANNELS,HEIGHT,WIDTH"


@dataclass(slots=True)
class Told:
    """What `--shape` says: shapes of the records behind tops, by name; under "", of the images of every data layer, as
    they are before the crop."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    used: bool = False

    def of(self, layer: Any, phase: int) -> list[Shape] | None:
        """The shapes of a data layer's tops; None where nothing is said of it."""
        shapes = told_shapes(registry()[layer.type](layer, phase), self.shapes)
        self.used = self.used or shapes is not None
        return shapes


class Probe:
    """Shapes of a data layer as `told`, else from its first record or, where its data are not here, its settings."""

    def __init__(self, path: str, told: Told | None = None) -> None:
        self.path, self.told = path, told or Told()
        self.notes: list[str] = []

    def __call__(self, layer: Any, phase: int) -> Sequence[Shape]:
        from netc.files.paths import resolve
        from netc.runtime.data import can_probe, probe
        from netc.runtime.data.records import source_of

        told = self.told.of(layer, phase)
        if told is not None:
            self._note(layer, told, f'of layer "{layer.name}" --shape says that its images are')
            return told
        if not can_probe(layer):
            return registry()[layer.type](layer, phase).setup([])
        kind = registry()[layer.type]
        try:
            resolve(source_of(layer), self.path, "database" if kind.feed == DATABASE else "list")
        except NetcError as missing:
            return self._assumed(layer, phase, missing)
        return probe(layer, phase, self.path)

    def _assumed(self, layer: Any, phase: int, missing: NetcError) -> Sequence[Shape]:
        try:
            shapes = registry()[layer.type](layer, phase).setup([])
        except NetcError:
            hint = f"{missing.hint}; {REMEDY}" if missing.hint else REMEDY.removeprefix("or ")
            raise NetcError(missing.code, missing.message, missing.place, hint, missing.related) from None
        self._note(layer, shapes, f'the data of layer "{layer.name}" are not here: its images are taken to be')
        return shapes

    def _note(self, layer: Any, shapes: Sequence[Shape], said: str) -> None:
        self.notes.append(f"{said} {format_shape(tuple(shapes[0][1:]))}")
