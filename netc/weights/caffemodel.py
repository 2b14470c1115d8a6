"""Caffe's binary files → numpy arrays: .caffemodel of every age (V0, V1, current), .binaryproto, .solverstate.

Field numbers are those of caffe.proto; a test holds them to the schema.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from netc.errors import NetcError, Place
from netc.layers.base import MAX_AXES, MAX_COUNT, format_shape
from netc.weights.arrays import Array, Shape, Weights
from netc.weights.files import is_hdf5, is_npz, is_safetensors, map_file
from netc.weights.wire import BYTES, VARINT, Damaged, Field, Wire, signed

NET = {"layers": 2, "layer": 100}
LAYER = {"name": 1, "blobs": 7}
V1 = {"layer": 1, "name": 4, "blobs": 6}
V0 = {"name": 1, "blobs": 50}
BLOB = {"num": 1, "channels": 2, "height": 3, "width": 4, "data": 5, "shape": 7, "double_data": 8}
STATE = {"iter": 1, "learned_net": 2, "history": 3, "current_step": 4}

_OLD_AXES = tuple(BLOB[name] for name in ("num", "channels", "height", "width"))


def read(path: str | os.PathLike[str]) -> Weights:
    """The arrays of a weight file by layer name: .caffemodel, .caffemodel.h5, .safetensors or .npz, told by
    their content.

    Arrays are read-only views of the mapped file, float32, or float64 where the file holds doubles.
    Of layers with the same name the last counts, as in Caffe. Gradients in the file are passed over.
    Arrays of HDF5 are copies. Raises NetcError F110, X110 (no such file, unreadable), W701-W706 (not a weight file,
    damaged, sizes that disagree), W761 (a card that is none).
    """
    name = os.fspath(path)
    return read_mapped(name, map_file(name))


def read_mapped(name: str, buffer: Any) -> Weights:
    """The same of a file that is mapped already. Raises NetcError W701-W706, W761."""
    if is_hdf5(buffer):
        from netc.weights.hdf5 import read_hdf5

        return read_hdf5(name)
    if is_safetensors(buffer):
        from netc.weights.tensors import read_safetensors

        return read_safetensors(name, buffer)
    if is_npz(buffer):
        from netc.weights.npz import read_npz

        return read_npz(name, buffer)
    return _File(name, buffer).weights()


def read_blob(path: str | os.PathLike[str]) -> Array:
    """The array of a .binaryproto (a BlobProto, as compute_image_mean writes), e.g. a mean image of shape (1, C, H, W).
    Raises NetcError as `read`."""
    name = os.fspath(path)
    file = _File(name, map_file(name))
    with file.place("the blob"):
        return file.blob(0, len(file.wire), "the blob").array


@dataclass(slots=True)
class SolverState:
    """Caffe's SolverState. `history`: the arrays of the update rule, in the net's order of parameters."""

    iteration: int = 0
    learned_net: str = ""
    history: list[Array] = field(default_factory=list)
    current_step: int = 0


def read_solverstate(path: str | os.PathLike[str]) -> SolverState:
    """A .solverstate or .solverstate.h5. Arrays of 2014's files have four axes. Raises NetcError as `read`."""
    name = os.fspath(path)
    buffer = map_file(name)
    if is_hdf5(buffer):
        from netc.weights.hdf5 import read_hdf5_state

        return read_hdf5_state(name)
    return _File(name, buffer).state()


class _Blob(NamedTuple):
    array: Array
    legacy: bool


class _Context:
    """Turns Damaged into a NetcError that says which part of which file is damaged."""

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Damaged):
            raise NetcError(
                "W702", f"{self.what} is damaged: {error}", Place(self.path), "copy or download the file again"
            ) from None


class _File:
    def __init__(self, path: str, buffer: Any) -> None:
        self.path, self.wire = path, Wire(buffer)

    def place(self, what: str) -> _Context:
        return _Context(self.path, what)

    # -- weights -------------------------------------------------------------------------------------------------------

    def weights(self) -> Weights:
        result = Weights(path=self.path)
        for name, blobs in self._layers():
            label = f'layer "{name}"'
            found = [self._layer_blob(label, index, span) for index, span in enumerate(blobs)]
            result.legacy.difference_update((name, index) for index in range(len(result.get(name, ()))))
            result.legacy.update((name, index) for index, blob in enumerate(found) if blob.legacy)
            result[name] = [blob.array for blob in found]
        if not result:
            raise self._foreign("it has no layers")
        return result

    def _layer_blob(self, label: str, index: int, span: Field) -> _Blob:
        with self.place(f"{label}, blob {index},"):
            return self.blob(span.start, span.end, f"{label}, blob {index}")

    def _layers(self) -> Iterator[tuple[str, list[Field]]]:
        seen: set[int] = set()
        with self.place("the file"):
            for entry in self.wire.fields(0, len(self.wire)):
                if entry.kind != BYTES and entry.number in (1, *NET.values()):
                    raise self._foreign(f"field {entry.number} is a number")
                if entry.number in NET.values():
                    seen.add(entry.number)
                    self._refuse_mixture(seen)
                    yield self._current(entry) if entry.number == NET["layer"] else self._old(entry)

    def _refuse_mixture(self, seen: set[int]) -> None:
        if len(seen) > 1:
            raise NetcError(
                "W703",
                "the file has both `layers` (old format) and `layer` (current format); Caffe reads either",
                Place(self.path),
                "upgrade the net with Caffe's upgrade_net_proto_binary before adding layers to it",
            )

    def _current(self, entry: Field) -> tuple[str, list[Field]]:
        return self._names_and_blobs(entry, LAYER)

    def _old(self, entry: Field) -> tuple[str, list[Field]]:
        """An entry of `layers`: V1, or V0 if the layer sits one level deeper."""
        for part in self.wire.fields(entry.start, entry.end):
            if part.number == V1["layer"] and part.kind == BYTES:
                return self._names_and_blobs(part, V0)
        return self._names_and_blobs(entry, V1)

    def _names_and_blobs(self, entry: Field, numbers: dict[str, int]) -> tuple[str, list[Field]]:
        name, blobs = "", []
        with self.place(f"the layer at byte {entry.start:,}"):
            for part in self.wire.fields(entry.start, entry.end):
                if part.number == numbers["name"]:
                    name = self.wire.text(part)
                elif part.number == numbers["blobs"] and part.kind == BYTES:
                    blobs.append(part)
        return name, blobs

    def _foreign(self, reason: str) -> NetcError:
        return NetcError(
            "W701",
            f"this is no .caffemodel: {reason}",
            Place(self.path),
            "a .solverstate goes to --snapshot, a mean .binaryproto to mean_file; weights are .caffemodel, "
            ".caffemodel.h5 or .safetensors",
        )

    # -- one blob ------------------------------------------------------------------------------------------------------

    def blob(self, start: int, end: int, label: str) -> _Blob:
        """The BlobProto in [start, end). Raises Damaged, NetcError W704 (values and shape disagree)."""
        dims: list[int] = []
        old: dict[int, int] = {}
        single: list[Array] = []
        double: list[Array] = []
        for part in self.wire.fields(start, end):
            if part.number == BLOB["shape"] and part.kind == BYTES:
                dims += self._dims(part)
            elif part.number in _OLD_AXES and part.kind == VARINT:
                old[part.number] = signed(part.value, 32)
            elif part.number == BLOB["data"]:
                single.append(self.wire.reals(part, "<f4"))
            elif part.number == BLOB["double_data"]:
                double.append(self.wire.reals(part, "<f8"))
        shape = tuple(old.get(axis, 0) for axis in _OLD_AXES) if old else tuple(dims)
        values = _joined(double) if any(map(len, double)) else _joined(single)
        self._check_count(shape, len(values), label)
        return _Blob(values.reshape(shape), bool(old))

    def _dims(self, part: Field) -> list[int]:
        dims: list[int] = []
        for item in self.wire.fields(part.start, part.end):
            if item.number == 1:
                dims += [signed(value) for value in self.wire.varints(item, MAX_AXES)]
            if len(dims) > MAX_AXES:
                raise Damaged(part.start, f"a shape of more than {MAX_AXES} axes")
        return dims

    def _check_count(self, shape: Shape, found: int, label: str) -> None:
        """An axis beyond Caffe's int is never real, and zero times a huge one is more than numpy can shape."""
        if any(not 0 <= dim <= MAX_COUNT for dim in shape) or math.prod(shape) != found:
            raise NetcError(
                "W704",
                f"{label} says shape {format_shape(shape)}, {math.prod(shape):,} values, but holds {found:,}",
                Place(self.path),
                "the file was cut, stripped of its values or written wrongly; get it again from its source",
            )

    # -- solver state --------------------------------------------------------------------------------------------------

    def state(self) -> SolverState:
        result = SolverState()
        read_one: dict[int, Callable[[Field], None]] = {
            STATE["iter"]: lambda part: setattr(result, "iteration", self._integer(part)),
            STATE["learned_net"]: lambda part: setattr(result, "learned_net", self.wire.text(part)),
            STATE["history"]: lambda part: result.history.append(self._history(part, len(result.history))),
            STATE["current_step"]: lambda part: setattr(result, "current_step", self._integer(part)),
        }
        with self.place("the solver state"):
            for part in self.wire.fields(0, len(self.wire)):
                if (part.number == STATE["iter"] and part.kind == BYTES) or part.number == NET["layer"]:
                    raise self._no_state()
                if part.number in read_one:
                    read_one[part.number](part)
        return result

    def _integer(self, part: Field) -> int:
        if part.kind != VARINT:
            raise Damaged(part.start, f"field {part.number} holds no integer")
        return signed(part.value, 32)

    def _history(self, part: Field, index: int) -> Array:
        if part.kind != BYTES:
            raise Damaged(part.start, "history holds no blob")
        return self.blob(part.start, part.end, f"history {index}").array

    def _no_state(self) -> NetcError:
        return NetcError(
            "W705",
            "this is no .solverstate; it looks like a .caffemodel",
            Place(self.path),
            "to go on training give the .solverstate to --snapshot; to start from weights give them to --weights",
        )


def _joined(parts: list[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, "<f4")
