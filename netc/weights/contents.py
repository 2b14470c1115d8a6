"""What any file of arrays holds, in one form: weights, solver states and single blobs, in every format netc reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netc.errors import NetcError, Place
from netc.files.wire import BYTES, FIXED32, VARINT, Damaged, Wire
from netc.weights.arrays import Array, SolverState, Weights
from netc.weights.blob import C3D_AXES, StoredBlob
from netc.weights.files import WeightSource, open_source
from netc.weights.formats import hdf5
from netc.weights.formats.caffemodel import CaffeFile
from netc.weights.layers import read_layers
from netc.weights.reader import format_of, read, read_solverstate

CAFFEMODEL, SOLVERSTATE, BLOB = "caffemodel", "solverstate", "binaryproto"
HDF5, HDF5_STATE, SAFETENSORS, NPZ = "hdf5 weights", "hdf5 solver state", "safetensors", "npz"


@dataclass(slots=True)
class Held:
    """An array. `label`: the blob's number, with " diff" for its gradient; `legacy`: its shape is of the old style."""

    label: str
    array: Array
    legacy: bool = False


@dataclass(slots=True)
class Part:
    """A layer with its arrays; the history of a solver state, and a single blob, are one part. `replaced`: a later
    layer of the same name counts instead."""

    name: str
    type: str = ""
    held: list[Held] = field(default_factory=list)
    replaced: bool = False


@dataclass(slots=True)
class Contents:
    """`version`: "V0", "V1" or "current" for a caffemodel; `net`: the net's name; `facts`: what else the file says,
    by name; `unknown`: "message field" → how often a field occurs that Caffe's schema does not have."""

    path: str
    size: int
    kind: str
    parts: list[Part]
    version: str = ""
    net: str = ""
    facts: dict[str, str | int] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)


def contents(source: WeightSource) -> Contents:
    """What a file holds; the arrays are views of it as with `read`. Raises NetcError F110, X110, W701-W743."""
    name, buffer = open_source(source)
    size, kind = len(buffer), kind_of(name, buffer)
    if kind == CAFFEMODEL:
        return _caffemodel(buffer, size)
    if kind in (SOLVERSTATE, HDF5_STATE):
        state = read_solverstate(buffer)
        return Contents(name, size, kind, [_history(state)], facts=_facts(state))
    if kind == BLOB:
        blob = CaffeFile(name, buffer).single_blob(diffs=True)
        return Contents(name, size, kind, [Part("blob", "", _blobs([blob]))], unknown=_unknown([blob]))
    found = read(buffer, diffs=True)
    return Contents(name, size, kind, _arrays(found), facts=dict(found.metadata))


def kind_of(path: str, buffer: Any) -> str:
    """Which of the kinds above the bytes are. Raises NetcError W702."""
    format = format_of(buffer)
    if format == "hdf5":
        return HDF5_STATE if hdf5.holds_state(path, buffer) else HDF5
    return _caffe_kind(path, buffer) if format == "caffemodel" else format


def _caffe_kind(path: str, buffer: Any) -> str:
    """A message does not say which it is: a net has layers or a name, a state the number of its iteration and blobs, a
    blob a shape or values. (A state's field 2 is text as a net's layers are; a blob's is a number.)"""
    wire = Wire(buffer)
    try:
        found = {(part.number, part.kind) for part in wire.fields(0, len(wire))}
    except Damaged as error:
        raise NetcError(
            "W702", f"the file is damaged: {error}", Place(path), "copy or download the file again"
        ) from None
    if (100, BYTES) in found or (1, BYTES) in found or ((2, BYTES) in found and (1, VARINT) not in found):
        return CAFFEMODEL
    if found & {(5, BYTES), (5, FIXED32), (5, VARINT), (7, BYTES), (8, BYTES), (12, BYTES)}:  # (5, VARINT): C3D's
        return BLOB
    if (1, VARINT) in found:
        return SOLVERSTATE
    return CAFFEMODEL


def _caffemodel(source: WeightSource, size: int) -> Contents:
    net = read_layers(source, diffs=True)
    parts = [Part(layer.name, layer.type, _blobs(layer.blobs), layer.replaced) for layer in net.layers]
    facts = _axes(held for part in parts for held in part.held)
    return Contents(net.path, size, CAFFEMODEL, parts, net.version, _text(net.param.name), facts, net.unknown)


def _axes(held: Iterable[Held]) -> dict[str, str | int]:
    c3d = any(one.legacy and one.array.ndim == C3D_AXES for one in held)
    return {"blobs": "of C3D: num, channels, length, height, width"} if c3d else {}


def _blobs(blobs: Iterable[StoredBlob]) -> list[Held]:
    held: list[Held] = []
    for index, blob in enumerate(blobs):
        held.append(Held(str(index), blob.array, blob.legacy))
        if blob.diff.size:
            held.append(Held(f"{index} diff", blob.diff, blob.legacy))
    return held


def _unknown(blobs: Iterable[StoredBlob]) -> Counter[str]:
    return Counter(f"BlobProto {number}" for blob in blobs for number in blob.unknown)


def _arrays(found: Weights) -> list[Part]:
    """A blob that an HDF5 file leaves to another layer is left out."""
    parts = []
    for name, arrays in found.items():
        held = [Held(str(i), array) for i, array in enumerate(arrays) if (name, i) not in found.absent]
        held += [Held(f"{i} diff", array) for i, array in enumerate(found.diffs.get(name, ())) if array.size]
        parts.append(Part(name, "", sorted(held, key=lambda one: (int(one.label.split()[0]), one.label))))
    return parts


def _history(state: SolverState) -> Part:
    return Part("history", "", [Held(str(index), array) for index, array in enumerate(state.history)])


def _facts(state: SolverState) -> dict[str, str | int]:
    return {"iter": state.iteration, "learned_net": state.learned_net, "current_step": state.current_step}


def _text(name: str | bytes) -> str:
    """protobuf hands a text that is not UTF-8 on as bytes."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
