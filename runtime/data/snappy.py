"""Snappy's block format, unpacked (format_description.txt of the Snappy project)."""

from __future__ import annotations


class Damaged(Exception):
    """Bytes that are not what their format says."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where the next byte is): seven bits a byte, the lowest first, the eighth tells that more follow."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Damaged("a number breaks off")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def skip(data: bytes, at: int, count: int) -> int:
    """Where the byte behind `count` numbers is."""
    for _ in range(count):
        _, at = varint(data, at)
    return at


def uncompressed(data: bytes, most: int) -> bytes:
    """The bytes that `data` was packed from, at most `most`. Raises Damaged."""
    length, at = varint(data, 0)
    if length > most:
        raise Damaged(f"a packed block claims {length:,} bytes, and at most {most:,} are read")
    out = bytearray()
    while at < len(data):
        at = _literal(data, at, out) if data[at] & 3 == 0 else _copy(data, at, out)
        if len(out) > length:
            break
    if len(out) != length:
        raise Damaged(f"{len(out)} bytes came out of a packed block of {length}")
    return bytes(out)


def _literal(data: bytes, at: int, out: bytearray) -> int:
    """Bytes as they are; a length above 60 stands in the next one to four bytes."""
    length, at = data[at] >> 2, at + 1
    if length >= 60:
        more = length - 59
        length, at = int.from_bytes(data[at : at + more], "little"), at + more
    end = at + length + 1
    if end > len(data):
        raise Damaged("a packed block breaks off")
    out += data[at:end]
    return end


def _copy(data: bytes, at: int, out: bytearray) -> int:
    """Bytes from `offset` before the end, over and over where there are fewer than `length`."""
    tag, kind = data[at], data[at] & 3
    width = (1, 2, 4)[kind - 1]
    if at + 1 + width > len(data):
        raise Damaged("a packed block breaks off")
    offset = int.from_bytes(data[at + 1 : at + 1 + width], "little")
    length = 1 + (tag >> 2)
    if kind == 1:
        length, offset = 4 + (tag >> 2 & 7), offset | tag >> 5 << 8
    if not 0 < offset <= len(out):
        raise Damaged("a copy reaches before the block")
    piece = out[-offset:][:length]
    out += (piece * (length // len(piece) + 1))[:length]
    return at + 1 + width
