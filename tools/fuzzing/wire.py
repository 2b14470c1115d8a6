"""Mutations of binary protobuf messages that know where a field begins and ends.

Most keep the lengths right, so that the reader gets to what is inside; the others make them lie.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from netc.files.wire import BYTES, FIXED32, FIXED64, VARINT, varint

INTERESTING = [
    0,
    1,
    2,
    3,
    4,
    127,
    128,
    255,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
"""Lengths, sizes and numbers at which something changes."""

NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 50, 100, 133, 536870911]
"""Field numbers that mean something in one of Caffe's messages."""


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one change; `others` lend fields."""
    if rng.random() < 0.15:
        return rng.choice(BYTES_ONLY)(data, rng)
    return _message(data, rng, others[0] if others else data, depth=0)


def _message(data: bytes, rng: random.Random, other: bytes, depth: int) -> bytes:
    """The message with one of its fields changed, or of a message in it."""
    fields = split(data)
    if not fields:
        return rng.choice(BYTES_ONLY)(data, rng)
    at = rng.randrange(len(fields))
    field = fields[at]
    if depth < 5 and rng.random() < 0.7 and (payload := _payload(field)) is not None and split(payload):
        inside = _message(payload, rng, other, depth + 1)
        fields[at] = field[: _header(field)] + varint(len(inside)) + inside
    else:
        fields[at : at + 1] = rng.choice(_FIELDS)(field, rng, other)
    if rng.random() < 0.05:
        rng.shuffle(fields)
    return b"".join(fields)


# -- taking apart ------------------------------------------------------------------------------------------------------


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends). Raises IndexError where the bytes end."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128 or shift > 63:
            return value, at
        shift += 7


def split(data: bytes) -> list[bytes]:
    """The fields of a message, each with its tag; none where the bytes are no message."""
    fields, at = [], 0
    try:
        while at < len(data):
            tag, after = read_varint(data, at)
            kind = tag & 7
            if kind == VARINT:
                _, after = read_varint(data, after)
            elif kind == BYTES:
                size, after = read_varint(data, after)
                after += size
            elif kind in (FIXED32, FIXED64):
                after += 4 if kind == FIXED32 else 8
            else:
                return []
            if after > len(data) or tag < 8:
                return []
            fields.append(data[at:after])
            at = after
    except IndexError:
        return []
    return fields


def _header(field: bytes) -> int:
    return read_varint(field, 0)[1]


def _payload(field: bytes) -> bytes | None:
    tag, at = read_varint(field, 0)
    return field[read_varint(field, at)[1] :] if tag & 7 == BYTES else None


# -- one field → none, one or several ----------------------------------------------------------------------------------


def _drop(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    return []


def _double(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    return [field] * rng.choice([2, 2, 3, 40])


def _lend(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    """A field of another file beside it, from any depth."""
    fields = split(other) or [field]
    lent = rng.choice(fields)
    while rng.random() < 0.5 and (payload := _payload(lent)) and (inner := split(payload)):
        lent = rng.choice(inner)
    return rng.choice([[lent], [field, lent], [lent, field]])


def _renumber(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    tag, at = read_varint(field, 0)
    return [varint(rng.choice(NUMBERS) << 3 | tag & 7) + field[at:]]


def _retype(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    tag, at = read_varint(field, 0)
    return [varint(tag & ~7 | rng.randrange(8)) + field[at:]]


def _revalue(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    """Another number; of a message, another payload of that length or a few bytes more or less."""
    tag, at = read_varint(field, 0)
    payload = _payload(field)
    if tag & 7 == VARINT:
        return [field[:at] + varint(rng.choice(INTERESTING))]
    if payload is None:
        return [field[:at] + rng.randbytes(len(field) - at)]
    changed = rng.choice(BYTES_ONLY)(payload, rng)
    return [field[:at] + varint(len(changed)) + changed]


def _lie(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    """A length that is not the payload's."""
    at = read_varint(field, 0)[1]
    payload = _payload(field)
    if payload is None:
        return [field]
    length = rng.choice([max(0, len(payload) + rng.randint(-3, 3)), rng.choice(INTERESTING)])
    return [field[:at] + varint(length) + payload]


def _unpack(field: bytes, rng: random.Random, other: bytes) -> list[bytes]:
    """A packed list of floats as single ones, or single numbers as a list."""
    tag, at = read_varint(field, 0)
    payload, number = _payload(field), tag & ~7
    if payload is None:
        return [varint(number | BYTES) + varint(len(field) - at) + field[at:]]
    kind, width = rng.choice([(FIXED32, 4), (FIXED64, 8)])
    return [varint(number | kind) + payload[i : i + width] for i in range(0, len(payload) // width * width, width)]


_FIELDS: list[Callable[[bytes, random.Random, bytes], list[bytes]]] = [
    *(_drop, _double, _lend, _renumber, _retype, _unpack),
    *[_revalue] * 3,
    *[_lie] * 2,
]


# -- bytes -------------------------------------------------------------------------------------------------------------


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice([1, 1, 2, 4, 8, len(data)]) :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice([b"\0", b"\xff", varint(rng.choice(INTERESTING)), rng.randbytes(4)]) + data[at:]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    new = rng.choice([varint(rng.choice(INTERESTING)), rng.randbytes(rng.choice([1, 4]))])
    return data[:at] + new + data[at + len(new) :]


BYTES_ONLY: list[Callable[[bytes, random.Random], bytes]] = [_flip, _flip, _cut, _insert, _overwrite]
