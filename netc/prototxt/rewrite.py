"""The canonical form of a text, proved to mean what the text means before anybody writes it down."""

from __future__ import annotations

from collections import Counter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from netc.errors import NetcError, Place
from netc.prototxt.ast import Message, Scalar
from netc.prototxt.layout import layout
from netc.prototxt.parse import parse
from netc.prototxt.scalars import FieldInfo, Misfit, convert
from netc.prototxt.source import Source
from netc.prototxt.tidy import tidy


def formatted(source: Source) -> str:
    """The text in canonical form (`netc.prototxt.tidy`).

    Raises NetcError as `parse`; O150 where the result would not say the same, which is a fault of netc.
    """
    page = layout(source)
    text = tidy(page)
    again = Source(text, source.path)
    if meaning(parse(source)) != meaning(parse(again)):
        raise _changed(source.path, "the fields")
    if Counter(page.comments()) != Counter(layout(again).comments()):
        raise _changed(source.path, "the comments")
    return text


def _changed(path: str, what: str) -> NetcError:
    hint = "the file is untouched; please report it, with the file"
    return NetcError("O150", f"formatting would change {what}: a fault of netc", Place(path), hint)


def meaning(tree: Message) -> list[Any]:
    """What a tree says, in a form to compare: names and values in order, strings by their bytes."""
    return [
        (field.name, field.colon or not isinstance(field.value, Scalar), _value(field.value)) for field in tree.fields
    ]


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, Message):
        return meaning(value)
    return (value.kind, _bytes(value) if value.kind == "string" else value.text)


_BYTES = FieldInfo("", FieldDescriptor.TYPE_BYTES, False, None, None)


def _bytes(value: Scalar) -> Any:
    try:
        return convert(_BYTES, value)
    except Misfit:  # an escape that nobody knows
        return value.text
