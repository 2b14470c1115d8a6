"""A net on its way through the stages: the file's message, then the layers of one phase; each layer with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, islice
from typing import Any

from netc.errors import NetcError, Place
from netc.layers.base import Origin
from netc.prototxt.ast import Message
from netc.prototxt.source import Source


@dataclass(slots=True)
class Draft:
    """`origins` runs parallel to `param.layer`. A draft made from a message (not from text) has no source."""

    param: Any
    origins: list[Origin] = field(default_factory=list)
    source: Source | None = None
    tree: Message | None = None

    @property
    def path(self) -> str:
        return self.source.path if self.source else "<NetParameter>"

    def copy(self) -> Draft:
        """A draft that the later stages may change while this one stays: one file, parsed once, for several phases."""
        param = type(self.param)()
        param.CopyFrom(self.param)
        return Draft(param, list(self.origins), self.source, self.tree)

    def place(self, path: str) -> Place:
        """The place of a dotted field path of the net itself, or the file's name where it has none."""
        found = locate(self.source, self.tree, path) if self.source and self.tree else None
        return found or Place(self.path)

    def fail(self, code: str, message: str, path: str = "", hint: str | None = None) -> NetcError:
        return NetcError(code, message, self.place(path), hint)


@dataclass(slots=True)
class Layers:
    """The layers of a draft that one phase has, in order. They are taken out of its message into a list: there one can
    be left out or put between two others without a copy of the rest. `origins` runs parallel to `params`."""

    draft: Draft
    params: list[Any]
    origins: list[Origin]
    dropped: dict[str, tuple[str, Origin]] = field(default_factory=dict)
    """Top of a layer that the phase, level or stages leave out → the layer's name and origin."""

    def keep(self, stays: Sequence[bool]) -> None:
        """Drop the layers whose flag is False."""
        self.params = list(compress(self.params, stays))
        self.origins = list(compress(self.origins, stays))


def origins_of(source: Source, tree: Message, field_name: str = "layer") -> list[Origin]:
    """The origin of each `field_name { … }` block of the file, in order."""
    found = []
    for item in tree.named(field_name):
        for value in item.values():
            if isinstance(value, Message):
                offset, length = (item.offset, len(item.name)) if value is item.value else (value.offset, 1)
                found.append(origin(source, value, offset, length))
    return found


def origin(source: Source, message: Message, offset: int, length: int) -> Origin:
    return Origin(partial(source.place, offset, length), partial(locate, source, message))


def locate(source: Source, message: Message, path: str) -> Place | None:
    """The place of a dotted path such as "convolution_param.kernel_size" or "bottom[1]"; None if it is not written."""
    for step in path.split("."):
        name, _, index = step.rstrip("]").partition("[")
        spots = ((item, value) for item in message.named(name) for value in item.values())
        spot = next(islice(spots, int(index) if index else 0, None), None)
        if spot is None:
            return None
        item, value = spot
        if isinstance(value, Message):
            message, place = value, source.place(item.offset, len(item.name))
        else:
            place = source.place(value.offset, len(value.text))
    return place
