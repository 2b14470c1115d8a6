"""One random change of a file. Most of them know the format, so that what they make reaches the stages behind the
parser; changes of bytes alone seldom do.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, AnyStr

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from netc import proto
from netc.files.wire import BYTES, FIXED32, VARINT, varint
from netc.layers import registry

POWERS = [2**7, 2**8, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
INTERESTING = [0, 1, 2, 3, 4, *POWERS]
"""Lengths, sizes and numbers at which something changes."""


def mutate_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A bit flipped, some bytes cut out, put in or overwritten, or the end of another file."""
    at = rng.randrange(len(data) + 1)
    number = rng.choice(INTERESTING)
    new = rng.choice([b"\0", b"\xff", varint(number), str(number).encode(), rng.randbytes(4)])
    match rng.randrange(6):
        case 0 | 1:
            flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1])
            return data[:at] + flipped + data[at + 1 :]
        case 2:
            return data[:at] + data[at + rng.choice([1, 1, 2, 4, 8, len(data)]) :]
        case 3:
            return data[:at] + new + data[at:]
        case 4:
            return data[:at] + new + data[at + len(new) :]
        case _:
            return data[:at] + other[rng.randrange(len(other) + 1) :]


def _rearranged(parts: Sequence[AnyStr], lent: Sequence[AnyStr], rng: random.Random) -> AnyStr:
    """The file that the parts make up, with one dropped, repeated, moved, or one of another file put in."""
    new = list(parts)
    at, to = rng.randrange(len(new)), rng.randrange(len(new))
    match rng.randrange(5):
        case 0:
            new.pop(at)
        case 1:
            new[at:at] = [new[at]] * rng.choice([1, 1, 2, 39])
        case 2:
            new.insert(to, new.pop(at))
        case 3:
            new.insert(at, rng.choice(lent or parts))
        case _:
            new[at] = rng.choice(lent or parts)
    return parts[0][:0].join(new)


# -- prototxts ---------------------------------------------------------------------------------------------------------

_NUMBER, _WORD = re.compile(r"(?<=: )-?[0-9.][\w.+-]*"), re.compile(r"(?<=: )[A-Za-z]\w*")
_STRING, _NAME = re.compile(r'"[^"\n]*"'), re.compile(r"[A-Za-z_]\w*(?=\s*[:{<])")
_MARK = re.compile(r'[\s{}<>":]')
_TOKEN = re.compile(r'("[^"\n]*"|\'[^\'\n]*\'|#[^\n]*|[\w.+-]+|\s+)')
_BLOCK, _LINE = re.compile(r"(\w+\s*:?\s*\{[^{}]*\})"), re.compile(r"(?<=\n)")

NUMBERS = [str(sign * number) for number in (*INTERESTING, 5, 64, 1000) for sign in (1, -1)]
NUMBERS += ["0.5", "-0.5", "1e-45", "3.4e38", "1e39", "inf", "-inf", "nan", "1e400", "0x10", "017"]
MARKS = [*"{}<>[]:;,\"'\\#-.=\0\ufeffé\udce9\v\x7f", "{ }", "{{", "[]", "# }\n", '"" ""', "/*", "\r\n", " # c\n"]
MARKS += ["", ": {", ": [", "<<<<<<< a\n"]


def mutate_text(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A prototxt with another value, name or mark at one place, or its lines, blocks or tokens rearranged."""
    if not data or rng.random() < 0.05:
        return mutate_bytes(data, other, rng)
    text, lent = (each.decode("utf-8", "surrogateescape") for each in (data, other))
    if rng.random() < 0.35:
        pattern = rng.choice([_LINE, _BLOCK, _BLOCK, _TOKEN])
        parts, others = ([part for part in pattern.split(each) if part] for each in (text, lent))
        changed = _rearranged(parts, others, rng)
    else:
        changed = _replaced(text, rng)
    return changed.encode("utf-8", "surrogateescape")


def _replaced(text: str, rng: random.Random) -> str:
    choices: list[tuple[re.Pattern[str], Sequence[str]]] = [
        *[(_NUMBER, NUMBERS)] * 5,
        *[(_STRING, _STRING.findall(text))] * 4,  # blobs are wired anew
        (_STRING, [f'"{name}"' for name in registry()]),
        *[(_WORD, _words())] * 2,
        *[(_NAME, _field_names())] * 2,
        *[(_MARK, MARKS)] * 2,
    ]
    pattern, new = rng.choice(choices)
    spots = list(pattern.finditer(text))
    if not spots:
        return text
    spot = rng.choice(spots)
    return text[: spot.start()] + rng.choice(new) + text[spot.end() :]


@cache
def _field_names() -> list[str]:
    return sorted({field.name for name in proto.messages() for field in proto.message(name).DESCRIPTOR.fields})


@cache
def _words() -> list[str]:
    """The names of all enum values, and the odd spellings of true and false."""
    enums = (field.enum_type for name in proto.messages() for field in proto.message(name).DESCRIPTOR.fields)
    return sorted({value.name for enum in enums if enum for value in enum.values} | {"true", "false", "t", "False"})


# -- binary messages ---------------------------------------------------------------------------------------------------

FIELD_NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 50, 100, 133, 536870911]
"""Those that mean something in one of Caffe's messages."""

Field = tuple[int, int, int | bytes]
"""Number, wire type and value."""


def mutate_message(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A message with a change of one of its fields, or in a message that it contains. Lengths are kept right, so that
    the reader gets to what is inside, unless the change is a wrong length."""
    fields = split(data)
    if not fields or rng.random() < 0.15:
        return mutate_bytes(data, other, rng)
    at = rng.randrange(len(fields))
    number, kind, value = fields[at]
    parts = [encoded(*field) for field in fields]
    if isinstance(value, bytes) and split(value) and rng.random() < 0.7:
        parts[at] = encoded(number, kind, mutate_message(value, other, rng))
    elif rng.random() < 0.4:
        return _rearranged(parts, [encoded(*field) for field in _inside(other, rng)], rng)
    else:
        parts[at] = _changed(number, kind, value, rng)
    return b"".join(parts)


def split(data: bytes) -> list[Field]:
    """The fields of a message; none where the bytes are not one."""
    try:
        fields = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return []
    found = [(fields[i].field_number, fields[i].wire_type, fields[i].data) for i in range(len(fields))]
    return found if all(isinstance(value, int | bytes) for _, _, value in found) else []  # a group is neither


def encoded(number: int, kind: int, value: int | bytes) -> bytes:
    tag = varint(number << 3 | kind)
    if isinstance(value, bytes):
        return tag + varint(len(value)) + value
    return tag + (varint(value) if kind == VARINT else value.to_bytes(4 if kind == FIXED32 else 8, "little"))


def _inside(data: bytes, rng: random.Random) -> list[Field]:
    """The fields of a message, or of one that it contains."""
    fields = split(data)
    nested = [inner for _, _, value in fields if isinstance(value, bytes) and (inner := split(value))]
    return rng.choice(nested) if nested and rng.random() < 0.5 else fields


def _changed(number: int, kind: int, value: int | bytes, rng: random.Random) -> bytes:
    """A field with another number, wire type, value or length."""
    field = encoded(number, kind, value)
    rest = field[len(varint(number << 3 | kind)) :]
    match rng.randrange(6):
        case 0:
            return varint(rng.choice(FIELD_NUMBERS) << 3 | kind) + rest
        case 1:
            return varint(number << 3 | rng.randrange(8)) + rest
        case 2 | 3 if isinstance(value, bytes):
            length = rng.choice([max(0, len(value) + rng.randint(-3, 3)), rng.choice(INTERESTING)])
            return varint(number << 3 | BYTES) + varint(length) + value
        case _ if isinstance(value, bytes):
            return encoded(number, kind, mutate_bytes(value, value, rng))
        case _:
            return encoded(number, VARINT, rng.choice(INTERESTING))


# -- safetensors -------------------------------------------------------------------------------------------------------


def mutate_safetensors(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A change in the header, its length kept right, or anywhere."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.2 or not 0 < size <= len(data) - 8:
        return mutate_bytes(data, other, rng)
    header = mutate_bytes(data[8 : 8 + size], other[8:], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


# -- JSON --------------------------------------------------------------------------------------------------------------

_DEEP: list[Any] = []
for _ in range(70):
    _DEEP = [_DEEP]
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**400,
    0.5,
    -1e300,
    float("nan"),
    float("inf"),
    "",
    "a",
    "1",
    "..",
]
ODD += ["/", "\0", "\x1b[2J", "\ud800", "\udce9", "é" * 300, [], {}, [1], ["a"], {"a": 1}, [None], _DEEP]
"""Values that a reader may not expect where they stand."""


def mutate_json(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One value, key or item of a JSON text changed, taken away or put in; or a change of its bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return mutate_bytes(data, other, rng)
    _change_inside(value, rng)
    return json.dumps(value).encode()


def _change_inside(value: Any, rng: random.Random) -> None:
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
        _change_inside(inner, rng)
    elif (choice := rng.random()) < 0.1:
        del value[key]
    elif choice < 0.2 and isinstance(value, dict):
        value[rng.choice(["", "a", "\ud800", "__metadata__", key * 2])] = value.pop(key)
    elif choice < 0.3 and isinstance(value, list):
        value.insert(key, rng.choice(ODD))
    else:
        value[key] = rng.choice(ODD)


def mutate_json_lines(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One line changed as JSON, or the lines rearranged."""
    lines = data.splitlines(keepends=True)
    if not lines or rng.random() < 0.2:
        return mutate_bytes(data, other, rng)
    if rng.random() < 0.3:
        return _rearranged(lines, other.splitlines(keepends=True), rng)
    at = rng.randrange(len(lines))
    lines[at] = mutate_json(lines[at].strip(), other, rng) + b"\n"
    return b"".join(lines)


# -- lines of words ----------------------------------------------------------------------------------------------------

_WORDS = [*NUMBERS, "1" * 30, "9" * 400, "1" * 5000, "#", "a.bmp", "/dev/zero", "..", '"', "'", "\\", "a" * 300, "é"]
_BLANKS = [" ", "  ", "\t", "\n", "\r\n", "\r", "\0", "\ufeff", "\x0b", "\x85", "\u2028", ""]


def mutate_words(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A word, a blank or a line of a list changed, dropped, repeated or moved."""
    parts = re.split(rb"(\s+)", data)
    match rng.randrange(8):
        case 0:
            return mutate_bytes(data, other, rng)
        case 1 | 2:
            return _rearranged(data.splitlines(keepends=True) or [b""], other.splitlines(keepends=True), rng)
        case 3:
            return _rearranged(parts, re.split(rb"(\s+)", other), rng)
    at = rng.randrange(len(parts))
    parts[at] = rng.choice(_BLANKS if at % 2 else _WORDS).encode()
    return b"".join(parts)
