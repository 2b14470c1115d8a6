"""Caffe's binary files ⇄ numpy arrays: .caffemodel (read: of every age, V0, V1, current), .binaryproto, .solverstate.

Field numbers are those of caffe.proto; a test holds them to the schema. What is written is byte for byte Caffe's own
serialisation, streamed: protobuf writes the small parts, the arrays' bytes go from memory to the file as they are, so a
file of any size needs no second copy. Caffe itself cannot read a .caffemodel of 2 GiB or more; netc can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from netc import proto
from netc.errors import NetcError, Place
from netc.files.hashing import Chunk
from netc.files.wire import BYTES, VARINT, Damaged, Wire, WireField, field_head, signed
from netc.weights.arrays import Array, SolverState, Weights
from netc.weights.blob import StoredBlob, blob_chunks, old_blob_chunks, read_blob_at
from netc.weights.chunks import Sink, write_chunks

NET = {"layers": 2, "layer": 100}
LAYER = {"name": 1, "type": 2, "blobs": 7}
V1 = {"layer": 1, "name": 4, "type": 5, "blobs": 6}
V0 = {"name": 1, "type": 2, "blobs": 50}
STATE = {"iter": 1, "learned_net": 2, "history": 3, "current_step": 4}


def recognises(buffer: Any) -> bool:
    """Protobuf's messages have no signature: what is nothing else is taken for one."""
    return True


def read(path: str, buffer: Any, diffs: bool = False) -> Weights:
    """The arrays of a .caffemodel. Raises NetcError W701-W704, W741."""
    return CaffeFile(path, buffer).weights(diffs)


def read_state(path: str, buffer: Any) -> SolverState:
    """A .solverstate. Raises NetcError W702, W704, W705, W741."""
    return CaffeFile(path, buffer).state()


def read_text(path: str, buffer: Any, name: str) -> str | None:
    """None: Caffe's messages hold no text beside the arrays."""
    return None


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
            f"this is not a .caffemodel: {reason}",
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
            "this is not a .solverstate; it looks like a .caffemodel",
            Place(self.path),
            "to go on training give the .solverstate to --snapshot; to start from weights give them to --weights",
        )


# -- writing -----------------------------------------------------------------------------------------------------------


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
    write_chunks(sink, old_blob_chunks(array))


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
        yield from blob_chunks(STATE["history"], array)
    yield proto.SolverState(current_step=state.current_step).SerializeToString()


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
    return [chunk for array, diff in pairs for chunk in blob_chunks(LAYER["blobs"], array, diff)]
