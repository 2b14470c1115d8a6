"""Arrays on their way into a file: their bytes, piece by piece, without a second copy of them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from netc.files.hashing import Chunk
from netc.weights.arrays import Array
from netc.weights.pieces import PIECE, pieces

Sink = str | os.PathLike[str] | IO[bytes]


def raw_bytes(array: Array, kind: str = "") -> memoryview:
    """An array's values in the order of its axes, little-endian, as `kind` or its own type: a view wherever its memory
    is like that already."""
    flat: Any = np.ascontiguousarray(array, kind or array.dtype.newbyteorder("<")).reshape(-1)
    return memoryview(flat).cast("B")


def held_as(array: Array) -> str:
    """The type that Caffe's files hold an array in: float32, or float64 where it is that."""
    return "<f8" if array.dtype.kind == "f" and array.dtype.itemsize == 8 else "<f4"


def write_chunks(sink: Sink, chunks: Iterable[Chunk]) -> None:
    """Write pieces to a path or an open binary file. Raises OSError, NetcError X110 where the mapped file they lie in
    cannot be read any more."""
    if isinstance(sink, str | os.PathLike):
        with Path(sink).open("wb") as file:
            write_chunks(file, chunks)
        return
    write: Callable[[Chunk], Any] = sink.write
    for chunk in chunks:
        for piece in in_pieces(chunk):
            write(piece)


def in_pieces(chunk: Chunk) -> Iterator[Any]:
    """A chunk a megabyte at a time; by way of `pieces` where it lies in a mapped file."""
    if len(chunk) <= PIECE:
        yield chunk
    else:
        yield from pieces(np.frombuffer(chunk, "u1"), PIECE)
