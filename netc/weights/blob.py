"""BlobProto ⇄ numpy: shapes of both ages, values in single, double or (read only) NVIDIA's raw storage, gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from netc import proto
from netc.errors import NetcError, Place
from netc.files.hashing import Chunk
from netc.files.wire import BYTES, VARINT, Damaged, Wire, WireField, field_head, signed
from netc.layers.base import MAX_AXES, MAX_COUNT, Shape, format_shape
from netc.weights.arrays import Array, is_real
from netc.weights.chunks import held_as, raw_bytes

BLOB = {
    "num": 1,
    "channels": 2,
    "height": 3,
    "width": 4,
    "data": 5,
    "diff": 6,
    "shape": 7,
    "double_data": 8,
    "double_diff": 9,
}
RAW = {"raw_data_type": 10, "raw_diff_type": 11, "raw_data": 12, "raw_diff": 13}
"""NVIDIA's fork (0.16 and 0.17): the values as they lie in memory, for half precision."""

RAW_TYPES = ("<f8", "<f4", "<f2", "<i4", "<u4")
"""What its enum Type says: DOUBLE, FLOAT, FLOAT16, INT, UINT."""

_OLD_AXES = tuple(BLOB[name] for name in ("num", "channels", "height", "width"))
_REALS = {BLOB["data"]: "<f4", BLOB["double_data"]: "<f8", BLOB["diff"]: "<f4", BLOB["double_diff"]: "<f8"}
C3D = {"num": 1, "channels": 2, "length": 3, "height": 4, "width": 5, "data": 6, "diff": 7}
"""C3D's BlobProto (facebookarchive/C3D v1.0): five axes, so that data and diff have other numbers. Its field 5 is a
whole number, where Caffe's is a list of reals: no blob is both."""

C3D_AXES = 5
_KNOWN = frozenset({*BLOB.values(), *RAW.values()})
_NONE: Array = np.zeros(0, "<f4")


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """`legacy`: the shape was written as num, channels, height, width. `diff`: empty where there is none, or none was
    asked for. `unknown`: the numbers of fields that neither Caffe nor NVIDIA's fork has."""

    array: Array
    legacy: bool
    diff: Array = field(default_factory=lambda: _NONE)
    unknown: tuple[int, ...] = ()


@dataclass(slots=True)
class _Parts:
    dims: list[int] = field(default_factory=list)
    old: dict[int, int] = field(default_factory=dict)
    axes: Sequence[int] = _OLD_AXES
    values: dict[int, list[Array]] = field(default_factory=dict)
    raw: dict[int, WireField] = field(default_factory=dict)
    unknown: list[int] = field(default_factory=list)


def read_blob_at(wire: Wire, start: int, end: int, path: str, label: str, diffs: bool = False) -> StoredBlob:
    """The BlobProto in [start, end) of a file. Raises Damaged, NetcError W704 (values and shape disagree), W741 (values
    stored in a way that is not read)."""
    parts = _walk(wire, start, end)
    shape = tuple(parts.old.get(axis, 0) for axis in parts.axes) if parts.old else tuple(parts.dims)
    array = _values(wire, parts, "data", path, label)
    _check_count(shape, len(array), path, label)
    diff = _values(wire, parts, "diff", path, label) if diffs else _NONE
    if held := len(diff) or _held(parts, "diff"):  # Caffe looks at it, whoever asks
        _check_count(shape, held, path, f"{label} (diff)")
    gradient = diff.reshape(shape) if diff.size else diff
    return StoredBlob(array.reshape(shape), bool(parts.old), gradient, tuple(parts.unknown))


def _held(parts: _Parts, which: str) -> int:
    """How many values there are, doubles before singles."""
    counts = (sum(map(len, parts.values.get(BLOB[name], []))) for name in (f"double_{which}", which))
    return next(filter(None, counts), 0)


def _walk(wire: Wire, start: int, end: int) -> _Parts:
    parts, fields = _Parts(), list(wire.fields(start, end))
    if any(part.number == C3D["width"] and part.kind == VARINT for part in fields):
        return _walk_c3d(wire, fields)
    for part in fields:
        if part.number == BLOB["shape"] and part.kind == BYTES:
            parts.dims += _dims(wire, part)
        elif part.number in _OLD_AXES and part.kind == VARINT:
            parts.old[part.number] = signed(part.value, 32)
        elif (dtype := _REALS.get(part.number)) is not None:
            parts.values.setdefault(part.number, []).append(wire.reals(part, dtype))
        elif part.number in RAW.values():
            parts.raw[part.number] = part
        elif part.number not in _KNOWN:
            parts.unknown.append(part.number)
    return parts


def _walk_c3d(wire: Wire, fields: Sequence[WireField]) -> _Parts:
    """The fields of a blob of C3D, under the numbers that they have in Caffe."""
    parts = _Parts(axes=range(1, C3D_AXES + 1))
    for part in fields:
        if part.number in parts.axes and part.kind == VARINT:
            parts.old[part.number] = signed(part.value, 32)
        elif part.number in (C3D["data"], C3D["diff"]):
            number = BLOB["data" if part.number == C3D["data"] else "diff"]
            parts.values.setdefault(number, []).append(wire.reals(part, "<f4"))
        else:
            raise Damaged(part.start, f"field {part.number} is not one of a blob of C3D, which has five axes")
    return parts


def _dims(wire: Wire, part: WireField) -> list[int]:
    dims: list[int] = []
    for item in wire.fields(part.start, part.end):
        if item.number == 1:
            dims += [signed(value) for value in wire.varints(item, MAX_AXES)]
        if len(dims) > MAX_AXES:
            raise Damaged(part.start, f"a shape of more than {MAX_AXES} axes")
    return dims


def _values(wire: Wire, parts: _Parts, which: str, path: str, label: str) -> Array:
    """Doubles before singles, as Blob::FromProto; NVIDIA's raw bytes where there is neither."""
    for number in (BLOB[f"double_{which}"], BLOB[which]):
        if any(map(len, found := parts.values.get(number, []))):
            return _joined(found)
    raw, kind = parts.raw.get(RAW[f"raw_{which}"]), parts.raw.get(RAW[f"raw_{which}_type"])
    if raw is not None:
        return wire.raw(raw, _raw_type(kind, path, label))
    if kind is not None and kind.kind == BYTES:
        raise _unread(path, label, "as half_data, of an early half-precision fork")
    return _NONE


def _raw_type(kind: WireField | None, path: str, label: str) -> str:
    """Its absence means 0, as in protobuf."""
    number = kind.value if kind is not None and kind.kind == VARINT else 0
    if number >= len(RAW_TYPES):
        raise _unread(path, label, f"as raw_data of the unknown type {number}")
    return RAW_TYPES[number]


def _unread(path: str, label: str, how: str) -> NetcError:
    return NetcError(
        "W741",
        f"{label} holds its values {how}, which netc does not read",
        Place(path),
        "write it again with that fork's store_blobs_in_old_format: true",
    )


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_count(shape: Shape, found: int, path: str, label: str) -> None:
    """An axis beyond Caffe's int is never real."""
    real = all(0 <= dim <= MAX_COUNT for dim in shape) and is_real(shape)
    if not real or math.prod(shape) != found:
        raise NetcError(
            "W704",
            f"{label} says shape {format_shape(shape)}, {math.prod(shape):,} values, but holds {found:,}",
            Place(path),
            "the file was cut, stripped of its values or written wrongly; get it again from its source",
        )


# -- writing -----------------------------------------------------------------------------------------------------------


def blob_chunks(number: int, array: Array, diff: Array | None = None) -> list[Chunk]:
    """A BlobProto as field `number` of a message: values and shape, in the order of their field numbers."""
    single = held_as(array) == "<f4"
    shape = proto.BlobProto(shape=proto.BlobShape(dim=array.shape)).SerializeToString()
    before = [*_list("data", array), *_list("diff", diff)] if single else []
    after = [] if single else [*_list("double_data", array), *_list("double_diff", diff)]
    parts: list[Chunk] = [*before, shape, *after]
    return [field_head(number, sum(map(len, parts))), *parts]


def old_blob_chunks(array: Array) -> list[Chunk]:
    """A BlobProto with old-style axes (1, C, H, W). Raises ValueError if the array has more than four axes."""
    num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
    head = proto.BlobProto(num=num, channels=channels, height=height, width=width).SerializeToString()
    return [head, *_list("data", array)]


def _list(name: str, array: Array | None) -> list[Chunk]:
    if array is None or not array.size:
        return []
    data = raw_bytes(array, held_as(array))
    return [field_head(BLOB[name], len(data)), data]
