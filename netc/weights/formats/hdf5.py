"""Caffe's HDF5 files: weights under /data/<layer>/<blob>, solver states under /history/<j>. Needs h5py (netc[hdf5]).

Arrays that lie in the file as such, as Caffe writes them, are handed on as views of the mapped file.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from netc.errors import NetcError, Place
from netc.files.hdf5 import Unfit, h5py_module, own, unbacked
from netc.files.sink import sink
from netc.weights.arrays import Array, SolverState, Weights
from netc.weights.chunks import held_as
from netc.weights.files import Mapped, Unpacking
from netc.weights.pieces import PIECE, loaded

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_GROUPS = 20_000


def recognises(buffer: Any) -> bool:
    return bool(buffer[: len(SIGNATURE)] == SIGNATURE)


def read(path: str, buffer: Any, diffs: bool = False) -> Weights:
    """A .caffemodel.h5 (Net::CopyTrainedLayersFromHDF5). Layers named "a/b" are groups within groups, as in Caffe.
    Raises NetcError W702, W704, W707 (h5py missing)."""
    result = Weights(path=path, partial=True)
    with _open(path, buffer) as file:
        source = _Source(path, buffer)
        for name, layer in _layers(_group(file, "data", path), path):
            result[name], missing = _blobs(layer, name, source)
            result.absent |= {(name, index) for index in missing}
        if diffs and _has(file, "diff"):
            found = {name: _blobs(layer, name, source)[0] for name, layer in _layers(_group(file, "diff", path), path)}
            result.diffs = {name: arrays for name, arrays in found.items() if arrays}
    return result


def holds_state(path: str, buffer: Any) -> bool:
    """Whether an HDF5 file is a solver state. Raises NetcError W702, W707."""
    with _open(path, buffer) as file:
        return _has(file, "history") and not _has(file, "data")


def read_state(path: str, buffer: Any) -> SolverState:
    """A .solverstate.h5 (SGDSolver::RestoreSolverStateFromHDF5). Raises NetcError W702, W704, W707."""
    with _open(path, buffer) as file:
        history = _group(file, "history", path)
        arrays, missing = _blobs(history, "history", _Source(path, buffer))
        if missing:
            raise _damaged(path, f"history {missing[0]} is missing")
        return SolverState(
            _integer(file, "iter", path),
            _string(file, "learned_net", path),
            arrays,
            _integer(file, "current_step", path),
        )


_NONE: Array = np.zeros(0, "<f4")


def write_sets(
    path: str | os.PathLike[str], sets: Mapping[str, tuple[tuple[int, ...], Any, int]], mark: tuple[str, str]
) -> None:
    """A file with datasets at its top, and an attribute. `sets`: name → shape, type, and an open file that holds the
    values one after the other; a piece of them is in memory at a time. Raises NetcError W707, OSError."""
    with _written(path) as file:
        file.attrs[mark[0]] = mark[1]
        for name, (shape, dtype, values) in sets.items():
            data = file.create_dataset(name, shape, dtype)
            row = data.nbytes // shape[0] if data.size else 0
            rows = max(1, 4 * PIECE // max(1, row))
            for start in range(0, shape[0] if row else 0, rows):
                count = min(rows, shape[0] - start)
                piece = os.pread(values, count * row, start * row)
                data[start : start + count] = np.frombuffer(piece, dtype).reshape(count, *shape[1:])


def attribute(file: BinaryIO, name: str) -> str:
    """A text that an HDF5 file has as an attribute; "" where it has none, or is damaged."""
    try:
        with h5py_module("").File(file, "r") as opened:
            value = opened.attrs.get(name, "")
            return value if isinstance(value, str) else ""
    except NetcError:
        raise
    except Exception:  # on damaged files h5py raises nearly anything
        return ""


def hdf5_image(layers: Mapping[str, Sequence[Array]], diffs: Mapping[str, Sequence[Array]] | None = None) -> bytes:
    """The bytes of a .caffemodel.h5 as Net::ToHDF5 writes it: a group per layer, empty where it has no parameters; an
    array that an earlier layer has given already (a shared parameter) is left out. Raises NetcError W707."""
    with _in_memory() as file:
        for top, arrays in (("data", layers), ("diff", diffs)):
            if arrays is not None:
                _fill(file.create_group(top), arrays)
        return bytes(_image(file))


def hdf5_state_image(state: SolverState) -> bytes:
    """The bytes of a .solverstate.h5, as SGDSolver::SnapshotSolverStateToHDF5. Raises NetcError W707."""
    with _in_memory() as file:
        file.create_dataset("iter", data=np.array([state.iteration], "<i4"))
        learned_net = os.fsencode(state.learned_net)
        file.create_dataset("learned_net", data=np.bytes_(learned_net), dtype=f"S{len(learned_net) + 1}")
        file.create_dataset("current_step", data=np.array([state.current_step], "<i4"))
        history = file.create_group("history")
        for index, array in enumerate(state.history):
            history.create_dataset(str(index), data=np.asarray(array, "<f4"))
        return bytes(_image(file))


def write_hdf5(
    path: str | os.PathLike[str], layers: Mapping[str, Sequence[Array]], text: tuple[str, str] | None = None
) -> None:
    """The same as a file, array by array; `text`: name and content of a text beside them, which Caffe passes over.

    Raises NetcError W707, W762 (a name that HDF5 cannot hold), OSError.
    """
    with _written(path) as file:
        data = file.create_group("data")
        for name, arrays in layers.items():
            layer = _new_group(data, name)
            for index, array in enumerate(arrays):
                _write_rows(layer.create_dataset(str(index), array.shape, held_as(array)), array)
        if text is not None:
            file.create_dataset(text[0], data=np.bytes_(text[1].encode()))


def _new_group(data: Any, name: str) -> Any:
    """The group of a layer. A name with a slash is a path of groups, which must not lead astray or through arrays."""
    parts = name.split("/")
    if "\0" not in name and not {"", ".", ".."} & set(parts) and not any(part.isdecimal() for part in parts[1:]):
        try:
            return data.require_group(name)
        except (ValueError, TypeError):
            pass
    raise NetcError(
        "W762",
        f'an HDF5 file cannot hold a layer called "{name}": it takes names for paths',
        None,
        "convert to another format, such as --to caffemodel",
    )


def _write_rows(data: Any, array: Array) -> None:
    """A few rows at a time, so that memory holds no whole array."""
    rows = max(1, PIECE // max(1, array[0].size)) if array.ndim and len(array) else 1
    for start in range(0, len(array) if array.ndim else 1, rows):
        place: Any = slice(start, start + rows) if array.ndim else ()
        if array[place].size:
            data[place] = loaded(array[place], data.dtype)


def read_text(path: str, buffer: Any, name: str) -> str | None:
    """A text beside the arrays, None where there is none. Raises NetcError W702, W707."""
    with _open(path, buffer) as file:
        return _string(file, name, path) if _has(file, name) else None


def _fill(group: Any, layers: Mapping[str, Sequence[Array]]) -> None:
    written: set[tuple[int, int]] = set()
    for name, arrays in layers.items():
        layer = group.create_group(name)
        for index, array in enumerate(arrays):
            memory = (array.__array_interface__["data"][0], array.size)
            if memory not in written:
                layer.create_dataset(str(index), data=np.asarray(array, "<f4"))
            written.add(memory)


@contextmanager
def _written(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A new file at `path`. Raises OSError for what could not be written."""
    h5py = h5py_module("")
    with sink(path) as disk, h5py.File(disk, "w") as file:
        yield file


def _in_memory() -> Any:
    return h5py_module("").File("snapshot.h5", "w", driver="core", backing_store=False)


def _image(file: Any) -> Any:
    file.flush()
    return file.id.get_file_image()


@contextmanager
def _open(path: str, buffer: Any) -> Iterator[Any]:
    h5py = h5py_module(path)
    try:
        with h5py.File(path if isinstance(buffer, Mapped) else io.BytesIO(buffer), "r") as file:
            yield file
    except NetcError:
        raise
    except Exception as error:  # on damaged files h5py raises nearly anything
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _damaged(path: str, reason: str) -> NetcError:
    return NetcError("W702", f"the HDF5 file is damaged or not Caffe's: {reason}", Place(path), "get the file again")


class _Source:
    """A file whose arrays are read: its name, its bytes, the memory that arrays may take beside them."""

    def __init__(self, path: str, buffer: Any) -> None:
        self.path, self.buffer, self.unpacking = path, buffer, Unpacking(path, len(buffer))


def _has(parent: Any, name: str) -> bool:
    """`name in parent` would follow a link, to any file there is."""
    return parent.get(name, getlink=True) is not None


def _is_group(parent: Any, name: str) -> bool:
    import h5py

    own = isinstance(parent.get(name, getlink=True), h5py.HardLink)
    return own and parent.get(name, getclass=True) is h5py.Group


def _group(parent: Any, name: str, path: str) -> Any:
    child = _own(parent, name, path)
    if not hasattr(child, "keys"):
        raise _damaged(path, f'"{name}" is not a group')
    return child


def _own(parent: Any, name: str, path: str) -> Any:
    """parent[name], if it lies in this very file: a link must not lead to another one."""
    try:
        return own(parent, name)
    except Unfit as error:
        raise _damaged(path, str(error)) from None


def _layers(top: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(name, group) of each layer: the groups that hold arrays or nothing at all."""
    waiting = [(name, _group(top, name, path)) for name in reversed(list(top))]
    for _ in range(MAX_GROUPS):  # hard links can make a circle
        if not waiting:
            return
        name, group = waiting.pop()
        inner = [key for key in group if _is_group(group, key)]
        if len(inner) < len(group) or not inner:
            yield name, group
        waiting += [(f"{name}/{key}", _group(group, key, path)) for key in reversed(inner)]
    raise _damaged(path, f"more than {MAX_GROUPS:,} groups")


def _blobs(group: Any, label: str, source: _Source) -> tuple[list[Array], list[int]]:
    """The sets "0", "1", … of a group, and which numbers below the highest are missing. Groups in it are layers."""
    path = source.path
    keys = [key for key in group if not _is_group(group, key)]
    if not all(key.isdecimal() and len(key) <= 6 and key == str(int(key)) for key in keys):
        raise _damaged(path, f'"{label}" holds something besides numbered arrays')
    found = {int(key): key for key in keys}
    if found and max(found) > 4 * len(found) + 64:
        raise _damaged(path, f'"{label}" has {len(found)} arrays and one numbered {max(found)}')
    missing = [index for index in range(max(found, default=-1) + 1) if index not in found]
    arrays = [
        _array(group, found[index], f'layer "{label}", blob {index}', source) if index in found else _NONE
        for index in range(max(found, default=-1) + 1)
    ]
    return arrays, missing


def _array(group: Any, key: str, label: str, source: _Source) -> Array:
    path, buffer = source.path, source.buffer
    data = _own(group, key, path)
    if not hasattr(data, "dtype") or data.dtype.kind != "f":
        raise _damaged(path, f"{label} holds no floating-point numbers")
    _check_backed(data, label, source)
    kind = "<f8" if data.dtype.itemsize == 8 else "<f4"
    start = (
        data.id.get_offset()
        if isinstance(buffer, Mapped) and data.dtype == kind and not data.file.userblock_size
        else None
    )
    if start is not None and data.size and start + data.nbytes <= len(buffer):
        return np.frombuffer(buffer, kind, data.size, start).reshape(data.shape)
    chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
    source.unpacking.take(max(chunk, data.size * 8), label)
    return np.asarray(data[()], kind)


def _check_backed(data: Any, label: str, source: _Source) -> None:
    """Nothing is allocated for values that the file does not hold."""
    if (reason := unbacked(data, len(source.buffer))) is not None:
        raise NetcError("W704", f"{label} {reason}", Place(source.path), "get the file again from its source")


def _integer(file: Any, name: str, path: str) -> int:
    data = _single(file, name, path)
    if data.dtype.kind not in "iu":
        raise _damaged(path, f'"{name}" is not a whole number')
    return int(data[()].reshape(-1)[0])


def _string(file: Any, name: str, path: str) -> str:
    value = _single(file, name, path)[()]
    raw = value if isinstance(value, bytes) else np.asarray(value).reshape(-1)[0]
    if not isinstance(raw, bytes):
        raise _damaged(path, f'"{name}" is not a text')
    return os.fsdecode(raw.rstrip(b"\0"))


_MOST_TEXT = 1 << 25


def _single(file: Any, name: str, path: str) -> Any:
    """A dataset of one value, a text of a sensible length at most."""
    data = _own(file, name, path)
    if not hasattr(data, "dtype") or data.size != 1:
        raise _damaged(path, f'"{name}" is not a single value')
    if data.is_virtual or data.external or max(data.nbytes, math.prod(data.chunks or ())) > _MOST_TEXT:
        raise _damaged(path, f'"{name}" is not a value that lies in the file')
    return data
