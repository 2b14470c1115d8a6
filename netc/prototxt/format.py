"""Message → text, byte for byte as protobuf's C++ TextFormat prints it (google/protobuf/text_format.cc).

Python's own printer differs: it writes `1000000.0` where C++ writes `1e+06`, and leaves UTF-8 as it is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

F = FieldDescriptor
_BYTES, _GROUP = 2, 3
_MOST_NESTED = 10
"""Levels of unknown fields that are looked for inside bytes, as in C++."""

_SMALLEST_NORMAL = 2.0**-126


def canonical(message: Any) -> str:
    """The message as text: fields in the order of their numbers, one a line, two blanks a level, ASCII only.

    Strings that are not valid UTF-8 are printed by their bytes; fields that the schema does not have (of a binary file)
    by their numbers, after the others, which no reader of text takes back.
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Any, indent: str) -> Iterator[str]:
    for field, value in message.ListFields():
        for one in value if field.is_repeated else (value,):
            if field.message_type is None:
                yield f"{indent}{field.name}: {scalar_text(field, one)}"
            else:
                yield f"{indent}{field.name} {{"
                yield from _lines(one, f"{indent}  ")
                yield f"{indent}}}"
    yield from _unknown(UnknownFieldSet(message), indent, _MOST_NESTED)


def _unknown(fields: Any, indent: str, budget: int) -> Iterator[str]:
    """Fields by their numbers. Bytes that could be a message are printed as one."""
    for field in (fields[index] for index in range(len(fields))):
        inner = field.data if field.wire_type == _GROUP else None
        if field.wire_type == _BYTES and field.data and budget:
            with suppress(DecodeError):
                inner = UnknownFieldSet(Empty.FromString(field.data))
        if inner is not None:
            yield f"{indent}{field.field_number} {{"
            yield from _unknown(inner, f"{indent}  ", budget - 1)
            yield f"{indent}}}"
        else:
            yield f"{indent}{field.field_number}: {_BY_WIRE[field.wire_type](field.data)}"


def scalar_text(field: Any, value: Any) -> str:
    """One value of a scalar field."""
    return _TEXT.get(field.type, str)(value) if field.type != F.TYPE_ENUM else _enum(field, value)


def _enum(field: Any, value: int) -> str:
    known = field.enum_type.values_by_number.get(value)
    return known.name if known else str(value)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _float(value: float) -> str:
    """Six digits, or nine where six do not give the same float back (C's strtof calls that a failure below 2⁻¹²⁶)."""
    short = f"{value:.6g}"
    same = math.isnan(value) or (_single(float(short)) == value and not 0 < abs(value) < _SMALLEST_NORMAL)
    return short if same else f"{value:.9g}"


def _double(value: float) -> str:
    short = f"{value:.15g}"
    return short if math.isnan(value) or float(short) == value else f"{value:.17g}"


def _single(value: float) -> float:
    """The nearest float of 32 bits, as C's strtof gives it."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


_NAMED = {'"': '\\"', "'": "\\'", "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN = {code: chr(code) for code in range(0x20, 0x7F)} | {ord(char): text for char, text in _NAMED.items()}
_ESCAPED = [_PLAIN.get(code, f"\\{code:03o}") for code in range(256)]


def quoted(value: str | bytes) -> str:
    """A string in double quotes; every byte that is not printable ASCII as an escape."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and not _NAMED.keys() & set(value):
        return f'"{value}"'
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return f'"{"".join(_ESCAPED[byte] for byte in raw)}"'


_BY_WIRE: dict[int, Callable[[Any], str]] = {
    0: str,
    1: lambda value: f"0x{value:016x}",
    _BYTES: quoted,
    5: lambda value: f"0x{value:08x}",
}
"""Wire type → how the value of an unknown field is printed."""

_TEXT: dict[int, Callable[[Any], str]] = {
    F.TYPE_BOOL: _bool,
    F.TYPE_FLOAT: _float,
    F.TYPE_DOUBLE: _double,
    F.TYPE_STRING: quoted,
    F.TYPE_BYTES: quoted,
}
