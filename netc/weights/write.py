"""numpy arrays → Caffe's binary files, byte for byte as Caffe's own serialisation, streamed.

Protobuf writes the small parts; the arrays' bytes go from memory to the file as they are, so a file of any size needs
no second copy. Caffe itself cannot read a .caffemodel of 2 GiB or more; `read` of this package can.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import numpy as np

from netc import proto
from netc.files.wire import Wire, field_head
from netc.weights.arrays import Array
from netc.weights.formats.caffemodel import LAYER, NET, STATE, SolverState
from netc.weights.pieces import PIECE, pieces

Sink = str | os.PathLike[str] | IO[bytes]
Chunk = bytes | memoryview


def write_caffemodel(
    sink: Sink, net: Any, arrays: Mapping[str, Sequence[Array]], diffs: Mapping[str, Sequence[Array]] | None = None
) -> None:
    """Write a .caffemodel.

    Args:
        sink: a path or an open binary file.
        net: NetParameter in the current format (`layer`); blobs in it are not looked at.
        arrays: layer name → its arrays in Caffe's blob order, of any shape; float32, or float64 for `double_data`.
        diffs: the same for the `diff` of each blob (a solver with snapshot_diff), or None.
    Raises OSError.
    """
    write_chunks(sink, caffemodel_chunks(net, arrays, diffs))


def write_solverstate(sink: Sink, state: SolverState) -> None:
    """Write a .solverstate, as SGDSolver::SnapshotSolverStateToBinaryProto. Raises OSError."""
    write_chunks(sink, solverstate_chunks(state))


def write_blob(sink: Sink, array: Array) -> None:
    """Write a .binaryproto with old-style axes (1, C, H, W), as compute_image_mean. Raises OSError, ValueError if the
    array has more than four axes."""
    axes = (1,) * (4 - array.ndim) + array.shape
    num, channels, height, width = axes
    data = _values(array)
    head = proto.BlobProto(num=num, channels=channels, height=height, width=width).SerializeToString()
    write_chunks(sink, [head, field_head(5, len(data)), data])


def trained_net(net: Any) -> Any:
    """What Net::ToProto keeps of a NetParameter: its name and its layers, without their blobs."""
    result = type(net)(name=net.name)
    for layer in net.layer:
        copy = result.layer.add()
        copy.CopyFrom(layer)
        copy.ClearField("blobs")
    return result


def caffemodel_chunks(
    net: Any, arrays: Mapping[str, Sequence[Array]], diffs: Mapping[str, Sequence[Array]] | None = None
) -> Iterator[Chunk]:
    """The bytes of a .caffemodel, piece by piece."""
    head = type(net)()
    head.CopyFrom(net)
    head.ClearField("layer")
    yield head.SerializeToString()
    for layer in net.layer:
        before, after = _split(layer)
        blobs = _blobs(arrays.get(layer.name, ()), (diffs or {}).get(layer.name, ()))
        yield field_head(NET["layer"], sum(map(len, (before, *blobs, after)))) + before
        yield from blobs
        yield after


def solverstate_chunks(state: SolverState) -> Iterator[Chunk]:
    """The bytes of a .solverstate, piece by piece."""
    yield proto.SolverState(iter=state.iteration, learned_net=state.learned_net).SerializeToString()
    for array in state.history:
        yield from _blob(STATE["history"], array)
    yield proto.SolverState(current_step=state.current_step).SerializeToString()


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


def _split(layer: Any) -> tuple[bytes, bytes]:
    """A serialised layer, cut where its blobs belong (fields are written in the order of their numbers)."""
    bare = type(layer)()
    bare.CopyFrom(layer)
    bare.ClearField("blobs")
    data = bare.SerializeToString()
    at = 0
    for part in Wire(data).fields(0, len(data)):
        if part.number > LAYER["blobs"]:
            break
        at = part.end
    return data[:at], data[at:]


def _blobs(arrays: Sequence[Array], diffs: Sequence[Array]) -> list[Chunk]:
    pairs = zip_longest(arrays, diffs)
    return [chunk for array, diff in pairs for chunk in _blob(LAYER["blobs"], array, diff)]


def _blob(number: int, array: Array, diff: Array | None = None) -> list[Chunk]:
    """A BlobProto as field `number`: its values and its shape, in the order of their field numbers."""
    single = array.dtype != np.float64
    shape = proto.BlobProto(shape=proto.BlobShape(dim=array.shape)).SerializeToString()
    parts: list[Chunk] = []
    if single:
        parts += _list(5, array) + _list(6, diff)
    parts.append(shape)
    if not single:
        parts += _list(8, array) + _list(9, diff)
    return [field_head(number, sum(map(len, parts))), *parts]


def _list(number: int, array: Array | None) -> list[Chunk]:
    if array is None or not array.size:
        return []
    data = _values(array)
    return [field_head(number, len(data)), data]


def _values(array: Array) -> memoryview:
    kind = "<f8" if array.dtype == np.float64 else "<f4"
    flat: Any = np.ascontiguousarray(array, kind).reshape(-1)
    return memoryview(flat).cast("B")
