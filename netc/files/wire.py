"""The wire format of protobuf, walked in place: where each field of a message lies, without decoding what is in it.

Protobuf's own Python classes turn a packed float list into a list of objects and refuse files of 2 GiB; a weight file
is almost nothing but such lists. Here they become numpy views of the mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 300_000
"""Fields looked at in one file. GoogLeNet has 1,400; a large file of two-byte fields would otherwise take hours,
this way it takes about a second."""


class Damaged(Exception):
    """The bytes are not a protobuf message; `offset` is where in the file that shows."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"{message} at byte {offset:,}")
        self.offset = offset


class WireField(NamedTuple):
    """One field. `value` is a varint's value; the payload of a BYTES field is [start, end). Fixed-width fields that
    follow each other under the same tag (an unpacked list) are one field, tags included in [start, end)."""

    number: int
    kind: int
    start: int
    end: int
    value: int = 0


class Wire:
    """A file's bytes, and the budget of fields that may be looked at."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.bytes = memoryview(buffer)
        self._left = MAX_FIELDS

    def __len__(self) -> int:
        return len(self.bytes)

    def fields(self, start: int, end: int) -> Iterator[WireField]:
        """The fields of the message in [start, end), in order. Raises Damaged."""
        at = start
        while at < end:
            field, at = self._field(at, end)
            yield field

    def varints(self, field: WireField, most: int) -> list[int]:
        """The values of a repeated integer field, packed or not; Damaged if there are more than `most`."""
        if field.kind == VARINT:
            return [field.value]
        if field.kind != BYTES:
            raise Damaged(field.start, f"field {field.number} holds no integers")
        values: list[int] = []
        at = field.start
        while at < field.end:
            value, at = self._varint(at, field.end)
            values.append(value)
            if len(values) > most:
                raise Damaged(field.start, f"a list of more than {most} integers")
        return values

    def reals(self, field: WireField, dtype: str) -> NDArray[Any]:
        """A view of the values of a repeated float ("<f4") or double ("<f8") field, packed or not. Read-only, and in
        general not aligned."""
        kind = np.dtype(dtype)
        expected = FIXED32 if kind.itemsize == 4 else FIXED64
        if field.kind == BYTES:
            return self.raw(field, dtype)
        if field.kind != expected:
            raise Damaged(field.start, f"field {field.number} holds no {kind.itemsize}-byte numbers")
        tagged = np.dtype([("tag", "u1"), ("value", kind)])
        size = (field.end - field.start) // tagged.itemsize
        return np.frombuffer(self.buffer, tagged, size, field.start)["value"]

    def raw(self, field: WireField, dtype: str) -> NDArray[Any]:
        """A view of the values in a bytes field. Read-only, and in general not aligned."""
        kind = np.dtype(dtype)
        size = field.end - field.start
        if field.kind != BYTES or size % kind.itemsize:
            raise Damaged(field.start, f"field {field.number} holds no whole number of {kind.itemsize}-byte values")
        return np.frombuffer(self.buffer, kind, size // kind.itemsize, field.start)

    def text(self, field: WireField) -> str:
        if field.kind != BYTES:
            raise Damaged(field.start, f"field {field.number} holds no text")
        return bytes(self.bytes[field.start : field.end]).decode("utf-8", "surrogateescape")

    def _field(self, at: int, end: int) -> tuple[WireField, int]:
        self._left -= 1
        if self._left < 0:
            raise Damaged(at, f"more than {MAX_FIELDS:,} fields")
        tag, after = self._varint(at, end)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise Damaged(at, "a field with number 0")
        if kind == VARINT:
            value, after = self._varint(after, end)
            return WireField(number, kind, at, after, value), after
        if kind == BYTES:
            size, after = self._varint(after, end)
            if size > end - after:
                raise Damaged(at, f"field {number} wants {size:,} bytes where {end - after:,} are left,")
            return WireField(number, kind, after, after + size), after + size
        if kind in (FIXED32, FIXED64):
            stop = self._run(at, after, end, 4 if kind == FIXED32 else 8)
            return WireField(number, kind, at, stop), stop
        raise Damaged(at, f"field {number} of unknown kind {kind}")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        for position in range(at, min(at + 10, end)):
            byte = self.bytes[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
            shift += 7
        raise Damaged(at, "a number that does not end")

    def _run(self, at: int, after: int, end: int, width: int) -> int:
        """Where the fixed-width fields end that begin at `at` and repeat its tag."""
        if width > end - after:
            raise Damaged(at, "a value that is cut off")
        if after - at > 1:  # no list of numbers in Caffe's messages has a tag of two bytes
            return after + width
        stride, block = 1 + width, 16
        stop = after + width
        while (fit := min(block, (end - stop) // stride)) > 0:
            tags = np.frombuffer(self.buffer, "u1", fit * stride, stop)[::stride]
            other = np.flatnonzero(tags != self.bytes[at])
            stop += stride * (int(other[0]) if len(other) else fit)
            if len(other):
                break
            block = min(block * 2, 1 << 20)
        return stop


def field_head(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a BYTES field: its tag and its length."""
    return varint(number << 3 | BYTES) + varint(size)


def varint(value: int) -> bytes:
    """A whole number of at most 64 bits, not negative, as the wire has it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value: int, bits: int = 64) -> int:
    """A varint's value as the two's complement integer it stands for."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def is_onnx(buffer: Any) -> bool:
    """Whether the bytes are an ONNX ModelProto: a version (1), a graph (7) and the opsets it is in (8). Neither a net
    nor a solver's state begins with a number and has these, and a blob has either 7 or 1."""
    if bytes(buffer[:1]) != b"\x08":
        return False
    try:
        wire = Wire(buffer)
        found = {(field.number, field.kind) for field in wire.fields(0, len(wire))}
    except Damaged:
        return False
    return {(1, VARINT), (7, BYTES), (8, BYTES)} <= found and (2, VARINT) not in found
