"""Message → text, byte for byte as protobuf's C++ TextFormat prints it (google/protobuf/text_format.cc).

Python's own printer differs: it writes `1000000.0` where C++ writes `1e+06`, and leaves UTF-8 as it is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

F = FieldDescriptor
_SMALLEST_NORMAL = 2.0**-126


def canonical(message: Any) -> str:
    """The message as text: fields in the order of their numbers, one a line, two blanks a level, ASCII only.

    Fields that the schema does not have (of a binary file) are left out. Names and strings that hold no valid UTF-8
    are printed by their bytes.
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
    """A string in double quotes; every byte that is no printable ASCII as an escape."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and not _NAMED.keys() & set(value):
        return f'"{value}"'
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return f'"{"".join(_ESCAPED[byte] for byte in raw)}"'


_TEXT: dict[int, Callable[[Any], str]] = {
    F.TYPE_BOOL: _bool,
    F.TYPE_FLOAT: _float,
    F.TYPE_DOUBLE: _double,
    F.TYPE_STRING: quoted,
    F.TYPE_BYTES: quoted,
}
