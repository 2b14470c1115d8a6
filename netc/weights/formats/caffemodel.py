"""Caffe's binary files → numpy arrays: .caffemodel of every age (V0, V1, current), .binaryproto, .solverstate.

WireField numbers are those of caffe.proto; a test holds them to the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netc.errors import NetcError, Place
from netc.files.wire import BYTES, VARINT, Damaged, Wire, WireField, signed
from netc.weights.arrays import Array, Weights
from netc.weights.blob import StoredBlob, read_blob_at
from netc.weights.files import WeightSource, is_hdf5, is_safetensors, is_zip, open_source

NET = {"layers": 2, "layer": 100}
LAYER = {"name": 1, "type": 2, "blobs": 7}
V1 = {"layer": 1, "name": 4, "type": 5, "blobs": 6}
V0 = {"name": 1, "type": 2, "blobs": 50}
STATE = {"iter": 1, "learned_net": 2, "history": 3, "current_step": 4}


def read(source: WeightSource, diffs: bool = False) -> Weights:
    """The arrays of a weight file by layer name; its content tells .caffemodel, .caffemodel.h5, .safetensors and .npz.

    Arrays are read-only views of the mapped file where it holds their values as such: float32, or float64, float16 or
    int32 where that is what the file has; `pieces` reads them fastest. Of layers with the same name the last counts,
    as in Caffe. With `diffs` the gradients in the file are in the result's `diffs`.
    A file must not be truncated while views of it are read: the kernel then ends the process. `pieces`, `fill`,
    `loaded` and `copy_weights` raise X110 instead.
    Raises NetcError F110, X110 (no such file, unreadable), W701-W706, W741 (not a weight file, damaged, sizes that
    disagree, values of a kind that is not read), W707 (h5py missing).
    """
    return read_mapped(*open_source(source), diffs)


def read_mapped(name: str, buffer: Any, diffs: bool = False) -> Weights:
    """The same of a file that is open already. Raises NetcError as `read`."""
    if is_hdf5(buffer):
        from netc.weights.formats.hdf5 import read_hdf5

        return read_hdf5(name, buffer, diffs)
    if is_safetensors(buffer):
        from netc.weights.formats.safetensors import read_safetensors

        return read_safetensors(name, buffer)
    if is_zip(buffer):
        from netc.weights.formats.npz import read_npz

        return read_npz(name, buffer)
    return CaffeFile(name, buffer).weights(diffs)


def read_blob(source: WeightSource) -> Array:
    """The array of a .binaryproto (a BlobProto, as compute_image_mean writes), e.g. a mean image of shape (1, C, H, W).
    Raises NetcError as `read`."""
    name, buffer = open_source(source)
    return CaffeFile(name, buffer).single_blob().array


@dataclass(slots=True)
class SolverState:
    """Caffe's SolverState. `history`: the arrays of the update rule, in the net's order of parameters."""

    iteration: int = 0
    learned_net: str = ""
    history: list[Array] = field(default_factory=list)
    current_step: int = 0


def read_solverstate(source: WeightSource) -> SolverState:
    """A .solverstate or .solverstate.h5. Arrays of 2014's files have four axes. Raises NetcError as `read`."""
    name, buffer = open_source(source)
    if is_hdf5(buffer):
        from netc.weights.formats.hdf5 import read_hdf5_state

        return read_hdf5_state(name, buffer)
    return CaffeFile(name, buffer).state()


class LayerEntry(NamedTuple):
    """Where a layer lies in its file. `version`: "V0", "V1" or "current"; `outer`: the field of the net that holds it;
    `inner`: the message with its name and blobs, within `outer` or `outer` itself."""

    version: str
    outer: WireField
    inner: WireField
    name: str
    type: str
    blobs: list[WireField]


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


class CaffeFile:
    """A binary file of Caffe's, walked in place."""

    def __init__(self, path: str, buffer: Any) -> None:
        self.path, self.wire = path, Wire(buffer)

    def place(self, what: str) -> _Context:
        return _Context(self.path, what)

    # -- weights -------------------------------------------------------------------------------------------------------

    def weights(self, diffs: bool = False) -> Weights:
        result = Weights(path=self.path)
        for entry in self.entries():
            name, blobs = entry.name, self.blobs(entry, diffs)
            result.legacy.difference_update((name, index) for index in range(len(result.get(name, ()))))
            result.legacy.update((name, index) for index, blob in enumerate(blobs) if blob.legacy)
            result[name] = [blob.array for blob in blobs]
            result.diffs.pop(name, None)
            if any(blob.diff.size for blob in blobs):
                result.diffs[name] = [blob.diff for blob in blobs]
        if not result:
            raise self._foreign("it has no layers")
        return result

    def entries(self) -> Iterator[LayerEntry]:
        """The layers in the order of the file. Raises NetcError W701, W702, W703."""
        seen: set[int] = set()
        with self.place("the file"):
            for found in self.wire.fields(0, len(self.wire)):
                if found.kind != BYTES and found.number in (1, *NET.values()):
                    raise self._foreign(f"field {found.number} is a number")
                if found.number in NET.values():
                    seen.add(found.number)
                    self._refuse_mixture(seen)
                    with self.place(f"the layer at byte {found.start:,}"):
                        entry = self._entry(found)
                    yield entry

    def blobs(self, entry: LayerEntry, diffs: bool = False) -> list[StoredBlob]:
        """The blobs of a layer. Raises NetcError W702, W704, W741."""
        return [self._blob(f'layer "{entry.name}", blob {i}', blob, diffs) for i, blob in enumerate(entry.blobs)]

    def _entry(self, found: WireField) -> LayerEntry:
        if found.number == NET["layer"]:
            return self._named("current", found, found, LAYER)
        inner = [part for part in self.wire.fields(found.start, found.end) if part.number == V1["layer"]]
        if inner and inner[-1].kind == BYTES:
            return self._named("V0", found, inner[-1], V0)
        return self._named("V1", found, found, V1)

    def _named(self, version: str, outer: WireField, inner: WireField, numbers: dict[str, int]) -> LayerEntry:
        name, kind, blobs = "", "", []
        for part in self.wire.fields(inner.start, inner.end):
            if part.number == numbers["name"]:
                name = self.wire.text(part)
            elif part.number == numbers["type"]:
                kind = self.wire.text(part) if part.kind == BYTES else str(part.value)
            elif part.number == numbers["blobs"] and part.kind == BYTES:
                blobs.append(part)
        return LayerEntry(version, outer, inner, name, kind, blobs)

    def _blob(self, label: str, span: WireField, diffs: bool = False) -> StoredBlob:
        with self.place(f"{label},"):
            return read_blob_at(self.wire, span.start, span.end, self.path, label, diffs)

    def _refuse_mixture(self, seen: set[int]) -> None:
        if len(seen) > 1:
            raise NetcError(
                "W703",
                "the file has both `layers` (old format) and `layer` (current format); Caffe reads either",
                Place(self.path),
                "upgrade the net with `netc upgrade` before adding layers to it",
            )

    def _foreign(self, reason: str) -> NetcError:
        return NetcError(
            "W701",
            f"this is no .caffemodel: {reason}",
            Place(self.path),
            "a .solverstate goes to --snapshot, a mean .binaryproto to mean_file; weights are .caffemodel, "
            ".caffemodel.h5, .safetensors or .npz",
        )

    # -- one blob, a solver state --------------------------------------------------------------------------------------

    def single_blob(self, diffs: bool = False) -> StoredBlob:
        """The file as a BlobProto. Raises NetcError W702, W704, W741."""
        with self.place("the blob"):
            return read_blob_at(self.wire, 0, len(self.wire), self.path, "the blob", diffs)

    def state(self) -> SolverState:
        """The file as a SolverState. Raises NetcError W702, W704, W705, W741."""
        result = SolverState()
        read_one: dict[int, Callable[[WireField], None]] = {
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

    def _integer(self, part: WireField) -> int:
        if part.kind != VARINT:
            raise Damaged(part.start, f"field {part.number} holds no integer")
        return signed(part.value, 32)

    def _history(self, part: WireField, index: int) -> Array:
        if part.kind != BYTES:
            raise Damaged(part.start, "history holds no blob")
        return self._blob(f"history {index}", part).array

    def _no_state(self) -> NetcError:
        return NetcError(
            "W705",
            "this is no .solverstate; it looks like a .caffemodel",
            Place(self.path),
            "to go on training give the .solverstate to --snapshot; to start from weights give them to --weights",
        )
