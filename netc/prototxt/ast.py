"""The syntax tree of a prototxt: messages, fields and scalars, each with its offset in the source.

The tree knows nothing of the schema; `bind` checks it against the descriptors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Scalar:
    """One scalar as written: `kind` is "number", "name" or "string"; a minus sign is part of `text`.

    A string's `text` is the raw source of its (possibly several, adjacent) literals, quotes included.
    """

    kind: str
    text: str
    offset: int


@dataclass(slots=True)
class Message:
    """`{ … }`, `< … >` or the whole file, with its fields in order."""

    fields: list[FieldNode] = field(default_factory=list)
    offset: int = 0

    def named(self, name: str) -> Iterator[FieldNode]:
        return (f for f in self.fields if f.name == name)


@dataclass(slots=True)
class FieldNode:
    """`name: value` or `name { … }`. `value` is a list where the source has `[ … ]`."""

    name: str
    value: Scalar | Message | list[Scalar | Message]
    offset: int
    colon: bool = True

    def values(self) -> list[Scalar | Message]:
        return self.value if isinstance(self.value, list) else [self.value]
