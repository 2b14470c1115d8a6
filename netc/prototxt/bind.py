"""Syntax tree → protobuf message: every field checked against the schema, all errors of the file at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from netc.errors import Findings, NetcError, raise_all
from netc.prototxt.ast import FieldNode, Message, Scalar
from netc.prototxt.forks import EACH_AXIS
from netc.prototxt.scalars import FieldInfo, Misfit, convert, wanted
from netc.prototxt.source import Source
from netc.prototxt.unknown import FILES, Types, explain, other_file


def bind(tree: Message, message_class: Callable[[], Any], source: Source, types: Types = frozenset) -> Any:
    """A new message filled from `tree`. `types`: the layer types that there are, asked for when a field is unknown.

    Raises NetcError S201 (unknown field), S202 (wrong kind of value), S203 (out of range), S204 (unknown enum value),
    S205 (field given twice), S206 (list on a singular field), S207 (bad string escape), S208 (required field missing),
    S209 (a solver where a net is expected, or another of these files).
    """
    message = message_class()
    if (other := other_file(tree, message.DESCRIPTOR)) is not None:
        raise _other_file(*other, FILES[message.DESCRIPTOR.name], source)
    binder = _Binder(source, types)
    binder.fill(message, message.DESCRIPTOR, tree)
    raise_all(binder.errors)
    return message


_REMEDIES = {
    "net": "the file that a solver's `net:` names is the net",
    "solver": "a solver has a line `net: …`",
    "schedule": "a schedule has blocks `step { solver: … }`; it is for netc train",
    "table": "a table has blocks `row { net { … } }`; it is for netc reproduce",
}


def _other_file(found: str, field: FieldNode, expected: str, source: Source) -> NetcError:
    place = source.place(field.offset, len(field.name))
    message = f'this is a {found}, not a {expected}: "{field.name}" is a field of {found}s'
    return NetcError("S209", message, place, _REMEDIES[found if found in ("schedule", "table") else expected])


@cache
def _fields(descriptor: Descriptor) -> dict[str, FieldInfo]:
    return {f.name: FieldInfo(f.name, f.type, f.is_repeated, f.message_type, f.enum_type) for f in descriptor.fields}


@cache
def _required(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(f.name for f in descriptor.fields if f.is_required)


def _given_often(tree: Message) -> set[str]:
    """The fields that are given several times."""
    return {name for name, count in Counter(field.name for field in tree.fields).items() if count > 1}


class _Binder:
    def __init__(self, source: Source, types: Types) -> None:
        self.source, self.types = source, types
        self.errors = Findings()

    def fail(self, code: str, message: str, offset: int, length: int, hint: str | None = None) -> None:
        self.errors.add(NetcError(code, message, self.source.place(offset, length), hint))

    def fill(self, message: Any, descriptor: Descriptor, tree: Message) -> None:
        known = _fields(descriptor)
        seen: dict[str, FieldNode] = {}
        each_axis = EACH_AXIS.get(descriptor.name, {})
        often = _given_often(tree) if each_axis else ()
        for field in tree.fields:
            info = known.get(field.name)
            if field.name in often and field.name in each_axis:
                info = known[each_axis[field.name]]
            if info is None:
                self._unknown(field, descriptor, tree)
            elif info.repeated:
                self._repeated(message, info, field)
            elif field.name in seen:
                self._twice(field, seen[field.name], descriptor)
            else:
                seen[field.name] = field
                self._singular(message, info, field, descriptor)
        for name in _required(descriptor):
            if name not in seen:
                self.fail("S208", f'{descriptor.name} needs "{name}"', tree.offset, 1, f"add `{name}: …` to this block")

    def _unknown(self, field: FieldNode, descriptor: Descriptor, tree: Message) -> None:
        end, hint = explain(field, descriptor, tree, self.types)
        message = f'{descriptor.name} has no field "{field.name}"{end}'
        self.fail("S201", message, field.offset, len(field.name), hint)

    def _twice(self, field: FieldNode, first: FieldNode, descriptor: Descriptor) -> None:
        place = self.source.place(field.offset, len(field.name))
        error = NetcError(
            "S205",
            f'"{field.name}" is given twice; {descriptor.name} takes it once',
            place,
            "keep one of the two",
            [(self.source.place(first.offset, len(first.name)), "first given here")],
        )
        self.errors.add(error)

    def _repeated(self, message: Any, info: FieldInfo, field: FieldNode) -> None:
        if info.message is None and field.value == [] and not field.colon:
            self._no_colon(field)
        target = getattr(message, info.name)
        for value in field.values():
            if info.message is not None:
                if (child := self._message(info, value)) is None:
                    return  # the other values of the list are not better
                self.fill(target.add(), info.message, child)
            elif (scalar := self._scalar(info, value, field)) is not None:
                target.append(scalar)

    def _singular(self, message: Any, info: FieldInfo, field: FieldNode, descriptor: Descriptor) -> None:
        value = field.value
        if isinstance(value, list):
            hint = f"write one `{info.name}: …`" if len(value) != 1 else "take away the brackets"
            self.fail("S206", f'"{info.name}" takes one value, not a list', field.offset, len(field.name), hint)
        elif info.message is not None:
            if (tree := self._message(info, value)) is not None:
                child = getattr(message, info.name)
                child.SetInParent()
                self.fill(child, info.message, tree)
        elif (scalar := self._scalar(info, value, field)) is not None:
            setattr(message, info.name, scalar)

    def _message(self, info: FieldInfo, value: Scalar | Message) -> Message | None:
        if isinstance(value, Message):
            return value
        assert info.message is not None
        inner = f"{info.message.fields[0].name}: " if len(info.message.fields) == 1 else ""
        self.fail(
            "S202",
            f'"{info.name}" is a block ({info.message.name}), not a value',
            value.offset,
            len(value.text),
            f"write `{info.name} {{ {inner}… }}`",
        )
        return None

    def _scalar(self, info: FieldInfo, value: Scalar | Message, field: FieldNode) -> Any:
        if isinstance(value, Message):
            self.fail("S202", f'"{info.name}" is {wanted(info)}, not a block', field.offset, len(field.name))
            return None
        if not field.colon:
            self._no_colon(field)
            return None
        try:
            return convert(info, value)
        except Misfit as bad:
            start, length = bad.part or (0, len(value.text))
            self.fail(bad.code, bad.message, value.offset + start, length, bad.hint)
        return None

    def _no_colon(self, field: FieldNode) -> None:
        self.fail("S202", f'expected ":" after "{field.name}"', field.offset, len(field.name))
