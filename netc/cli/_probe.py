"""Shapes of data layers for the commands that only look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.errors import NetcError
from netc.layers import registry
from netc.layers.base import Shape, format_shape


class Probe:
    """Shapes of a data layer from its first record or, where its data are not here, from its settings."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.notes: list[str] = []

    def __call__(self, layer: Any, phase: int) -> Sequence[Shape]:
        from netc.paths import resolve
        from netc.runtime.data import can_probe, probe

        if not can_probe(layer):
            return registry()[layer.type](layer, phase).setup([])
        options = getattr(layer, registry()[layer.type].param_field or "")
        try:
            resolve(options.source, self.path, "database" if layer.type == "Data" else "list")
        except NetcError as missing:
            return self._assumed(layer, phase, missing)
        return probe(layer, phase, self.path)

    def _assumed(self, layer: Any, phase: int, missing: NetcError) -> Sequence[Shape]:
        try:
            shapes = registry()[layer.type](layer, phase).setup([])
        except NetcError:
            raise missing from None
        image = format_shape(tuple(shapes[0][1:]))
        self.notes.append(f'the data of layer "{layer.name}" are not here: its images are taken to be {image}')
        return shapes
