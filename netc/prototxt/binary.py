"""Binary nets and solvers: what protobuf's SerializeToString writes, and .caffemodel files taken as nets.

The learned arrays are stepped over, not read: half a gigabyte of weights costs as much as the net without them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from netc import proto
from netc.errors import NetcError, Place
from netc.files.opening import open_regular
from netc.files.wire import BYTES, FIXED32, FIXED64, VARINT, Damaged, Wire, WireField, field_head, is_onnx
from netc.prototxt.draft import layer_label
from netc.prototxt.forks import EACH_AXIS
from netc.prototxt.source import CONTROL, HEAD, MAX_BYTES, MAX_FIELDS

BLOBS: dict[tuple[int, ...], int] = {(100,): 7, (2,): 6, (2, 1): 50}
"""Field numbers down to a layer (current, V1, V0) → the number of its blobs."""

_F = FieldDescriptor
_KINDS = {_F.TYPE_FLOAT: FIXED32, _F.TYPE_DOUBLE: FIXED64, **dict.fromkeys((_F.TYPE_STRING, _F.TYPE_MESSAGE), BYTES)}


def refuse_long(size: int, path: str) -> None:
    """Raises NetcError P103 where a net's own bytes, without its arrays, are more than a text may have."""
    if size > MAX_BYTES:
        message = f"more than {MAX_BYTES:,} bytes of this binary file are not weights; a text may not be longer either"
        raise NetcError("P103", message, Place(path), "is it the file that you mean?")


def refuse_many(message: Any, path: str) -> None:
    """Raises NetcError P104 where a message has more fields and items of lists than a text may have."""
    left, waiting = MAX_FIELDS, [message]
    while waiting:
        for field, value in waiting.pop().ListFields():
            many = value if field.is_repeated else (value,)
            left -= len(many)
            if field.message_type is not None and left >= 0:
                waiting += many
        if left < 0:
            raise NetcError("P104", f"more than {MAX_FIELDS:,} fields", Place(path), "is it the file that you mean?")


@dataclass(slots=True)
class Binary:
    """A binary file that holds a net or a solver. `kind`: "net" or "solver"."""

    path: str
    kind: str
    wire: Wire

    def message(self) -> Any:
        """The NetParameter without its blobs, or the SolverParameter.

        Raises NetcError P103, P104 (longer, or of more fields, than a text may be), U130 (damaged), U131 (a string that
        is not UTF-8).
        """
        try:
            data = without_blobs(self.wire) if self.kind == "net" else self.wire.bytes[: MAX_BYTES + 1]
            refuse_long(len(data), self.path)
            message = (proto.NetParameter if self.kind == "net" else proto.SolverParameter).FromString(bytes(data))
        except (Damaged, DecodeError) as error:
            reason = str(error) if isinstance(error, Damaged) else "a message in it ends too early"
            raise NetcError(
                "U130", f"this binary {self.kind} is damaged: {reason}", Place(self.path), "copy or download it again"
            ) from None
        if self.kind == "net":
            _read_each_axis(message, bytes(data))
        refuse_many(message, self.path)
        if (bad := next(_undecodable(message, ""), None)) is not None:
            raise NetcError(
                "U131",
                "a string of this binary file is not UTF-8",
                Place(self.path, part=bad),
                "write it anew with UTF-8",
            )
        return message

    @property
    def has_arrays(self) -> bool:
        """Whether a layer of the net has learned arrays."""
        return self.kind == "net" and any(blobs_of(self.wire))

    def remarks(self, message: Any) -> Iterator[tuple[str, Place]]:
        """What the schema does not know, and who builds from this file will not see."""
        for layer in (*message.layer, *message.layers):
            if numbers := unknown_fields(layer):
                listed = ", ".join(map(str, numbers[:8]))
                text = f"settings that netc does not know have no effect (fields {listed})"
                yield text, Place(self.path, part=layer_label(layer))


_MOST_AXES = 32


def _read_each_axis(net: Any, data: bytes) -> None:
    """What forks give once for each axis, where protobuf keeps the last number alone (`EACH_AXIS`)."""
    wire, kind = Wire(data), net.DESCRIPTOR.fields_by_name["layer"]
    layers = (field for field in wire.fields(0, len(wire)) if field.number == kind.number)
    for layer, span in zip(net.layer, layers, strict=True):
        for field, block in layer.ListFields():
            for once, often in EACH_AXIS.get(getattr(field.message_type, "name", ""), {}).items():
                number = field.message_type.fields_by_name[once].number
                values = _numbers(wire, span, field.number, number)
                if len(values) > 1:
                    block.ClearField(once)
                    getattr(block, often)[:] = values


def _numbers(wire: Wire, layer: WireField, block: int, field: int) -> list[int]:
    """All values of an integer field of a block of a layer."""
    blocks = [one for one in wire.fields(layer.start, layer.end) if one.number == block]
    fields = (one for within in blocks for one in wire.fields(within.start, within.end) if one.number == field)
    return [value for one in fields for value in wire.varints(one, _MOST_AXES)]


def open_binary(path: str | os.PathLike[str]) -> Binary | None:
    """The net or solver in a file that `netc.prototxt.source.may_be_binary`; None where it is something else, or
    cannot be read (which whoever reads it as text will say). Raises NetcError P105 for arrays without a net."""
    name = os.fspath(path)
    try:
        with open_regular(name) as file:
            wire = Wire(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, NetcError):
        return None
    _refuse_arrays(name, wire.bytes[:HEAD])
    if is_onnx(wire.bytes):
        hint = "netc writes ONNX and does not read it: give the prototxt or .caffemodel that it was made from"
        raise NetcError("P105", "this is an ONNX model, not a net of Caffe", Place(name), hint)
    kind = kind_of(wire, strict=CONTROL.search(wire.bytes[:HEAD]) is None)
    return Binary(name, kind, wire) if kind else None


def _refuse_arrays(name: str, head: Any) -> None:
    """A weight file of another format may pass for a message: the length it begins with is a tag."""
    start = bytes(head[:9])
    what = next((what for magic, what in _ARRAYS.items() if start.startswith(magic)), None)
    if start[6:9] == b"\0\0{":
        what = "a .safetensors file"
    if what is not None:
        hint = "give the net's prototxt here; `netc weights` shows what a file of weights holds"
        raise NetcError("P105", f"this is {what}, not a net", Place(name), hint)


_ARRAYS = {b"\x89HDF\r\n\x1a\n": "an HDF5 file", b"PK\x03\x04": "a zip file (.npz, PyTorch)"}

_NAMES = {"NetParameter": "net", "SolverParameter": "solver"}


def kind_of(wire: Wire, strict: bool = False) -> str | None:
    """ "net" or "solver", by the fields at the top; None for anything else.

    A file that breaks off is one if what comes before does fit. `strict`: nothing in the bytes says that they are no
    text, so all has to fit, in the order in which protobuf writes fields.
    """
    seen: list[tuple[int, int]] = []
    try:
        seen += ((field.number, field.kind) for field in wire.fields(0, len(wire)))
    except Damaged:
        if strict:
            return None
    if not seen or (strict and seen != sorted(seen, key=lambda pair: pair[0])):
        return None
    fits = {name: sum(_known(proto.message(name).DESCRIPTOR, *pair) for pair in seen) for name in _NAMES}
    best = max(fits, key=lambda name: fits[name])
    unfit = sum(_contradicts(proto.message(best).DESCRIPTOR, *pair) for pair in seen)
    if not fits[best] or unfit or (strict and fits[best] < len(seen)):
        return None
    return _NAMES[best]


def _known(descriptor: Descriptor, number: int, kind: int) -> bool:
    field = descriptor.fields_by_number.get(number)
    return field is not None and _KINDS.get(field.type, VARINT) == kind


def _contradicts(descriptor: Descriptor, number: int, kind: int) -> bool:
    """The message has the field, but another kind of value in it (a number may also be in a packed list)."""
    field = descriptor.fields_by_number.get(number)
    packed = field is not None and field.is_repeated and kind == BYTES
    return field is not None and not packed and _KINDS.get(field.type, VARINT) != kind


# -- without blobs -----------------------------------------------------------------------------------------------------


def without_blobs(wire: Wire) -> bytes:
    """The bytes of a NetParameter less the blobs of its layers; of what is longer than `MAX_BYTES`, a part that is
    longer too. Raises Damaged."""
    kept = bytearray()
    for part in _stripped(wire, 0, len(wire), ()):
        kept += part
        if len(kept) > MAX_BYTES:
            break
    return bytes(kept)


def _stripped(wire: Wire, start: int, end: int, path: tuple[int, ...]) -> Iterator[bytes]:
    at = start
    for field in wire.fields(start, end):
        inner = (*path, field.number)
        if field.number == BLOBS.get(path) and field.kind == BYTES:
            pass
        elif inner in BLOBS and field.kind == BYTES:
            body = b"".join(_stripped(wire, field.start, field.end, inner))
            yield field_head(field.number, len(body)) + body
        else:
            yield bytes(wire.bytes[at : min(field.end, at + MAX_BYTES + 1)])
        at = field.end


def blobs_of(wire: Wire) -> Iterator[list[WireField]]:
    """The blobs of each layer of a NetParameter, in order: of `layer`, or of `layers` with V0 layers in them."""
    for field in wire.fields(0, len(wire)):
        if (field.number,) in BLOBS and field.kind == BYTES:
            yield list(_blobs(wire, field, (field.number,)))


def _blobs(wire: Wire, layer: WireField, path: tuple[int, ...]) -> Iterator[WireField]:
    for field in wire.fields(layer.start, layer.end):
        if field.number == BLOBS[path] and field.kind == BYTES:
            yield field
        elif (*path, field.number) in BLOBS and field.kind == BYTES:
            yield from _blobs(wire, field, (*path, field.number))


# -- what a message cannot say in text ---------------------------------------------------------------------------------


def _undecodable(message: Any, path: str) -> Iterator[str]:
    """Where strings stand that are not UTF-8 (protobuf gives them as bytes)."""
    for field, value in message.ListFields():
        for one in value if field.is_repeated else (value,):
            here = f"{path}, {field.name}".removeprefix(", ")
            if path == "" and field.name in ("layer", "layers"):
                here = layer_label(one)
            if field.message_type is not None:
                yield from _undecodable(one, here)
            elif field.type == _F.TYPE_STRING and isinstance(one, bytes):
                yield here


def unknown_fields(message: Any) -> list[int]:
    """The numbers of the fields that the schema does not have, in a message and the messages in it."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    unknown = UnknownFieldSet(message)
    found = {unknown[index].field_number for index in range(len(unknown))}
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else (value,):
                found.update(unknown_fields(one))
    return sorted(found)
