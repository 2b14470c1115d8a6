"""Messages that a plug-in declares: checked, and put into the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc import proto

FIRST = 20000
"""Below lie the numbers of Caffe, its forks and netc."""

_LAST = (1 << 29) - 1
_RESERVED = range(19000, 20000)
_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
"""Names of types → their numbers in protobuf."""

_MESSAGE, _ENUM = 11, 14
_OPTIONAL, _REQUIRED, _REPEATED = 1, 2, 3


class Misdeclared(Exception):
    """A declaration that cannot be put into the schema; the text is the reason."""


@dataclass(frozen=True)
class Field:
    """A field of a plug-in's message.

    `number`: its own, for files in the binary format. `type`: float, double, int32, int64, uint32, uint64, bool,
    string, bytes, a message of Caffe's ("FillerParameter"), or the names of an enum's values (["SOFT", "HARD"], counted
    from 0). `default`: what it is where a file does not give it. `doc`: a line about it.
    """

    number: int
    type: str | Sequence[str]
    default: Any = None
    repeated: bool = False
    required: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Declaration:
    """A message, and the LayerParameter field of that type."""

    field: str
    name: str
    number: int
    fields: Mapping[str, Field]

    def __post_init__(self) -> None:
        """Everything that can be said without the other declarations is said at the plug-in's own line."""
        for what, name in (("field", self.field), ("message", self.name)):
            if not (name.isidentifier() and name.isascii()):
                raise Misdeclared(f'"{name}" is not a name for a {what}')
        if not FIRST <= self.number <= _LAST:
            raise Misdeclared(f"the number of {self.field} is {self.number}; it lies between {FIRST} and {_LAST}")
        _check_free(self)
        _check_numbers(self)
        for name, field in self.fields.items():
            _check_field(name, field)


def _check_free(declared: Declaration) -> None:
    layer = proto.LayerParameter.DESCRIPTOR
    taken = layer.fields_by_name.get(declared.field) or layer.fields_by_number.get(declared.number)
    if taken is not None:
        raise Misdeclared(f"LayerParameter has the field {taken.name} = {taken.number} already")
    if declared.name in proto.messages():
        raise Misdeclared(f"there is a message {declared.name} already")


def _check_numbers(declared: Declaration) -> None:
    seen: dict[int, str] = {}
    for name, field in declared.fields.items():
        if not 1 <= field.number <= _LAST or field.number in _RESERVED:
            raise Misdeclared(f"{name} cannot have the number {field.number}")
        if field.number in seen:
            raise Misdeclared(f"{seen[field.number]} and {name} have the same number, {field.number}")
        seen[field.number] = name


def _check_field(name: str, field: Field) -> None:
    if isinstance(field.type, str) and field.type not in _SCALARS and field.type not in proto.messages():
        known = f"{', '.join(_SCALARS)}, a message such as FillerParameter, or a list of an enum's names"
        raise Misdeclared(f'{name} is a "{field.type}"; there are {known}')
    if field.repeated and (field.required or field.default is not None):
        raise Misdeclared(f"{name} is repeated: it cannot be required, or have a default")
    if field.default is not None:
        _default(name, field)


def _default(name: str, field: Field) -> str:
    """The default as protobuf writes it in a descriptor."""
    value = field.default
    if not isinstance(field.type, str):
        fits = value in field.type
    elif field.type == "bool":
        fits, value = isinstance(value, bool), str(value).lower()
    elif field.type in ("string", "bytes"):
        fits = isinstance(value, str)
    elif field.type in ("float", "double"):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = field.type in _SCALARS and isinstance(value, int) and not isinstance(value, bool)
    if not fits:
        raise Misdeclared(f"{name} cannot have the default {field.default!r}")
    return str(value)


# -- the schema --------------------------------------------------------------------------------------------------------


def extend(declarations: Sequence[Declaration]) -> None:
    """Put the messages into the schema. Raises Misdeclared where two of them are at odds."""
    if not declarations:
        return
    comments = {f"{d.name}.{name}": field.doc for d in declarations for name, field in d.fields.items()}
    comments |= {f"LayerParameter.{d.field}": "" for d in declarations} | {d.name: "" for d in declarations}
    try:
        proto.extend([(d.field, d.number, _message(d)) for d in declarations], comments)
    except (TypeError, ValueError) as error:
        raise Misdeclared(str(error)) from None


def _message(declared: Declaration) -> Any:
    from google.protobuf.descriptor_pb2 import DescriptorProto

    message: Any = DescriptorProto(name=declared.name)
    for name, field in declared.fields.items():
        label = _REPEATED if field.repeated else _REQUIRED if field.required else _OPTIONAL
        entry: Any = message.field.add(name=name, number=field.number, label=label)
        if not isinstance(field.type, str):
            entry.type, entry.type_name = _ENUM, _enum(message, declared.name, name, field.type)
        elif field.type in _SCALARS:
            entry.type = _SCALARS[field.type]
        else:
            entry.type, entry.type_name = _MESSAGE, f".{proto.PACKAGE}.{field.type}"
        if field.default is not None:
            entry.default_value = _default(name, field)
    return message


def _enum(message: Any, owner: str, field: str, names: Sequence[str]) -> str:
    """Add the enum of a field, named after it; returns its full name."""
    kind = message.enum_type.add(name="".join(part.capitalize() for part in field.split("_")))
    for number, name in enumerate(names):
        kind.value.add(name=name, number=number)
    return f".{proto.PACKAGE}.{owner}.{kind.name}"
