"""The values of an array, a few megabytes at a time, without touching the pages of the file they lie in.

An array that `read` gives is a view of the mapped file. Working through it by the map has three prices: every page
stays counted in the process's memory, its values are in general not aligned, and if another process truncates the file
meanwhile the kernel kills this one (SIGBUS). Here the values come by pread instead, into an aligned buffer or straight
to where they belong: memory stays bounded, the copy runs as fast as memory does, and a truncated file is an error like
any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.weights.arrays import Array
from netc.weights.files import Mapped

PIECE = 1 << 18
"""Values in one piece: a megabyte of floats, which the caches hold on its way through."""


def pieces(array: Array, count: int = PIECE) -> Iterator[Array]:
    """The values of `array` in C order and its own type, as contiguous, aligned arrays of at most `count` values.

    A piece may be the same memory as the one before it: be done with it before asking for the next.
    Raises NetcError X110 (the file became shorter, or cannot be read any more).
    """
    origin = _origin(array)
    if origin is None:
        flat = array.reshape(-1)
        for start in range(0, flat.size, count):
            yield _aligned(flat[start : start + count])
        return
    buffer, offset = origin
    room = np.empty(min(count, array.size), array.dtype)
    for start in range(0, array.size, count):
        piece = room[: min(count, array.size - start)]
        _pread(buffer, offset + start * array.itemsize, _bytes(piece))
        yield piece


def fill(out: Array, array: Array) -> None:
    """Copy `array` into `out`, a writable array of the same size, converting between types of floating-point numbers.
    Raises NetcError X110 as `pieces`."""
    origin = _origin(array) if out.flags.c_contiguous and out.dtype == array.dtype else None
    if origin is not None:
        _pread(*origin, _bytes(out))
    elif _origin(array) is None or not out.flags.c_contiguous:
        np.copyto(out, array.reshape(out.shape), casting="same_kind")
    else:
        flat, at = out.reshape(-1), 0
        for piece in pieces(array):
            np.copyto(flat[at : at + piece.size], piece, casting="same_kind")
            at += piece.size


def loaded(array: Array, dtype: str = "<f4") -> Array:
    """A copy of `array` in memory, contiguous, aligned and writable. Raises NetcError X110 as `pieces`."""
    out = np.empty(array.shape, dtype)
    fill(out, array)
    return out


_COPIED = 1 << 16
"""Values copied and compared at a time: both sides stay in a core's own cache until they are."""


def copied(array: Array, place: Array, handle: int) -> int:
    """Write `array` where `place` lies, a view of the same type and size of the mapped file that `handle` may write to,
    and read each piece back from there; how many values came back with other bits.
    Raises OSError, NetcError X110 as `pieces`."""
    origin = _origin(place)
    if origin is None:
        return array.size
    buffer, at = origin
    back, differing = bytearray(), 0
    for piece in pieces(array, _COPIED):
        written = _bytes(piece)
        _pwrite(handle, written, at)
        if len(back) != len(written):
            back = bytearray(len(written))
        _pread(buffer, at, memoryview(back))
        if back != written:  # a bytearray on the left is what Python compares as memory
            differing += differing_bits(piece, np.frombuffer(back, piece.dtype))
        at += len(written)
    return differing


def _pwrite(handle: int, rest: memoryview, at: int) -> None:
    while rest:
        count = os.pwrite(handle, rest, at)
        rest, at = rest[count:], at + count


def differing_bits(a: Array, b: Array) -> int:
    """How many values of two pieces of the same type and size differ in any bit, NaN and -0 included."""
    x, y = (half.view(f"u{half.itemsize}") for half in (a, b))
    return 0 if np.array_equal(x, y) else int(np.count_nonzero(x != y))


def _aligned(flat: Array) -> Array:
    """Itself, or a copy where its values are not aligned or not side by side."""
    return np.require(flat, requirements=["A", "C"])


def _origin(array: Array) -> tuple[Mapped, int] | None:
    """The mapped file that a contiguous array is a view of and where in it the values begin; None for other arrays."""
    if not array.flags.c_contiguous:
        return None
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, Mapped):
        return None
    return base, array.__array_interface__["data"][0] - base.address


def _bytes(array: Array) -> memoryview:
    flat: Any = array.reshape(-1)
    return memoryview(flat).cast("B")


def _pread(buffer: Mapped, offset: int, rest: memoryview) -> None:
    """Fill `rest` with the file's bytes from `offset` on."""
    while rest:
        try:
            count = os.preadv(buffer.file.fileno(), [rest], offset)
        except OSError as error:
            raise _unreadable(buffer, error.strerror or str(error)) from None
        if not count:
            raise _unreadable(buffer, f"it ends at byte {offset:,} now, and had {len(buffer):,} when it was opened")
        rest, offset = rest[count:], offset + count


def _unreadable(buffer: Mapped, reason: str) -> NetcError:
    return NetcError(
        "X110",
        f"the file cannot be read any more: {reason}",
        Place(buffer.name),
        "is another process writing or truncating it? wait until it is done",
    )
